"""Train and evaluate several variants of one recipe, and put their figures side by side.

    python train/study.py --study train/studies/ablations.yaml --output_dir runs/ablations

The YAML names a training config (`base`), `variants` (name -> changes to it; a dotted key such as `data.0.augment`
reaches inside), and `evaluations` (name -> arguments of evaluate.py). A variant may have `evaluations` of its own, such
as the collection that it left out of training. What has been finished is not done again, so a study can be stopped and
continued; "{output_dir}" in it stands for the study's folder. The result is study.md and study.json: each figure is
copied from a report.json that evaluate.py wrote.
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
HEAD = ("variant", "evaluation", "tier", "real / fake", "AUC", "balanced accuracy", "TPR at 5 % FPR")


def changed(config: dict, changes: dict) -> dict:
    """A copy of a config with dotted keys set; None takes a key out (of a list: the entry).

    Raises:
        SystemExit: A dotted key leads nowhere.
    """
    config = copy.deepcopy(config)
    for path, value in changes.items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place = config
        try:
            for part in way:
                place = place[part]
            if value is None:
                del place[last]
            else:
                place[last] = value
        except (KeyError, IndexError, TypeError):
            raise SystemExit(f"study: '{path}' leads nowhere in the base config") from None
    return config


def run(command: list[str], log: Path) -> None:
    """Runs a command in the repository, its output in a file.

    Raises:
        SystemExit: It failed; the end of its output is told.
    """
    print("+", shlex.join(command), flush=True)
    with log.open("w") as file:
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise SystemExit(f"study: the command failed with code {code}:\n{log.read_text(errors='replace')[-1500:]}")


def train_variant(name: str, config: dict, folder: Path, launch: list[str]) -> None:
    """Trains one variant, continuing where an earlier call stopped."""
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
    """Reports of one variant, by the name of the evaluation; made where they are missing."""
    reports = {}
    for name, words in evaluations.items():
        output = folder / "reports" / name
        if not (output / "report.json").is_file():
            output.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, str(ROOT / "train" / "evaluate.py"), "--model", model, *shlex.split(words)]
            run([*command, "--output_dir", str(output)], output / "evaluate.log")
        reports[name] = json.loads((output / "report.json").read_text(encoding="utf-8"))
    return reports


def figures(found: dict[str, dict[str, dict]]) -> list[list[str]]:
    """Rows of the main table: variant, evaluation, tier and figures."""
    rows = []
    for variant, reports in found.items():
        for name, report in reports.items():
            for tier, values in report["tiers"].items():
                metrics = values["metrics"]
                counts = f"{metrics['n_real']:,} / {metrics['n_fake']:,}"
                rows.append([variant, name, tier, counts, plain(metrics["roc_auc"]),
                             share(metrics["balanced_accuracy"]), share(metrics["tpr_at_5fpr"])])  # fmt: skip
    return rows


def per_generator(found: dict[str, dict[str, dict]]) -> str:
    """AUC of each generator in the first tier, a column a variant: what a change won and what it lost."""
    table: dict[tuple[str, str], dict[str, float]] = {}
    for variant, reports in found.items():
        for name, report in reports.items():
            for row in next(iter(report["tiers"].values()))["by"].get("generator", ()):
                table.setdefault((name, row["name"]), {})[variant] = row["auc"]
    if not table:
        return ""
    rows = [[name, generator, *(plain(values.get(variant)) for variant in found)]
            for (name, generator), values in sorted(table.items())]  # fmt: skip
    return "## AUC per generator, first tier\n\n" + grid(["evaluation", "generator", *found], rows) + "\n"


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="train/study.py", description="Variants of one recipe, side by side.")
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
        base, {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in args.values)}
    )
    found = {}
    for name, variant in study["variants"].items():
        variant = variant or {}
        folder = args.output_dir / name
        evaluations = variant.get("evaluations", study.get("evaluations", {}))
        if "model" in variant:  # a finished checkpoint to compare with
            found[name] = evaluate_variant(variant["model"], evaluations, folder)
            continue
        train_variant(name, changed(base, {**study.get("changes", {}), **variant.get("changes", {})}), folder,
                      shlex.split(args.launch))  # fmt: skip
        found[name] = evaluate_variant(str(folder / "model"), evaluations, folder)
        write(args, found)
    write(args, found)
    return 0


def write(args: argparse.Namespace, found: dict) -> None:
    """study.md and study.json of what there is so far."""
    rows = figures(found)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    text = f"# {args.study.stem}\n\n{grid(HEAD, rows)}\n\n{per_generator(found)}"
    (args.output_dir / "study.md").write_text(text, encoding="utf-8")
    records = [dict(zip(HEAD, row, strict=True)) for row in rows]
    (args.output_dir / "study.json").write_text(json.dumps(records, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
