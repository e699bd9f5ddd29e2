"""Fit a checkpoint's calibration and its band of unsure answers on validation data, and write them to its config.json.

    python train/calibrate.py --model runs/mine/best --data data/prepared --split validation
    python train/calibrate.py --model runs/mine/best --data validation.parquet --tiers web --balance_sources \\
        --max_risk 0.10
    python train/calibrate.py --model runs/mine/best --data validation.parquet --tiers web --early_exit

Two numbers turn the raw logit z into a probability, P(fake) = sigmoid(z / temperature + bias): a logistic regression
of the label on z (Platt 1999), with real and fake weighing the same. Scores inside the band around the threshold are
answered "unsure". By default the band is the narrowest with which at most 5 % of the real images are called fake, and
at most 5 % of the fakes real. With --max_risk it is the band of the largest coverage with which at most that share of
the given answers is wrong (selective prediction); it is chosen on cross-fitted scores, each from a fit without images
of the same source. Images below --tiny_side pixels have numbers of their own: calibrate them in a second run, on such
images. With several --data (or --tiers) each weighs the same, however many images it has.

--early_exit leaves the calibration as it is and chooses early exit for it (`fakedet scan --views fast`): how many views
are scored first, and the band in which the others follow, so that most views are spared while AUC and answers change
little (see train/evaluation/early_exit.py). A new calibration switches early exit off.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet import Detector
from train.data.sources import PrepareError
from train.evaluation.calibration import (
    THRESHOLD,
    CalibrationError,
    Part,
    choose_band,
    choose_band_by_risk,
    fit_calibration,
    image_weights,
    joined,
    probabilities,
)
from train.evaluation.crossfit import FOLDS, answer, answer_shares, out_of_fold
from train.evaluation.early_exit import choose_early_exit, cross_fitted
from train.evaluation.metrics import expected_calibration_error
from train.evaluation.scoring import Scored, score_sets

KEYS = ("calibration_temperature", "calibration_bias", "unsure_band")
TINY_KEYS = ("tiny_temperature", "tiny_bias", "tiny_unsure_band")
Setting = tuple[float, float, tuple[float, float]]  # temperature, bias, band


def describe(part: Part, temperature: float, bias: float, band: tuple[float, float]) -> dict[str, float]:
    """Figures of one data set under a calibration: `ece`, `ece_balanced` (both classes weigh the same), and
    `coverage`, `risk`, `false_alarms` and `missed` of the three answers (see `answer_shares`)."""
    z, labels = part
    p = probabilities(z, temperature, bias)
    return {
        "ece": expected_calibration_error(labels, p),
        "ece_balanced": expected_calibration_error(labels, p, weights=image_weights([part])[0]),
        **answer_shares(answer(p, band), labels),
    }


def write_config(path: Path, numbers: dict) -> None:
    """Puts new numbers into a config.json and leaves everything else in it as it is; replaced as a whole."""
    from fakedet import FakeDetConfig

    config = json.loads(path.read_text(encoding="utf-8")) | numbers
    FakeDetConfig.from_dict(config).check()
    partial = path.with_name("config.json.partial")
    partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, path)


def fit(scored: list[Scored], args: argparse.Namespace) -> tuple[Setting, list[np.ndarray] | None]:
    """Fits the calibration.

    Returns:
        temperature, bias and band; and the cross-fitted answers per data set (see `out_of_fold`), None where neither
        --balance_sources nor --max_risk asks for them.
    """

    def choose(parts: list[Part], weights: list[np.ndarray]) -> tuple[float, float]:
        if args.max_risk is None:
            return choose_band(parts, args.max_false_alarm, weights=weights)
        return choose_band_by_risk(parts, args.max_risk, args.max_false_alarm, weights=weights)

    parts = [one.part for one in scored]
    weights = image_weights(parts, [one.sources for one in scored] if args.balance_sources else None)
    temperature, bias = fit_calibration(parts, weights)
    p_fake, answers = [probabilities(z, temperature, bias) for z, _ in parts], None
    if args.balance_sources or args.max_risk is not None:
        held_out, answers = out_of_fold(
            parts, weights, [one.units for one in scored], choose, args.folds, args.seed
        )  # fmt: skip
        p_fake = p_fake if args.max_risk is None else held_out
    band = choose([(p, one.labels) for p, one in zip(p_fake, scored, strict=True)], weights)
    return (temperature, bias, list(band)), answers


def print_changes(scored: list[Scored], before: Setting, after: Setting, answers: list[np.ndarray] | None) -> None:
    """Prints the figures of each data set before and after, and cross-fitted where there are such answers."""

    def line(title: str, figures: dict[str, float]) -> None:
        print(f"  {title:<14}" + "  ".join(f"{key} {value:.4f}" for key, value in figures.items()))

    for number, one in enumerate(scored):
        print(f"{one.name}: {len(one.labels):,} images")
        for title, setting in (("before", before), ("after", after)):
            line(title, describe(one.part, *setting))
        if answers:
            line("cross-fitted", answer_shares(answers[number], one.labels))
    if answers and len(scored) > 1:
        print("all images together")
        line("cross-fitted", answer_shares(np.concatenate(answers), np.concatenate([one.labels for one in scored])))


def calibrate(args: argparse.Namespace) -> None:
    """Does the whole job and prints what changed."""
    path = Path(args.model) / "config.json"
    scored = score_sets(args, Detector.from_pretrained(args.model, provenance=False))
    old = json.loads(path.read_text(encoding="utf-8"))
    keys = TINY_KEYS if args.tiny_side else KEYS
    before = tuple(old.get(key, default) for key, default in zip(keys, (1.0, 0.0, (THRESHOLD,) * 2), strict=True))
    after, answers = fit(scored, args)
    print_changes(scored, before, after, answers)
    if not args.dry_run:
        numbers = dict(zip(keys, after, strict=True)) | {"threshold": THRESHOLD}
        off = {"early_exit_views": 0} if "early_exit_views" in old else {}  # its band was chosen for the former numbers
        write_config(path, numbers | ({"tiny_side": args.tiny_side} if args.tiny_side else off))
    temperature, bias, (low, high) = after
    print(f"temperature {temperature:.4f}  bias {bias:+.4f}  threshold {THRESHOLD}  "
          f"unsure band {low:.4f} to {high:.4f}")  # fmt: skip
    print("Nothing was written (--dry_run)." if args.dry_run else f"Written to {path}.")


def set_early_exit(args: argparse.Namespace) -> None:
    """Chooses early exit, prints what it changes and writes it."""
    detector = Detector.from_pretrained(args.model, provenance=False)
    scored = score_sets(args, detector)
    table, units = pd.concat([one.table for one in scored]), joined([one.units for one in scored])
    views, band, scores = choose_early_exit(table, detector.config)
    for title, effect in (
        ("on these images", scores.effect(scores.ends(band))),
        ("cross-fitted over sources", cross_fitted(scores, units, args.folds, args.seed)),
    ):
        print(f"{title}: " + "  ".join(f"{key} {value:.4f}" for key, value in effect.items()))
    if not args.dry_run:
        write_config(Path(args.model) / "config.json", {"early_exit_views": views, "early_exit_band": list(band)})
    print(f"first views {views}  band {band[0]:.4f} to {band[1]:.4f}" + (", not written" if args.dry_run else ""))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="train/calibrate.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder; its config.json is changed")
    add("--data", required=True, action="extend", nargs="+", help="as in train/evaluate.py; several weigh the same")
    add("--split", help="default: validation, or the only split there is")
    add("--max_false_alarm", type=float, default=0.05, help="share of reals called fake, and of fakes called real")
    add("--max_risk", type=float, help="choose the band by the share of wrong answers among those given; "
                                       "--max_false_alarm then limits reals called fake only")  # fmt: skip
    add("--balance_sources", action="store_true", help="weigh an image of n of its source and class by 1 / sqrt(n)")
    add("--folds", type=int, default=FOLDS, help="folds over whole sources for the cross-fitted figures")
    add("--tiers", nargs="+", choices=("clean", "web", "hard"), default=["clean"])
    add("--batch_size", type=int, default=32)
    add("--num_workers", type=int, default=2)
    add("--max_samples", type=int, help="per data set")
    add("--seed", type=int, default=0)
    add("--tiny_side", type=int, default=0, help="set the calibration of images below this side (pixels) instead")
    add("--early_exit", action="store_true", help="choose early exit instead, for the calibration that is there")
    add("--dry_run", action="store_true", help="print, write nothing")
    args = parser.parse_args(argv)
    for name in ("max_false_alarm", "max_risk"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 0.5:
            parser.error(f"--{name} must lie between 0 and 0.5")
    if args.folds < 2:
        parser.error("--folds must be at least 2")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 = done, 2 = the model, the data or the arguments cannot be used."""
    args = parse_args(argv)
    from fakedet.hub import ModelError

    try:
        if not (Path(args.model) / "config.json").is_file():
            raise CalibrationError(f"{args.model} is not a checkpoint folder: it has no config.json to write to.")
        set_early_exit(args) if args.early_exit else calibrate(args)
    except (PrepareError, CalibrationError, ModelError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
