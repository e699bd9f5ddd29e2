"""Fit a checkpoint's calibration and its band of unsure answers on validation data, and write them to its config.json.

    python train/calibrate.py --model runs/mine/best --data data/prepared --split validation

Two numbers turn the raw logit z into a probability, P(fake) = sigmoid(z / temperature + bias): a logistic regression
of the label on z (Platt 1999), with real and fake weighing the same. Then the band is put around the threshold so that
at most 5 % of the real images are called fake, and at most 5 % of the fakes real; what lies inside is answered
"unsure". Images below --tiny_side pixels have numbers of their own: calibrate them in a second run, on such images.
With several --data (or --tiers) each weighs the same, however many images it has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.sources import PrepareError
from train.evaluation.metrics import expected_calibration_error

THRESHOLD = 0.5
FEW = 100
KEYS = ("calibration_temperature", "calibration_bias", "unsure_band")
TINY_KEYS = ("tiny_temperature", "tiny_bias", "tiny_unsure_band")
Part = tuple[np.ndarray, np.ndarray]  # z or p_fake (N,), labels (N,)


class CalibrationError(ValueError):
    """The scores cannot be calibrated; the message says why in one plain sentence."""


def probabilities(z: np.ndarray, temperature: float, bias: float) -> np.ndarray:
    """P(fake) (N,) of raw logits (N,), as the detector computes it."""
    from scipy.special import expit

    return expit(np.asarray(z, dtype=np.float64) / temperature + bias)


def cell_weights(parts: list[Part]) -> list[np.ndarray]:
    """Weight of each image, so that every class of every part weighs the same; the sum over all is 1."""
    cells = 2 * len(parts)
    return [np.where(y == 1, 1 / max(1, (y == 1).sum()), 1 / max(1, (y == 0).sum())) / cells for _, y in parts]


def fit_calibration(parts: list[Part]) -> tuple[float, float]:
    """Fits temperature and bias by logistic regression.

    Platt's targets are used, (n + 1) / (n + 2) and 1 / (n + 2) in place of 1 and 0: with them the fit stays finite
    even where the scores separate the classes without a mistake.

    Args:
        parts: (z, labels) per data set, both classes in each.

    Returns:
        temperature above 0, bias.

    Raises:
        CalibrationError: a class is missing, or higher scores do not mean more fakes.
    """
    from sklearn.linear_model import LogisticRegression

    for _, labels in parts:
        if len(np.unique(labels)) < 2:
            raise CalibrationError("Calibration needs real and fake images in every data set.")
    z, labels, weights = (np.concatenate(column) for column in (*zip(*parts, strict=True), cell_weights(parts)))
    n = [np.where(y == 1, (y == 1).sum(), (y == 0).sum()) for _, y in parts]
    sure = (np.concatenate(n) + 1) / (np.concatenate(n) + 2)
    target = np.where(labels == 1, sure, 1 - sure)
    # scikit-learn takes no soft targets: each image stands for both labels, with the weights of its target.
    middle, spread = z.mean(), z.std() or 1.0
    inputs = np.tile((z - middle) / spread, 2)[:, None]
    doubled = np.concatenate([weights * target, weights * (1 - target)]) * len(z)
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=10_000)
    model.fit(inputs, np.repeat((1, 0), len(z)), sample_weight=doubled)
    slope = float(model.coef_[0, 0]) / spread
    if not 1e-3 < slope < 1e3:
        raise CalibrationError("The scores do not rise from real to fake, so there is nothing to calibrate.")
    return float(1 / slope), float(model.intercept_[0] - slope * middle)


def upper_edge(values: np.ndarray, weights: np.ndarray, most: float, threshold: float) -> float:
    """The smallest edge in threshold..1 with at most the share `most` of the weight at or above it.

    Past the threshold it is put half-way between two neighbouring values, so that neither rounding nor the last digit
    of another machine moves an image across it.
    """
    if weights[values >= threshold].sum() <= most * weights.sum() + 1e-12:
        return threshold
    order = np.argsort(-values, kind="stable")
    values, above = values[order], np.cumsum(weights[order]) / weights.sum()
    count = int(np.searchsorted(above, most + 1e-12, side="right"))  # so many of the highest may lie above
    while count and values[count - 1] == values[count]:
        count -= 1
    return float((values[count] + (values[count - 1] if count else 1.0)) / 2)


def choose_band(parts: list[Part], max_false_alarm: float = 0.05, threshold: float = THRESHOLD) -> tuple[float, float]:
    """Chooses the band of unsure answers on calibrated scores.

    Args:
        parts: (p_fake, labels) per data set, both classes in each.
        max_false_alarm: share, 0..1, of reals at or above `high`, and of fakes at or below `low`, that is allowed;
            the mean over the data sets.
        threshold: lies inside the band, whatever the scores.

    Returns:
        low, high; equal to the threshold where the scores need no band.
    """
    p, labels, weights = (np.concatenate(column) for column in (*zip(*parts, strict=True), cell_weights(parts)))
    high = upper_edge(p[labels == 0], weights[labels == 0], max_false_alarm, threshold)
    low = 1 - upper_edge(1 - p[labels == 1], weights[labels == 1], max_false_alarm, 1 - threshold)
    return low, high


def describe(part: Part, temperature: float, bias: float, band: tuple[float, float]) -> dict[str, float]:
    """Figures of one data set under a calibration: `ece`, `ece_balanced` (both classes weigh the same), and the
    shares `false_alarms`, `missed` and `coverage` of the three answers."""
    z, labels = part
    p = probabilities(z, temperature, bias)
    fake, real = p >= band[1], (p <= band[0]) & (p < band[1])
    return {
        "ece": expected_calibration_error(labels, p),
        "ece_balanced": expected_calibration_error(labels, p, weights=cell_weights([part])[0]),
        "false_alarms": float(fake[labels == 0].mean()),
        "missed": float(real[labels == 1].mean()),
        "coverage": float((fake | real).mean()),
    }


def write_config(path: Path, keys: tuple[str, str, str], after: tuple, tiny_side: int) -> None:
    """Puts the new numbers into a config.json and leaves everything else in it as it is; replaced as a whole."""
    from fakedet import FakeDetConfig

    config = json.loads(path.read_text(encoding="utf-8"))
    config |= dict(zip(keys, after, strict=True)) | {"threshold": THRESHOLD}
    if tiny_side:
        config["tiny_side"] = tiny_side
    FakeDetConfig.from_dict(config).check()
    partial = path.with_name("config.json.partial")
    partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_parts(args: argparse.Namespace) -> tuple[list[str], list[Part]]:
    """Scores every data set in every tier; names and (z, labels) of each."""
    from fakedet import Detector
    from train.evaluation.dataset import TIERS, load_evalset
    from train.evaluation.scoring import score_tier

    detector, names, parts = Detector.from_pretrained(args.model, provenance=False), [], []
    for data in args.data:
        images = load_evalset(data, args.split, args.max_samples, args.seed)
        for tier in args.tiers:
            rows = np.arange(len(images))
            scores, dropped = score_tier(detector, images, TIERS[tier], rows, args.batch_size, args.num_workers)
            if dropped:
                print(f"{len(dropped)} images of {data} could not be read and are left out.")
            if scores["label"].nunique() < 2:
                raise CalibrationError(f"{data}, split {images.split}, lacks real or fake images to calibrate on.")
            if scores["label"].value_counts().min() < FEW:
                print(f"Warning: {data} has fewer than {FEW} images of one class; a share of 5 % is rough with so few.")
            names.append(f"{data} ({images.split}, {tier})")
            parts.append((scores["z"].to_numpy(), scores["label"].to_numpy()))
    return names, parts


def calibrate(args: argparse.Namespace) -> None:
    """Does the whole job and prints what changed."""
    path = Path(args.model) / "config.json"
    if not path.is_file():
        raise CalibrationError(f"{args.model} is not a checkpoint folder: it has no config.json to write to.")
    names, parts = read_parts(args)
    old = json.loads(path.read_text(encoding="utf-8"))
    keys = TINY_KEYS if args.tiny_side else KEYS
    before = tuple(old.get(key, default) for key, default in zip(keys, (1.0, 0.0, (THRESHOLD,) * 2), strict=True))
    temperature, bias = fit_calibration(parts)
    calibrated = [(probabilities(z, temperature, bias), labels) for z, labels in parts]
    after = (temperature, bias, list(choose_band(calibrated, args.max_false_alarm)))
    for name, part in zip(names, parts, strict=True):
        print(name)
        for words, setting in (("before", before), ("after", after)):
            print(f"  {words:<7}" + "  ".join(f"{key} {value:.4f}" for key, value in describe(part, *setting).items()))
    if not args.dry_run:
        write_config(path, keys, after, args.tiny_side)
    print(f"temperature {temperature:.4f}  bias {bias:+.4f}  threshold {THRESHOLD}  "
          f"unsure band {after[2][0]:.4f} to {after[2][1]:.4f}")  # fmt: skip
    print("Nothing was written (--dry_run)." if args.dry_run else f"Written to {path}.")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 = done, 2 = the model, the data or the arguments cannot be used."""
    parser = argparse.ArgumentParser(prog="train/calibrate.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder; its config.json is changed")
    add("--data", required=True, action="extend", nargs="+", help="as in train/evaluate.py; several weigh the same")
    add("--split", default="validation")
    add("--max_false_alarm", type=float, default=0.05, help="share of reals called fake, and of fakes called real")
    add("--tiers", nargs="+", choices=("clean", "web", "hard"), default=["clean"])
    add("--batch_size", type=int, default=32)
    add("--num_workers", type=int, default=2)
    add("--max_samples", type=int, help="per data set")
    add("--seed", type=int, default=0)
    add("--tiny_side", type=int, default=0, help="set the calibration of images below this side (pixels) instead")
    add("--dry_run", action="store_true", help="print, write nothing")
    args = parser.parse_args(argv)
    if not 0 < args.max_false_alarm < 0.5:
        parser.error("--max_false_alarm must lie between 0 and 0.5")
    from fakedet.hub import ModelError

    try:
        calibrate(args)
    except (PrepareError, CalibrationError, ModelError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
