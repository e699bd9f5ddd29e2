"""AUC inside sources, and 95 % intervals by bootstrap over whole sources or groups.

Images of one source resemble each other, so resampling single images would give intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

DRAWS = 1000
PERCENTILES = (2.5, 97.5)
MIN_UNITS = 5  # fewer units say nothing about their spread
MIN_IMAGES = 10  # of a source, for an interval of its own
MIN_CLASS = 5  # of each class, for the AUC inside a source


def resampling_units(scores: pd.DataFrame, columns: tuple[str, ...] = ("source", "group")) -> tuple[str, np.ndarray]:
    """Chooses what a bootstrap or a cross-validation keeps together.

    Args:
        scores: score table (see summary.py); its index names the images.
        columns: candidates, the coarsest first.

    Returns:
        Name of the first column with at least MIN_UNITS values, and the value of each image (N,). An image without a
        value is a unit of its own. Where no column qualifies: "image" and the images' indices.
    """
    for column in columns:
        if column not in scores:
            continue
        values = scores[column].fillna("").astype(str)
        if values[values != ""].nunique() >= MIN_UNITS:
            alone = "image " + scores.index.astype(str)
            return column, values.where(values != "", alone).to_numpy()
    return "image", scores.index.astype(str).to_numpy()


def mean_interval(values, units=None, seed: int = 0) -> list[float] | None:
    """Returns the 95 % interval [low, high] of a mean over whole units; None with fewer than MIN_UNITS units.

    Args:
        values: (N,) numbers.
        units: (N,) unit of each value; each value is its own unit when left out.
        seed: of the resampling.
    """
    values = np.asarray(values, dtype=np.float64)
    index = np.arange(len(values)) if units is None else np.unique(np.asarray(units), return_inverse=True)[1]
    sums, sizes = np.bincount(index, values), np.bincount(index)
    return _interval(lambda counts: counts @ sums / (counts @ sizes), len(sizes), seed)


def auc_interval(labels, p_fake, units, seed: int = 0) -> list[float] | None:
    """Returns the 95 % interval [low, high] of the AUC over whole units; None with fewer than MIN_UNITS units.

    Args:
        labels: (N,) 0 = real, 1 = fake.
        p_fake: (N,) scores.
        units: (N,) unit of each image.
        seed: of the resampling.
    """
    labels, p_fake = np.asarray(labels), np.asarray(p_fake)
    names, index = np.unique(np.asarray(units), return_inverse=True)
    fakes, order = labels == 1, np.argsort(p_fake[labels == 0])
    real_units, fake_units, ranked = index[labels == 0][order], index[fakes], p_fake[labels == 0][order]
    below, up_to = (np.searchsorted(ranked, p_fake[fakes], side) for side in ("left", "right"))

    def auc(counts: np.ndarray) -> float:
        reals, weights = np.concatenate([[0], np.cumsum(counts[real_units])]), counts[fake_units]
        pairs = reals[-1] * weights.sum()
        return weights @ (reals[below] + reals[up_to]) / (2 * pairs) if pairs else np.nan  # a tie counts half

    return _interval(auc, len(names), seed)


def _interval(statistic: Callable[[np.ndarray], float], n_units: int, seed: int) -> list[float] | None:
    """Interval of `statistic`, which takes how often each unit was drawn (n_units,) and returns NaN if undefined."""
    if n_units < MIN_UNITS:
        return None
    rng = np.random.default_rng(seed)
    resamples = [statistic(np.bincount(rng.integers(n_units, size=n_units), minlength=n_units)) for _ in range(DRAWS)]
    return [float(edge) for edge in np.nanpercentile(resamples, PERCENTILES)] if np.isfinite(resamples).any() else None


def pooled_interval(scores: pd.DataFrame) -> tuple[list[float] | None, str]:
    """Returns the interval of the AUC over all images, and what was resampled: "source", "group" or "image"."""
    unit, units = resampling_units(scores)
    if scores["label"].nunique() < 2:
        return None, unit
    return auc_interval(scores["label"], scores["p_fake"], units), unit


def matched_auc(scores: pd.DataFrame) -> dict:
    """Mean AUC inside sources: subject and processing are alike there, so only the origin tells the classes apart.

    Returns:
        `auc`: mean over the sources with at least MIN_CLASS images of each class, each source weighing the same;
        `sources`: their number; `ci`: [low, high] by bootstrap over them. None where there are too few.
    """
    aucs = []
    if "source" in scores:
        named = scores[scores["source"].fillna("") != ""]
        for _, own in named.groupby("source"):
            if own["label"].value_counts().reindex((0, 1), fill_value=0).min() >= MIN_CLASS:
                aucs.append(float(roc_auc_score(own["label"], own["p_fake"])))
    return {"auc": float(np.mean(aucs)) if aucs else None, "sources": len(aucs), "ci": mean_interval(aucs)}


def source_interval(own: pd.DataFrame, others: pd.DataFrame) -> list[float] | None:
    """Interval of the AUC of one source, by bootstrap over its groups; None where it has too few images or groups.

    Args:
        own: the source's images.
        others: images of the other class that a source of one class is compared with; they stay fixed.
    """
    if len(own) < MIN_IMAGES:
        return None
    _, units = resampling_units(own, ("group",))
    counts = own["label"].value_counts()
    if len(counts) == 2:
        return auc_interval(own["label"], own["p_fake"], units) if counts.min() >= MIN_CLASS else None
    if not len(others):
        return None
    ranked = np.sort(others["p_fake"].to_numpy())
    below, up_to = (np.searchsorted(ranked, own["p_fake"], side) for side in ("left", "right"))
    share = (below + up_to) / (2 * len(ranked))  # the AUC of one class against the other is the mean of these shares
    return mean_interval(share if own["label"].iloc[0] == 1 else 1 - share, units)
