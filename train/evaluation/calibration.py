"""Calibration of scores: Platt's fit, the weight of each image, and the band of unsure answers.

A part is one scored data set. Its scores are raw logits z for the fit, and calibrated P(fake) for the band.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.5
MAX_EDGES = 1000  # candidates for each edge of the band
Part = tuple[np.ndarray, np.ndarray]  # z or p_fake (N,), labels (N,)


class CalibrationError(ValueError):
    """The scores cannot be calibrated; the message says why in one plain sentence."""


def probabilities(z: np.ndarray, temperature: float, bias: float) -> np.ndarray:
    """P(fake) (N,) of raw logits (N,), as the detector computes it."""
    from scipy.special import expit

    return expit(np.asarray(z, dtype=np.float64) / temperature + bias)


def image_weights(parts: list[Part], sources: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
    """Weight of each image, so that every class of every part weighs the same; the sum over all is 1.

    Args:
        parts: (scores, labels) per data set.
        sources: name of each image's source per data set, or None. With names, an image of a source with n images of
            its class weighs in proportion to 1 / sqrt(n) inside the class. A large source then counts less than its
            size, and one of 5 images still less than one of 80.
    """
    weights = []
    for number, (_, labels) in enumerate(parts):
        raw = np.ones(len(labels))
        if sources is not None:
            keys = np.stack([np.unique(sources[number], return_inverse=True)[1], labels])
            _, index, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
            raw = counts[index.reshape(-1)] ** -0.5
        weights.append(balanced(raw, labels) / len(parts))
    return weights


def balanced(weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weights (N,), scaled so that each class that is there sums to one half."""
    totals = np.array([max(weights[labels == label].sum(), np.finfo(float).tiny) for label in (0, 1)])
    return weights / (2 * totals[np.asarray(labels, dtype=int)])


def joined(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One array out of one per data set."""
    return np.concatenate(list(columns))


def fit_calibration(parts: list[Part], weights: Sequence[np.ndarray] | None = None) -> tuple[float, float]:
    """Fits temperature and bias by logistic regression.

    Platt's targets are used, (n + 1) / (n + 2) and 1 / (n + 2) in place of 1 and 0: with them the fit stays finite
    even where the scores separate the classes without a mistake.

    Args:
        parts: (z, labels) per data set, both classes in each.
        weights: of the images per data set; those of `image_weights` when left out.

    Returns:
        temperature above 0, bias.

    Raises:
        CalibrationError: a class is missing, or higher scores do not mean more fakes.
    """
    from sklearn.linear_model import LogisticRegression

    for _, labels in parts:
        if len(np.unique(labels)) < 2:
            raise CalibrationError("Calibration needs real and fake images in every data set.")
    weights = image_weights(parts) if weights is None else weights
    z, labels, weights = (joined(column) for column in (*zip(*parts, strict=True), weights))
    n = joined([np.where(y == 1, (y == 1).sum(), (y == 0).sum()) for _, y in parts])
    target = np.where(labels == 1, n + 1, 1) / (n + 2)
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


def upper_edge(values: np.ndarray, weights: np.ndarray, max_share: float, threshold: float) -> float:
    """The smallest edge in threshold..1 with at most `max_share` of the weight at or above it.

    Past the threshold it is put half-way between two neighbouring values, so that neither rounding nor the last digit
    of another machine moves an image across it.
    """
    if weights[values >= threshold].sum() <= max_share * weights.sum() + 1e-12:
        return threshold
    order = np.argsort(-values, kind="stable")
    values, above = values[order], np.cumsum(weights[order]) / weights.sum()
    count = int(np.searchsorted(above, max_share + 1e-12, side="right"))  # so many of the highest may lie above
    while count and values[count - 1] == values[count]:
        count -= 1
    return float((values[count] + (values[count - 1] if count else 1.0)) / 2)


def choose_band(
    parts: list[Part],
    max_false_alarm: float = 0.05,
    threshold: float = THRESHOLD,
    weights: Sequence[np.ndarray] | None = None,
) -> tuple[float, float]:
    """Chooses the narrowest band of unsure answers that limits false alarms and misses.

    Args:
        parts: (p_fake, labels) per data set, both classes in each.
        max_false_alarm: share, 0..1, of reals at or above `high`, and of fakes at or below `low`, that is allowed;
            the mean over the data sets.
        threshold: lies inside the band, whatever the scores.
        weights: of the images per data set; those of `image_weights` when left out.

    Returns:
        low, high; equal to the threshold where the scores need no band.
    """
    weights = image_weights(parts) if weights is None else weights
    p, labels, weights = (joined(column) for column in (*zip(*parts, strict=True), weights))
    high = upper_edge(p[labels == 0], weights[labels == 0], max_false_alarm, threshold)
    low = 1 - upper_edge(1 - p[labels == 1], weights[labels == 1], max_false_alarm, 1 - threshold)
    return low, high


def choose_band_by_risk(
    parts: list[Part],
    max_risk: float,
    max_false_alarm: float = 0.05,
    threshold: float = THRESHOLD,
    weights: Sequence[np.ndarray] | None = None,
) -> tuple[float, float]:
    """Chooses the band that answers most while few of the given answers are wrong (selective prediction).

    Args:
        parts: (p_fake, labels) per data set.
        max_risk: share, 0..1, of the answers "real" and "fake" together that may be wrong.
        max_false_alarm: share, 0..1, of all reals that may be at or above `high`.
        threshold: lies inside the band, whatever the scores.
        weights: of the images per data set; those of `image_weights` when left out. They count in every share.

    Returns:
        low, high: among all pairs within both limits the one of the largest coverage.

    Raises:
        CalibrationError: no band that gives any answer keeps within the limits.
    """
    weights = image_weights(parts) if weights is None else weights
    p, labels, weights = (joined(column) for column in (*zip(*parts, strict=True), weights))
    real, above = labels == 0, p >= threshold
    highs, fake_right, fake_wrong = _answers(p[above], real[above], weights[above], threshold)
    lows, real_right, real_wrong = _answers(1 - p[~above], ~real[~above], weights[~above], 1 - threshold)
    wrong = fake_wrong[:, None] + real_wrong
    coverage = wrong + fake_right[:, None] + real_right
    allowed = (coverage > 0) & (wrong <= max_risk * coverage + 1e-12)
    allowed &= fake_wrong[:, None] <= max_false_alarm * weights[real].sum() + 1e-12
    if not allowed.any():
        raise CalibrationError(
            f"No band keeps wrong answers at or below {max_risk:.1%} and reals called fake at or below "
            f"{max_false_alarm:.1%}: allow more, or train further."
        )
    high, low = np.unravel_index(np.argmax(np.where(allowed, coverage, -1)), coverage.shape)
    return float(1 - lows[low]), float(highs[high])


def _answers(values: np.ndarray, wrong: np.ndarray, weights: np.ndarray, threshold: float):
    """Candidates for one edge of the band, and the weight of right and wrong answers at or above each.

    Args:
        values: (N,) at least the threshold.
        wrong: (N,) whether answering the image would be wrong.
        weights: (N,).
        threshold: the lowest candidate; the others lie half-way between neighbouring values.

    Returns:
        edges from the highest to the threshold, right, wrong; each (E,), E at most MAX_EDGES + 1.
    """
    levels, level = np.unique(-values, return_inverse=True)
    sums = [np.bincount(level, weights * chosen, len(levels)) for chosen in (~wrong, wrong)]
    edges = np.append((np.concatenate([[1.0], -levels[:-1]]) - levels) / 2, threshold)
    kept = np.unique(np.linspace(0, len(levels), min(len(levels), MAX_EDGES) + 1).round().astype(int))
    return edges[kept], *(np.concatenate([[0.0], np.cumsum(column)])[kept] for column in sums)
