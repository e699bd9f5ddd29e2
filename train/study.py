"""Trains and evaluates several variants of one recipe and tabulates their metrics.

    python train/study.py --study train/studies/ablations.yaml --output_dir runs/ablations

The YAML names a training config (`base`), `variants` (name -> changes to it; a dotted key such as `data.0.augment`
sets a nested value), and `evaluations` (name -> arguments of evaluate.py). A variant may have its own `evaluations`,
such as the collection that it left out of training. Finished steps are not repeated, so a study can be stopped and
continued; "{output_dir}" stands for the study's folder. The result is study.md and study.json: each metric is copied
from a report.json that evaluate.py wrote.
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.results import grid, plain, share

ROOT = Path(__file__).resolve().parent.parent
NEW_WEIGHTS = ("backbone_weights", "no_pretrained")  # where the weights of a new network come from
HEAD = ("variant", "evaluation", "tier", "real / fake", "AUC", "balanced accuracy", "TPR at 5 % FPR")


def changed(config: dict, changes: dict) -> dict:
    """A copy of a config with dotted keys set; None removes a key, or an entry of a list.

    Raises:
        SystemExit: A dotted key does not exist.
    """
    config = copy.deepcopy(config)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place = config
        try:
            for part in parents:
                place = place[part]
            if value is None:
                del place[last]
            else:
                place[last] = value
        except (KeyError, IndexError, TypeError):
            raise SystemExit(f"study: '{path}' does not exist in the base config") from None
    return config


def run(command: list[str], log: Path) -> None:
    """Runs a command and writes its output to a file.

    Raises:
        SystemExit: The command failed; the message has the end of its output.
    """
    print("+", shlex.join(command), flush=True)
    with log.open("w") as file:
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise SystemExit(f"study: the command failed with code {code}:\n{log.read_text(errors='replace')[-1500:]}")


def train_variant(name: str, config: dict, folder: Path, launch: list[str]) -> None:
    """Trains one variant, and continues an earlier call that was stopped."""
    done = folder / "done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    script = [str(ROOT / "train" / "finetune.py"), "--config", str(path), "--output_dir", str(folder / "model")]
    run([*launch, *script, "--resume_from_checkpoint", "latest"], folder / "train.log")
    done.touch()


def evaluate_variant(model: str, evaluations: dict[str, str], folder: Path) -> dict[str, dict]:
    """Reports of one variant by name of the evaluation; missing ones are made."""
    reports = {}
    for name, flags in evaluations.items():
        output = folder / "reports" / name
        if not (output / "report.json").is_file():
            output.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, str(ROOT / "train" / "evaluate.py"), "--model", model, *shlex.split(flags)]
            run([*command, "--output_dir", str(output)], output / "evaluate.log")
        reports[name] = json.loads((output / "report.json").read_text(encoding="utf-8"))
    return reports


def metric_rows(reports_by_variant: dict[str, dict[str, dict]]) -> list[list[str]]:
    """Rows of the main table: variant, evaluation, tier and metrics."""
    rows = []
    for variant, reports in reports_by_variant.items():
        for name, report in reports.items():
            for tier, values in report["tiers"].items():
                metrics = values["metrics"]
                counts = f"{metrics['n_real']:,} / {metrics['n_fake']:,}"
                rows.append([variant, name, tier, counts, plain(metrics["roc_auc"]),
                             share(metrics["balanced_accuracy"]), share(metrics["tpr_at_5fpr"])])  # fmt: skip
    return rows


def per_generator(reports_by_variant: dict[str, dict[str, dict]]) -> str:
    """Table of the AUC of each generator in the first tier, one column per variant; empty without generators."""
    table: dict[tuple[str, str], dict[str, float]] = {}
    for variant, reports in reports_by_variant.items():
        for name, report in reports.items():
            for row in next(iter(report["tiers"].values()))["by"].get("generator", ()):
                table.setdefault((name, row["name"]), {})[variant] = row["auc"]
    if not table:
        return ""
    rows = [[name, generator, *(plain(values.get(variant)) for variant in reports_by_variant)]
            for (name, generator), values in sorted(table.items())]  # fmt: skip
    return "## AUC per generator, first tier\n\n" + grid(["evaluation", "generator", *reports_by_variant], rows) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Runs the command."""
    p = argparse.ArgumentParser(prog="train/study.py", description="Trains and compares variants of one recipe.")
    p.add_argument("--study", required=True, type=Path, help="YAML file: base, variants, evaluations")
    p.add_argument("--output_dir", required=True, type=Path)
    p.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="values",
                   help="changes for all variants, such as backbone_weights=FILE (values are YAML)")  # fmt: skip
    p.add_argument("--launch", default="accelerate launch", help="how finetune.py is started")
    args = p.parse_args(argv)
    if not args.study.is_file():
        p.error(f"no file {args.study}")
    study = yaml.safe_load(args.study.read_text().replace("{output_dir}", str(args.output_dir)))
    base = yaml.safe_load((args.study.parent / study["base"]).read_text())
    base = changed(
        base, {key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in args.values)}
    )
    reports = {}
    for name, variant in study["variants"].items():
        variant = variant or {}
        folder = args.output_dir / name
        evaluations = variant.get("evaluations", study.get("evaluations", {}))
        if "model" in variant:  # a finished checkpoint to compare with
            reports[name] = evaluate_variant(variant["model"], evaluations, folder)
            continue
        config = changed(base, {**study.get("changes", {}), **variant.get("changes", {})})
        if config.get("init_from"):  # it brings the weights; finetune.py refuses other ones beside it
            config = {key: value for key, value in config.items() if key not in NEW_WEIGHTS}
        train_variant(name, config, folder, shlex.split(args.launch))
        reports[name] = evaluate_variant(str(folder / "model"), evaluations, folder)
        write(args, reports)
    write(args, reports)
    return 0


def write(args: argparse.Namespace, reports_by_variant: dict) -> None:
    """Writes study.md and study.json of the variants so far."""
    rows = metric_rows(reports_by_variant)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    text = f"# {args.study.stem}\n\n{grid(HEAD, rows)}\n\n{per_generator(reports_by_variant)}"
    (args.output_dir / "study.md").write_text(text, encoding="utf-8")
    records = [dict(zip(HEAD, row, strict=True)) for row in rows]
    (args.output_dir / "study.json").write_text(json.dumps(records, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
