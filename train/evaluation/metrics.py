"""Metrics of a detector that gives each image a probability of being AI-generated.

`BinaryDetection` is an `evaluate.Metric` in a local file, so nothing is downloaded: construct it directly, or load it
with `evaluate.load("train/evaluation/metrics.py")`. `detection_metrics` computes it in one call. scikit-learn does the
computations.

Labels are 0 = real and 1 = fake everywhere; "fake" is the positive class.
"""

from __future__ import annotations

import tempfile

import datasets
import evaluate
import numpy as np
from sklearn import metrics as sk

BINS = 15
MAX_FALSE_ALARM = 0.05

_DESCRIPTION = "How well a score p_fake in 0..1 separates AI-generated images (1) from camera photographs (0)."
_INPUTS = """
Args:
    references: labels, 0 = real and 1 = fake.
    prediction_scores: p_fake in 0..1, one per label.
    threshold: p_fake from which an image counts as fake, default 0.5.
Returns:
    n, n_real, n_fake: counts.
    accuracy, balanced_accuracy, precision, recall, f1: at the threshold, "fake" is the positive class.
    roc_auc, average_precision: over all thresholds.
    tpr_at_5fpr: largest share of fakes detected at a threshold that calls at most 5 % of the reals fake (a step of
        the ROC curve, not interpolated).
    ece: expected calibration error of p_fake: 15 bins of equal width on p_fake; in each bin the distance between the
        mean p_fake and the share of fakes; mean over the bins, weighted by their number of images.
    ece_confidence: the same of the confidence (Guo et al. 2017, arXiv:1706.04599): 15 bins of equal width on
        max(p_fake, 1 - p_fake), mean confidence against the share of right answers at 0.5.
    brier: mean squared distance between p_fake and the label.
    tn, fp, fn, tp: the confusion matrix at the threshold.
A figure that is not defined for the input (AUC with one class only, precision with nothing called fake) is None.
"""


class BinaryDetection(evaluate.Metric):
    """The metric as an `evaluate` module; see `compute` for its inputs and outputs."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"references": datasets.Value("int32"), "prediction_scores": datasets.Value("float64")}
        )
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _compute(self, references: list[int], prediction_scores: list[float], threshold: float = 0.5) -> dict:
        labels, p_fake = check_scores(references, prediction_scores)
        called_fake = p_fake >= threshold
        tn, fp = int(np.sum(~called_fake & (labels == 0))), int(np.sum(called_fake & (labels == 0)))
        fn, tp = int(np.sum(~called_fake & (labels == 1))), int(np.sum(called_fake & (labels == 1)))
        n_real, n_fake, n = tn + fp, fn + tp, len(labels)
        both = n_real > 0 and n_fake > 0
        confidence, right = np.maximum(p_fake, 1 - p_fake), (p_fake >= 0.5) == (labels == 1)
        return {
            "n": n,
            "n_real": n_real,
            "n_fake": n_fake,
            "accuracy": float(sk.accuracy_score(labels, called_fake)) if n else None,
            "balanced_accuracy": float(sk.balanced_accuracy_score(labels, called_fake)) if both else None,
            "precision": float(sk.precision_score(labels, called_fake)) if tp + fp else None,
            "recall": float(sk.recall_score(labels, called_fake)) if n_fake else None,
            "f1": float(sk.f1_score(labels, called_fake)) if tp + fp + fn else None,
            "roc_auc": float(sk.roc_auc_score(labels, p_fake)) if both else None,
            "average_precision": float(sk.average_precision_score(labels, p_fake)) if both else None,
            "tpr_at_5fpr": tpr_at_fpr(labels, p_fake, MAX_FALSE_ALARM) if both else None,
            "ece": expected_calibration_error(labels, p_fake) if n else None,
            "ece_confidence": expected_calibration_error(right, confidence) if n else None,
            "brier": float(np.mean((p_fake - labels) ** 2)) if n else None,
            "tn": tn,
            "fp": fp,
            "fn": fn,
            "tp": tp,
        }


def detection_metrics(labels, p_fake, threshold: float = 0.5) -> dict:
    """Computes `BinaryDetection` in memory, in one call.

    Args:
        labels: (N,) 0 = real, 1 = fake; N may be 0.
        p_fake: (N,) in 0..1.
        threshold: p_fake from which an image counts as fake.

    Returns:
        The metrics that `BinaryDetection` lists, as Python numbers and None, ready for JSON.

    Raises:
        ValueError: the two differ in length, a label is not 0 or 1, or a score is not a number in 0..1.
    """
    labels, p_fake = check_scores(labels, p_fake)
    # `evaluate` creates a folder even if it keeps the data in memory; a container's home folder may be read-only.
    with tempfile.TemporaryDirectory() as folder:
        metric = BinaryDetection(keep_in_memory=True, cache_dir=folder)
        return metric.compute(references=labels, prediction_scores=p_fake, threshold=threshold)


def check_scores(labels, p_fake) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels as int64 (N,) and p_fake as float64 (N,); raises ValueError for lengths or values out of range."""
    labels, p_fake = np.asarray(labels).reshape(-1), np.asarray(p_fake, dtype=np.float64).reshape(-1)
    if len(labels) != len(p_fake):
        raise ValueError(f"There are {len(labels)} labels but {len(p_fake)} scores.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("Labels must be 0 (real) or 1 (fake).")
    if not ((p_fake >= 0) & (p_fake <= 1)).all():  # False for NaN as well
        raise ValueError("Scores must be probabilities between 0 and 1.")
    return labels.astype(np.int64), p_fake


def tpr_at_fpr(labels: np.ndarray, p_fake: np.ndarray, max_fpr: float) -> float:
    """Returns the largest share of fakes detected with at most `max_fpr` of the reals called fake (both present)."""
    fpr, tpr, _ = sk.roc_curve(labels, p_fake, drop_intermediate=False)
    return float(tpr[fpr <= max_fpr].max())


def reliability_bins(outcomes, probabilities, bins: int = BINS, weights=None) -> dict[str, np.ndarray]:
    """Groups probabilities into bins of equal width over 0..1 (the last one closed) and compares them with outcomes.

    Args:
        outcomes: (N,) 0 or 1 (or bool): whether the event of that probability occurred.
        probabilities: (N,) in 0..1.
        bins: number of bins.
        weights: (N,) above 0, or None for 1 each.

    Returns:
        `edges` (bins + 1,), and for each bin `count` (or the sum of weights), `mean_probability` and `share` of
        outcomes that are 1, each (bins,); the last two are NaN in an empty bin.
    """
    outcomes, probabilities = np.asarray(outcomes, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    weights = np.ones(len(outcomes)) if weights is None else np.asarray(weights, dtype=np.float64)
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    count = np.bincount(index, weights=weights, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_probability = np.bincount(index, weights=weights * probabilities, minlength=bins) / count
        share = np.bincount(index, weights=weights * outcomes, minlength=bins) / count
    edges = np.linspace(0, 1, bins + 1)
    return {"edges": edges, "count": count, "mean_probability": mean_probability, "share": share}


def expected_calibration_error(outcomes, probabilities, bins: int = BINS, weights=None) -> float:
    """Returns the mean distance between probability and share over `reliability_bins`, weighted by their counts."""
    table = reliability_bins(outcomes, probabilities, bins, weights)
    gap = np.abs(table["mean_probability"] - table["share"])
    return float(np.nansum(gap * table["count"]) / table["count"].sum())
