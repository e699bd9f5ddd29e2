"""Runs `train/evaluate.py`: scores every image in every tier, computes the figures, draws, and writes the report.

All scores come from `fakedet.Detector`, the code that users run.
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
from train.data.sources import PrepareError
from train.evaluation.consistency import balanced_sample, consistency_figures, score_variants
from train.evaluation.curves import curve_rows
from train.evaluation.dataset import TIERS, EvalSet, load_evalset
from train.evaluation.drawing import draw
from train.evaluation.options import parse_args
from train.evaluation.probes import probe_table
from train.evaluation.report import markdown
from train.evaluation.scoring import measure_latency, score_tier
from train.evaluation.summary import classification_text, score_shift, tier_summary

PACKAGES = ("torch", "timm", "transformers", "datasets", "evaluate", "scikit-learn", "pillow", "numpy")


def evaluate(args: argparse.Namespace, command: str) -> dict:
    """Runs the evaluation, writes its files to `args.output_dir` and returns the report.

    Raises:
        PrepareError, ModelError: the data or the model cannot be used.
    """
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    images = load_evalset(args.data, args.split, args.max_samples, args.seed, args.where, args.where_not)
    detector = Detector.from_pretrained(args.model, provenance=False)
    scores, rows, dropped = score_tiers(detector, images, args)
    clean = scores[args.tiers[0]]
    report = {
        "schema": "1",
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "data": args.data,
        "split": images.split,
        "where": {"only": args.where, "exclude": args.where_not},
        **model_figures(detector, clean),
        "counts": count_images(images, clean, dropped),
        "dropped": dropped,
        "tiers": tier_figures(scores, detector.config.threshold),
        "attribution": attribution(scores, detector.config),
        "probes": run_probes(images, rows, args),
        "curves": run_curves(detector, images, clean, rows, args),
        "consistency": run_consistency(detector, images, rows, args),
        "latency_ms": measure_latency(detector, images, rows),
        "classification_report": classification_text(clean, detector.config.threshold),
        "versions": versions(),
    }
    pictures = draw(output, images, scores, report, args.mistakes)
    pd.concat([table.assign(tier=name) for name, table in scores.items()]).to_csv(
        output / "scores.csv", index=False, float_format="%.6g"
    )
    (output / "classification_report.txt").write_text(report["classification_report"], encoding="utf-8")
    text = json.dumps(plain(report), indent=2, allow_nan=False, ensure_ascii=False)
    (output / "report.json").write_text(text + "\n", encoding="utf-8")
    (output / "report.md").write_text(markdown(report, pictures), encoding="utf-8")
    return report


def score_tiers(
    detector: Detector, images: EvalSet, args: argparse.Namespace
) -> tuple[dict[str, pd.DataFrame], np.ndarray, list[dict]]:
    """Scores the images in every tier.

    Returns:
        Score table per tier, positions of the images that all tiers could read, and one entry per unreadable image.

    Raises:
        PrepareError: no image could be read.
    """
    rows, scores, dropped = np.arange(len(images)), {}, []
    for name in args.tiers:
        scores[name], unreadable = score_tier(detector, images, TIERS[name], rows, args.batch_size, args.num_workers)
        dropped += unreadable
        rows = rows[images.table["index"].iloc[rows].isin(scores[name]["index"]).to_numpy()]  # an image fails once
        if not len(rows):
            raise PrepareError(f"None of the {len(images)} images could be read; the first: {dropped[0]['message']}")
    return scores, rows, dropped


def model_figures(detector: Detector, clean: pd.DataFrame) -> dict:
    """The detector's identity, threshold and bands, and how many images have a calibration as tiny images."""
    config = detector.config
    tiny = int((clean[["width", "height"]].min(axis=1) < config.tiny_side).sum())
    return {
        "model": detector.model_facts,
        "threshold": config.threshold,
        "unsure_band": list(config.unsure_band),
        "tiny": {"side": config.tiny_side, "unsure_band": list(config.tiny_unsure_band), "images": tiny},
    }


def count_images(images: EvalSet, clean: pd.DataFrame, dropped: list[dict]) -> dict[str, int]:
    """Counts the images by class and by what became of them."""
    labels = images.table["label"]
    return {
        "images": len(images),
        "real": int((labels == 0).sum()),
        "fake": int((labels == 1).sum()),
        "scored": len(clean),
        "unreadable": len({entry["index"] for entry in dropped}),
        "unlabelled": images.unlabelled,
    }


def tier_figures(scores: dict[str, pd.DataFrame], threshold: float) -> dict[str, dict]:
    """Figures per tier: description (`words`), summary, and score shift against the first tier."""
    first = next(iter(scores))
    tiers = {
        name: {"words": TIERS[name].description} | tier_summary(table, threshold) for name, table in scores.items()
    }
    for name in scores:
        if name != first:
            tiers[name]["shift"] = score_shift(scores[first], scores[name])
    return tiers


def attribution(scores: dict[str, pd.DataFrame], config) -> dict | None:
    """Accuracy of the generator families per tier; None where the model or the data name none."""
    if not config.families or "generator" not in next(iter(scores.values())):
        return None
    tiers = {name: figures for name, table in scores.items() if (figures := family_figures(table, config.families))}
    return {"families": config.families, "threshold": config.family_threshold, "tiers": tiers} if tiers else None


def run_probes(images: EvalSet, rows: np.ndarray, args: argparse.Namespace) -> list[dict]:
    """Measures shortcut probes on a random sample of up to `args.probe_samples` rows; [] when that is 0."""
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
    """Measures robustness curves on a random sample of up to `args.curve_samples` rows; [] when that is 0."""
    if args.curve_samples <= 0:
        return []
    rng = np.random.default_rng(args.seed)
    rows = np.sort(rng.choice(rows, min(args.curve_samples, len(rows)), replace=False))
    return curve_rows(
        lambda degradation: score_tier(detector, images, degradation, rows, args.batch_size, args.num_workers)[0], clean
    )


def run_consistency(detector: Detector, images: EvalSet, rows: np.ndarray, args) -> dict | None:
    """Scores up to `args.consistency` images in all variants and writes consistency.csv; None when that is 0."""
    if args.consistency <= 0:
        return None
    rows = rows[balanced_sample(images.table.iloc[rows], args.consistency, args.seed)]
    table = score_variants(detector, images, rows, args.batch_size, args.num_workers)
    table.to_csv(Path(args.output_dir) / "consistency.csv", index=False, float_format="%.6g")
    return consistency_figures(table)


def versions() -> dict[str, str]:
    """Versions of the packages that a score depends on."""
    installed = {"fakedet": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def plain(value):
    """Returns a JSON-ready copy: numpy numbers become Python numbers, NaN and infinity None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
