"""Chooses the band of early exit on validation: which images are scored without crops, and what that changes.

Early exit scores the views of the whole image first. Where their P(fake) lies inside the band, crops are added
(`Settings.early_exit_band`). A narrow band saves most and changes most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from train.evaluation.calibration import THRESHOLD
from train.evaluation.crossfit import source_folds

MAX_EDGES = 200  # candidates for each edge of the band
OFF = (0.0, 1.0)
Band = tuple[float, float]


@dataclass(frozen=True)
class Limits:
    """How much early exit may change, against all views.

    Attributes:
        auc: Difference of the AUC, 0..1.
        answers: Share of images, 0..1, with another answer (real, unsure or fake).
    """

    auc: float = 0.002
    answers: float = 0.005


@dataclass(frozen=True)
class TwoScores:
    """The same N images scored by the views of the whole image alone, and by all views.

    Attributes:
        labels: (N,) 1 fake, 0 real.
        whole, full: P(fake) (N,), 0..1, of the two.
        differs: (N,) whether the two answers differ.
    """

    labels: np.ndarray
    whole: np.ndarray
    full: np.ndarray
    differs: np.ndarray

    def of(self, rows: np.ndarray) -> TwoScores:
        """These images alone."""
        return TwoScores(*(column[rows] for column in (self.labels, self.whole, self.full, self.differs)))

    def ends(self, band: Band) -> np.ndarray:
        """Whether each image (N,) needs no crops with this band."""
        return (self.whole <= band[0]) | (self.whole >= band[1])

    def effect(self, ends: np.ndarray) -> dict[str, float]:
        """What changes if the images `ends` (N,) get no crops.

        Returns:
            `auc`; `auc_change`, against all views; `answers_changed` and `without_crops`, shares of the images. Images
            that have no crops count as without.
        """
        before = roc_auc_score(self.labels, self.full)
        auc = roc_auc_score(self.labels, np.where(ends, self.whole, self.full))
        return {
            "auc": float(auc),
            "auc_change": float(auc - before),
            "answers_changed": float((self.differs & ends).mean()),
            "without_crops": float((ends | (self.whole == self.full)).mean()),
        }


def choose_exit_band(scores: TwoScores, limits: Limits = Limits()) -> Band:
    """Chooses the band that leaves out the crops of most images within the limits.

    Returns:
        low, high around the threshold; `OFF` where no image can do without crops.
    """
    cropped = scores.whole != scores.full
    below, above = (cropped & side for side in (scores.whole < THRESHOLD, scores.whole >= THRESHOLD))
    lows, low_ends, low_changes = _edges(scores.whole[below], scores.differs[below])
    highs, high_ends, high_changes = _edges(1 - scores.whole[above], scores.differs[above])
    ends = low_ends[:, None] + high_ends
    allowed = low_changes[:, None] + high_changes <= limits.answers * len(scores.labels) + 1e-9
    for place in np.argsort(np.where(allowed, -ends, 1), axis=None, kind="stable"):
        low, high = np.unravel_index(place, ends.shape)
        band = float(lows[low]), float(1 - highs[high])
        if abs(scores.effect(scores.ends(band))["auc_change"]) <= limits.auc:
            return band
    raise AssertionError("the band that is off changes nothing")


def _edges(p: np.ndarray, differs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates for one edge of the band.

    Args:
        p: (N,) below the threshold, or 1 - p of the images above it.
        differs: (N,) whether the answer changes without crops.

    Returns:
        edges (E,), rising from 0, half-way between neighbouring values; how many images end below each; how many of
        those change.
    """
    order = np.argsort(p, kind="stable")
    values = np.concatenate([[0.0], p[order], [THRESHOLD]])
    changes = np.concatenate([[0], np.cumsum(differs[order])])
    kept = np.unique(np.linspace(0, len(p), min(len(p), MAX_EDGES) + 1).round().astype(int))
    kept = kept[(kept == 0) | (values[kept] < values[kept + 1])]  # equal values stay on one side
    edges = np.where(kept == 0, 0.0, (values[kept] + values[kept + 1]) / 2)
    return edges, kept, changes[kept]


def cross_fitted(scores: TwoScores, units: np.ndarray, folds: int, seed: int) -> dict[str, float]:
    """The effect on images of sources that the band was not chosen on; arguments and errors as of `source_folds`."""
    ends = np.zeros(len(scores.labels), dtype=bool)
    for fit, held in source_folds(scores.labels, units, folds, seed):
        ends[held] = scores.of(held).ends(choose_exit_band(scores.of(fit)))
    return scores.effect(ends)
