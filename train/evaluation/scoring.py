"""Scores and latency of an evaluation's images with `fakedet.Detector`, the code that users run."""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fakedet import Detector
from fakedet.detector import Failure
from train.evaluation.calibration import CalibrationError, Part
from train.evaluation.curves import Degradation
from train.evaluation.dataset import TIERS, EvalSet, Tier, load_evalset, prefetch
from train.evaluation.intervals import resampling_units

LATENCY_IMAGES = 200
MIN_IMAGES = 100  # of a class, for calibration


def score_tier(
    detector: Detector,
    images: EvalSet,
    tier: Tier | Degradation,
    rows: np.ndarray,
    batch_size: int,
    workers: int,
    view_logits: bool = False,
) -> tuple[pd.DataFrame, list[dict]]:
    """Scores images in one tier, with a progress bar.

    Args:
        rows: (N,) positions of the images in the set.
        batch_size: images per batch of the detector.
        workers: number of threads that degrade images ahead of the network.
        view_logits: add a column `view_z`, a tuple with the raw logit of each view.

    Returns:
        Score table (see summary.py), and one entry per image that could not be scored.
    """
    names: list[str] = []

    def prepare(row: int) -> tuple[bytes | str, str]:
        encoded, name = images.encoded(row)
        return tier.apply(encoded), name

    def feed():
        for encoded, name in prefetch(prepare, rows, workers):
            names.append(name)
            yield encoded

    table = images.table.iloc[rows].reset_index(drop=True)
    scored, dropped = [], []
    results = detector.predict_many(feed(), batch_size=batch_size)
    for place, verdict in enumerate(tqdm(results, total=len(rows), unit="images", desc=f"Scoring, tier {tier.name}")):
        index = int(table["index"][place])
        if isinstance(verdict, Failure):
            entry = {"index": index, "file": names[place], "tier": tier.name}
            dropped.append(entry | verdict.to_dict()["error"])
        else:
            size = verdict.image["width"], verdict.image["height"]
            row = (place, names[place], *size, float(verdict.p_fake), float(verdict.logit), verdict.verdict)
            scored.append(
                (
                    *row,
                    next(iter(verdict.families or ()), ""),
                    next(iter(verdict.generator or ()), ""),
                    verdict.view_logits,
                )
            )
    columns = ["place", "file", "width", "height", "p_fake", "z", "verdict", "family", "family_named", "view_z"]
    scores = pd.DataFrame(scored, columns=columns).set_index("place")
    if not detector.config.families:
        scores = scores.drop(columns=["family", "family_named"])
    if not view_logits:
        scores = scores.drop(columns=["view_z"])
    return table.join(scores, how="inner").reset_index(drop=True), dropped


@dataclass(frozen=True)
class Scored:
    """One data set in one tier: its name; per image (N,) logit z, label, source and folding unit; the score table."""

    name: str
    z: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    units: np.ndarray
    table: pd.DataFrame

    @property
    def part(self) -> Part:
        return self.z, self.labels


def score_sets(args: argparse.Namespace, detector: Detector) -> list[Scored]:
    """Scores every data set in every tier, with the logits of each view.

    Args:
        args: Of train/calibrate.py: model, data, tiers, split, max_samples, seed, batch_size, num_workers.

    Raises:
        CalibrationError: a data set has only a test split that was not named, or lacks a class.
        PrepareError: the data cannot be read.
    """
    scored = []
    for data in args.data:
        images = load_evalset(data, args.split, args.max_samples, args.seed, default_split="validation")
        if args.split is None and images.split == "test":
            raise CalibrationError(f"{data} has only a test split: name it by --split test to calibrate on it.")
        for tier in args.tiers:
            rows = np.arange(len(images))
            scores, dropped = score_tier(detector, images, TIERS[tier], rows, args.batch_size, args.num_workers, True)
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
            scored.append(Scored(name, scores["z"].to_numpy(), scores["label"].to_numpy(), sources, units, scores))
    return scored


def measure_latency(detector: Detector, images: EvalSet, rows: np.ndarray, max_images: int = LATENCY_IMAGES) -> dict:
    """Measures milliseconds from file to verdict, one image at a time, on up to `max_images` evenly spaced rows."""
    import torch

    where = f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} CPU threads"
    if torch.cuda.is_available():
        where += f", {torch.cuda.get_device_name()}"
    if len(rows):
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(max_images, len(rows))).astype(int))]
    milliseconds = []
    warm_up = rows[:3]
    for row in tqdm(np.concatenate([warm_up, rows]), unit="images", desc="Measuring latency"):
        encoded, _ = images.encoded(row)
        start = time.perf_counter()
        detector.predict(encoded)
        milliseconds.append(1000 * (time.perf_counter() - start))
    milliseconds = milliseconds[len(warm_up) :]
    median, p95 = (float(np.percentile(milliseconds, q)) for q in (50, 95)) if milliseconds else (None, None)
    return {"n": len(milliseconds), "median": median, "p95": p95, "where": where}
