"""Chooses early exit on validation: how many views are scored first, and for which images the others follow.

Early exit (`Settings.early_exit_views`) scores the first views of an image, and the others only where the P(fake) of
these lies inside a band. A narrow band spares most views and changes most scores.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from fakedet.network.settings import Settings
from train.evaluation.calibration import THRESHOLD
from train.evaluation.crossfit import source_folds

MAX_EDGES = 200  # candidates for each edge of the band
OFF = (0.0, 1.0)
Band = tuple[float, float]


@dataclass(frozen=True)
class Limits:
    """How much early exit may change, against all views, on the images that it is chosen on.

    Elsewhere it changes somewhat more; these limits leave room to 0.002 and 0.5 %.

    Attributes:
        auc: Difference of the AUC, 0..1.
        answers: Share of images, 0..1, with another answer (real, unsure or fake).
    """

    auc: float = 0.0015
    answers: float = 0.0025


@dataclass(frozen=True)
class TwoScores:
    """N images scored by their first views, and by all.

    Attributes:
        labels: (N,) 1 fake, 0 real.
        first, full: P(fake) (N,), 0..1, of the two.
        differs: (N,) whether the two answers differ.
        views: (N,) number of all views.
        spared: (N,) how many of them are not among the first.
    """

    labels: np.ndarray
    first: np.ndarray
    full: np.ndarray
    differs: np.ndarray
    views: np.ndarray
    spared: np.ndarray

    def of(self, rows: np.ndarray) -> TwoScores:
        """Some of the images; `rows` are their numbers or a mask (N,)."""
        return TwoScores(*(getattr(self, field.name)[rows] for field in fields(self)))

    def ends(self, band: Band) -> np.ndarray:
        """Whether the first views suffice for each image (N,)."""
        return (self.first <= band[0]) | (self.first >= band[1])

    def effect(self, ends: np.ndarray) -> dict[str, float]:
        """What changes if the first views suffice for the images `ends` (N,).

        Returns:
            `auc`; `auc_change`, against all views; `answers_changed`, a share of the images; `views` and `all_views`,
            means over the images.
        """
        before = roc_auc_score(self.labels, self.full)
        auc = roc_auc_score(self.labels, np.where(ends, self.first, self.full))
        return {
            "auc": float(auc),
            "auc_change": float(auc - before),
            "answers_changed": float((self.differs & ends).mean()),
            "views": float((self.views - self.spared * ends).mean()),
            "all_views": float(self.views.mean()),
        }


def choose_early_exit(table: pd.DataFrame, config: Settings, limits: Limits = Limits()) -> tuple[int, Band, TwoScores]:
    """Chooses how many views come first, and the band, so that fewest views are scored within the limits.

    Args:
        table: Of `scoring.score_tier`, with `view_z`.
        config: Of the checkpoint that scored.
        limits: On what may change.

    Returns:
        Number of first views, 0 where early exit spares nothing; low, high of the band; the scores for that number.
    """
    chosen = None
    for count in range(1, config.max_views):
        scores = two_scores(table, config, count)
        band = choose_exit_band(scores, limits)
        views = scores.effect(scores.ends(band))["views"]
        if chosen is None or views < chosen[0]:
            chosen = views, count, band, scores
    if chosen is None or chosen[2] == OFF:
        return 0, OFF, two_scores(table, config, config.max_views)
    return chosen[1:]


def two_scores(table: pd.DataFrame, config: Settings, count: int) -> TwoScores:
    """The scores by the first `count` views and by all; tiny images always have all (arguments as above)."""
    aggregate = np.max if config.aggregate == "max" else np.mean
    tiny = table[["width", "height"]].min(axis=1).to_numpy() < config.tiny_side
    full, views = table["p_fake"].to_numpy(), table["view_z"].map(len).to_numpy()
    calibration = config.calibration()
    alone = np.array([calibration.p_fake(float(aggregate(z[:count]))) for z in table["view_z"]])
    first = np.where(tiny | (views <= count), full, alone)
    answers = np.array([calibration.classify(p) for p in first])
    differs = (answers != table["verdict"].to_numpy()) & (first != full)
    spared = np.where(tiny, 0, np.maximum(views - count, 0))
    return TwoScores(table["label"].to_numpy(), first, full, differs, views, spared)


def choose_exit_band(scores: TwoScores, limits: Limits = Limits()) -> Band:
    """Chooses the band that spares most views within the limits.

    Returns:
        low, high around the threshold; `OFF` where nothing can be spared.
    """
    cut = scores.spared > 0
    below, above = (scores.of(cut & side) for side in (scores.first < THRESHOLD, scores.first >= THRESHOLD))
    lows, low_spared, low_changes = _edges(below.first, below)
    highs, high_spared, high_changes = _edges(1 - above.first, above)
    spared = low_spared[:, None] + high_spared
    allowed = low_changes[:, None] + high_changes <= limits.answers * len(scores.labels) + 1e-9
    for place in np.argsort(np.where(allowed, -spared, 1), axis=None, kind="stable"):
        low, high = np.unravel_index(place, spared.shape)
        band = float(lows[low]), float(1 - highs[high])
        if abs(scores.effect(scores.ends(band))["auc_change"]) <= limits.auc:
            return band
    raise AssertionError("the band that is off changes nothing")


def _edges(p: np.ndarray, scores: TwoScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates for one edge of the band.

    Args:
        p: (N,) P(fake) of the images below the threshold, or 1 - P(fake) of those above.
        scores: Of these images.

    Returns:
        edges (E,), rising from 0, half-way between neighbouring values; for each, how many views are spared and how
        many answers change if the images below it end early.
    """
    order = np.argsort(p, kind="stable")
    values = np.concatenate([[0.0], p[order], [THRESHOLD]])
    kept = np.unique(np.linspace(0, len(p), min(len(p), MAX_EDGES) + 1).round().astype(int))
    kept = kept[(kept == 0) | (values[kept] < values[kept + 1])]  # equal values stay on one side
    edges = np.where(kept == 0, 0.0, (values[kept] + values[kept + 1]) / 2)
    sums = (np.concatenate([[0], np.cumsum(column[order])]) for column in (scores.spared, scores.differs))
    return edges, *(column[kept] for column in sums)


def cross_fitted(scores: TwoScores, units: np.ndarray, folds: int, seed: int) -> dict[str, float]:
    """The effect on images of sources that the band was not chosen on; arguments and errors as of `source_folds`."""
    ends = np.zeros(len(scores.labels), dtype=bool)
    for fit, held in source_folds(scores.labels, units, folds, seed):
        ends[held] = scores.of(held).ends(choose_exit_band(scores.of(fit)))
    return scores.effect(ends)
