"""The run behind `train/evaluate.py`: score every image in every tier, measure, draw, and write the report.

Scores come from `fakedet.Detector`, the code that users run, and from nowhere else.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fakedet import Detector, __version__
from fakedet.hub import ModelError
from train.attribution.families import family_figures
from train.data.filters import parse_where
from train.data.sources import PrepareError
from train.evaluation.curves import curve_rows
from train.evaluation.dataset import TIERS, EvalSet, load_evalset
from train.evaluation.drawing import draw
from train.evaluation.probes import probe_table
from train.evaluation.report import markdown
from train.evaluation.scoring import measure_latency, score_tier
from train.evaluation.summary import classification_text, score_shift, tier_summary

PACKAGES = ("torch", "timm", "transformers", "datasets", "evaluate", "scikit-learn", "pillow", "numpy")


def evaluate(args: argparse.Namespace, command: str) -> dict:
    """Does the whole run and returns the report; files are in `args.output_dir`.

    Raises:
        PrepareError, ModelError: the data or the model cannot be used.
    """
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    images = load_evalset(args.data, args.split, args.max_samples, args.seed, args.where, args.where_not)
    detector = Detector.from_pretrained(args.model, provenance=False)
    rows, scores, dropped = np.arange(len(images)), {}, []
    for name in args.tiers:
        scores[name], lost = score_tier(detector, images, TIERS[name], rows, args.batch_size, args.num_workers)
        dropped += lost
        rows = rows[images.table["index"].iloc[rows].isin(scores[name]["index"]).to_numpy()]  # no second try
        if not len(rows):
            raise PrepareError(f"None of the {len(images)} images could be read; the first: {dropped[0]['message']}")
    first = args.tiers[0]
    threshold, labels = detector.config.threshold, images.table["label"]
    tiny = int((scores[first][["width", "height"]].min(axis=1) < detector.config.tiny_side).sum())
    tiers = {name: {"words": TIERS[name].words, **tier_summary(table, threshold)} for name, table in scores.items()}
    for name in args.tiers[1:]:
        tiers[name]["shift"] = score_shift(scores[first], scores[name])
    report = {
        "schema": "1",
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "data": args.data,
        "split": images.split,
        "where": {"only": args.where, "exclude": args.where_not},
        "model": detector.model_facts,
        "threshold": threshold,
        "unsure_band": list(detector.config.unsure_band),
        "tiny": {
            "side": detector.config.tiny_side,
            "unsure_band": list(detector.config.tiny_unsure_band),
            "images": tiny,
        },
        "counts": {
            "images": len(images),
            "real": int((labels == 0).sum()),
            "fake": int((labels == 1).sum()),
            "scored": len(scores[first]),
            "unreadable": len({entry["index"] for entry in dropped}),
            "unlabelled": images.unlabelled,
        },
        "dropped": dropped,
        "tiers": tiers,
        "attribution": attribution(scores, detector.config),
        "probes": run_probes(images, rows, args),
        "curves": run_curves(detector, images, scores[first], rows, args),
        "latency_ms": measure_latency(detector, images, rows),
        "classification_report": classification_text(scores[first], threshold),
        "versions": versions(),
    }
    pictures = draw(output, images, scores, report, args.mistakes)
    everything = pd.concat([table.assign(tier=name) for name, table in scores.items()])
    everything.to_csv(output / "scores.csv", index=False, float_format="%.6g")
    (output / "classification_report.txt").write_text(report["classification_report"], encoding="utf-8")
    text = json.dumps(plain(report), indent=2, allow_nan=False, ensure_ascii=False)
    (output / "report.json").write_text(text + "\n", encoding="utf-8")
    (output / "report.md").write_text(markdown(report, pictures), encoding="utf-8")
    return report


def attribution(scores: dict[str, pd.DataFrame], config) -> dict | None:
    """How well the families of generators were named, tier by tier; None where the model or the data name none."""
    if not config.families or "generator" not in next(iter(scores.values())):
        return None
    tiers = {name: figures for name, table in scores.items() if (figures := family_figures(table, config.families))}
    return {"families": config.families, "threshold": config.family_threshold, "tiers": tiers} if tiers else None


def run_probes(images: EvalSet, rows: np.ndarray, args: argparse.Namespace) -> list[dict]:
    """Shortcut probes on up to `args.probe_samples` of the rows, chosen at random; [] when that is 0."""
    if args.probe_samples <= 0:
        return []
    rng = np.random.default_rng(args.seed)
    rows = np.sort(rng.choice(rows, min(args.probe_samples, len(rows)), replace=False))
    table = images.table.iloc[rows]
    groups = table["group"].to_numpy() if "group" in table and table["group"].fillna("").ne("").all() else None
    encoded = (images.encoded(row)[0] for row in rows)
    bar: Callable = lambda items: tqdm(items, total=len(rows), unit="images", desc="Probing shortcuts")  # noqa: E731
    return probe_table(encoded, table["label"], groups, args.num_workers, bar)


def run_curves(detector: Detector, images: EvalSet, clean: pd.DataFrame, rows: np.ndarray, args) -> list[dict]:
    """Robustness curves on up to `args.curve_samples` of the rows, chosen at random; [] when that is 0."""
    if args.curve_samples <= 0:
        return []
    rng = np.random.default_rng(args.seed)
    rows = np.sort(rng.choice(rows, min(args.curve_samples, len(rows)), replace=False))
    return curve_rows(
        lambda degradation: score_tier(detector, images, degradation, rows, args.batch_size, args.num_workers)[0], clean
    )


def versions() -> dict[str, str]:
    """Versions of what a score depends on."""
    found = {"fakedet": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def plain(value):
    """The same with numpy's numbers as Python's and NaN as None, for JSON."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="train/evaluate.py", description="Score labelled images and write a report.")
    add = parser.add_argument
    add("--model", default="bundled", help="Hub id (owner/name[@revision]), checkpoint folder, or bundled")
    add("--data", required=True, help="prepared folder, folder with real/ and fake/, parquet, or Hub id")
    add("--split", help="default: test, or the only split there is")
    add("--output_dir", required=True)
    add("--tiers", nargs="+", choices=list(TIERS), default=["clean"], help="wear, the same for both classes")
    add("--batch_size", type=int, default=32)
    add("--num_workers", type=int, default=2, help="threads that read and wear images ahead of the network")
    add("--where", nargs="+", default=[], metavar="COLUMN=VALUE,...", help="score only rows with these values")
    add("--where_not", nargs="+", default=[], metavar="COLUMN=VALUE,...", help="leave rows with these values out")
    add("--max_samples", type=int, help="score a random part of this size")
    add("--mistakes", type=int, default=24, help="images on the contact sheet; 0 draws none")
    add("--probe_samples", type=int, default=5000, help="images for the shortcut probes; 0 leaves them out")
    add("--curve_samples", type=int, default=0, help="images for the curves over JPEG quality, size, blur and so on")
    add("--seed", type=int, default=0, help="of the random parts")
    args = parser.parse_args(argv)
    for name, low in (("batch_size", 1), ("num_workers", 0), ("max_samples", 1)):
        value = getattr(args, name)
        if value is not None and value < low:
            parser.error(f"--{name} must be at least {low}")
    args.tiers = list(dict.fromkeys(args.tiers))
    try:
        args.where, args.where_not = parse_where(args.where), parse_where(args.where_not)
    except ValueError as error:
        parser.error(str(error))
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 = done, 2 = the model, the data or the arguments cannot be used."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    try:
        report = evaluate(args, "python train/evaluate.py " + shlex.join(argv))
    except (PrepareError, ModelError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"evaluate: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    for name, tier in report["tiers"].items():
        shown = {key: tier["metrics"][key] for key in ("roc_auc", "balanced_accuracy", "tpr_at_5fpr", "ece")}
        shown["auc_inside_sources"] = tier["matched"]["auc"]
        shown |= {key: tier["three_answers"][key] for key in ("coverage", "false_alarms")}
        print(f"{name}: " + ", ".join(f"{key} {'none' if v is None else format(v, '.4f')}" for key, v in shown.items()))
    print(f"Report: {Path(args.output_dir) / 'report.md'}")
    return 0
