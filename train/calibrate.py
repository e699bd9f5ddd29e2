"""Fit a checkpoint's calibration and its band of unsure answers on validation data, and write them to its config.json.

    python train/calibrate.py --model runs/mine/best --data data/prepared --split validation
    python train/calibrate.py --model runs/mine/best --data validation.parquet --tiers web --balance_sources \\
        --max_risk 0.10

Two numbers turn the raw logit z into a probability, P(fake) = sigmoid(z / temperature + bias): a logistic regression
of the label on z (Platt 1999), with real and fake weighing the same. Scores inside the band around the threshold are
answered "unsure". By default the band is the narrowest with which at most 5 % of the real images are called fake, and
at most 5 % of the fakes real. With --max_risk it is the band of the largest coverage with which at most that share of
the given answers is wrong (selective prediction); it is chosen on cross-fitted scores, each from a fit without images
of the same source. Images below --tiny_side pixels have numbers of their own: calibrate them in a second run, on such
images. With several --data (or --tiers) each weighs the same, however many images it has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.sources import PrepareError
from train.evaluation.calibration import (
    THRESHOLD,
    CalibrationError,
    Part,
    choose_band,
    choose_band_by_risk,
    fit_calibration,
    image_weights,
    probabilities,
)
from train.evaluation.crossfit import FOLDS, answer, answer_shares, out_of_fold
from train.evaluation.metrics import expected_calibration_error

MIN_IMAGES = 100
KEYS = ("calibration_temperature", "calibration_bias", "unsure_band")
TINY_KEYS = ("tiny_temperature", "tiny_bias", "tiny_unsure_band")
Setting = tuple[float, float, tuple[float, float]]  # temperature, bias, band


@dataclass(frozen=True)
class Scored:
    """One data set in one tier: its name, logits z (N,), labels (N,), and the source and folding unit of each image."""

    name: str
    z: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    units: np.ndarray

    @property
    def part(self) -> Part:
        return self.z, self.labels


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


def write_config(path: Path, keys: tuple[str, str, str], setting: Setting, tiny_side: int) -> None:
    """Puts the new numbers into a config.json and leaves everything else in it as it is; replaced as a whole."""
    from fakedet import FakeDetConfig

    config = json.loads(path.read_text(encoding="utf-8"))
    config |= dict(zip(keys, setting, strict=True)) | {"threshold": THRESHOLD}
    if tiny_side:
        config["tiny_side"] = tiny_side
    FakeDetConfig.from_dict(config).check()
    partial = path.with_name("config.json.partial")
    partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, path)


def score_sets(args: argparse.Namespace) -> list[Scored]:
    """Scores every data set in every tier."""
    from fakedet import Detector
    from train.evaluation.dataset import TIERS, load_evalset
    from train.evaluation.intervals import resampling_units
    from train.evaluation.scoring import score_tier

    detector, scored = Detector.from_pretrained(args.model, provenance=False), []
    for data in args.data:
        images = load_evalset(data, args.split, args.max_samples, args.seed, default_split="validation")
        if args.split is None and images.split == "test":
            raise CalibrationError(f"{data} has only a test split: name it by --split test to calibrate on it.")
        for tier in args.tiers:
            rows = np.arange(len(images))
            scores, dropped = score_tier(detector, images, TIERS[tier], rows, args.batch_size, args.num_workers)
            if dropped:
                print(f"{len(dropped)} images of {data} could not be read and are left out.")
            if scores["label"].nunique() < 2:
                raise CalibrationError(f"{data}, split {images.split}, lacks real or fake images to calibrate on.")
            if scores["label"].value_counts().min() < MIN_IMAGES:
                print(f"Warning: {data} has fewer than {MIN_IMAGES} images of one class; shares are rough.")
            unit, units = resampling_units(scores.set_index("index"))  # the same in every tier
            units = units if unit == "source" else np.char.add(f"{data} ", units.astype(str))
            sources = scores["source"].fillna("").to_numpy(str) if "source" in scores else np.full(len(scores), "")
            name = f"{data} ({images.split}, {tier})"
            scored.append(Scored(name, scores["z"].to_numpy(), scores["label"].to_numpy(), sources, units))
    return scored


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
    if not path.is_file():
        raise CalibrationError(f"{args.model} is not a checkpoint folder: it has no config.json to write to.")
    scored = score_sets(args)
    old = json.loads(path.read_text(encoding="utf-8"))
    keys = TINY_KEYS if args.tiny_side else KEYS
    before = tuple(old.get(key, default) for key, default in zip(keys, (1.0, 0.0, (THRESHOLD,) * 2), strict=True))
    after, answers = fit(scored, args)
    print_changes(scored, before, after, answers)
    if not args.dry_run:
        write_config(path, keys, after, args.tiny_side)
    temperature, bias, (low, high) = after
    print(f"temperature {temperature:.4f}  bias {bias:+.4f}  threshold {THRESHOLD}  "
          f"unsure band {low:.4f} to {high:.4f}")  # fmt: skip
    print("Nothing was written (--dry_run)." if args.dry_run else f"Written to {path}.")


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
        calibrate(args)
    except (PrepareError, CalibrationError, ModelError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
