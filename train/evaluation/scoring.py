"""Scores and latency of an evaluation's images with `fakedet.Detector`, the code that users run."""

from __future__ import annotations

import platform
import time

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fakedet import Detector
from fakedet.detector import Failure
from train.evaluation.curves import Degradation
from train.evaluation.dataset import EvalSet, Tier, prefetch

LATENCY_IMAGES = 200


def score_tier(
    detector: Detector, images: EvalSet, tier: Tier | Degradation, rows: np.ndarray, batch_size: int, workers: int
) -> tuple[pd.DataFrame, list[dict]]:
    """Scores images in one tier, with a progress bar.

    Args:
        rows: (N,) positions of the images in the set.
        batch_size: images per batch of the detector.
        workers: number of threads that degrade images ahead of the network.

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
            scored.append((*row, next(iter(verdict.families or ()), ""), next(iter(verdict.generator or ()), "")))
    columns = ["place", "file", "width", "height", "p_fake", "z", "verdict", "family", "family_named"]
    scores = pd.DataFrame(scored, columns=columns).set_index("place")
    if not detector.config.families:
        scores = scores.drop(columns=["family", "family_named"])
    return table.join(scores, how="inner").reset_index(drop=True), dropped


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
