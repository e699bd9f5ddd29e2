"""Risk over coverage: how accuracy rises when the least confident answers are withheld (Geifman & El-Yaniv 2017)."""

from __future__ import annotations

import numpy as np

MAX_RISK = 0.10
MAX_POINTS = 50
COVERAGES = (0.5, 0.75, 1.0)


def risk_coverage(labels, p_fake, threshold: float = 0.5) -> dict:
    """Measures abstention by confidence |p_fake - threshold|, where each answer is "fake" from the threshold on.

    Args:
        labels: (N,) 0 = real, 1 = fake.
        p_fake: (N,) in 0..1.
        threshold: p_fake from which an image counts as fake.

    Returns:
        `aurc`: mean risk (share of wrong answers) over the coverages 1/N..1, lower is better; `coverage_at_10_risk`:
        largest share of images, most confident first, of which at most 10 % are wrong; `accuracy_at_50`,
        `accuracy_at_75`, `accuracy_at_100`: accuracy of the most confident 50, 75 and 100 %; `points`: at most
        MAX_POINTS rows of `coverage`, `risk` and `confidence` (the lowest one answered). Figures are None without
        images.
    """
    labels, p_fake = np.asarray(labels), np.asarray(p_fake, dtype=np.float64)
    n = len(labels)
    names = [f"accuracy_at_{100 * coverage:.0f}" for coverage in COVERAGES]
    if not n:
        return dict.fromkeys(("aurc", "coverage_at_10_risk", *names)) | {"points": []}
    levels, level = np.unique(-np.abs(p_fake - threshold).round(12), return_inverse=True)  # most confident first
    wrong, sizes = np.bincount(level, (p_fake >= threshold) != (labels == 1)), np.bincount(level)
    # Images of equal confidence have no order: each counts with their mean error.
    risk = np.cumsum(np.repeat(wrong / sizes, sizes)) / np.arange(1, n + 1)
    confidence, ends = -np.repeat(levels, sizes), np.cumsum(sizes)
    allowed = ends[risk[ends - 1] <= MAX_RISK + 1e-12]
    rows = np.unique(np.linspace(1, n, min(n, MAX_POINTS)).round().astype(int))
    return {
        "aurc": float(risk.mean()),
        "coverage_at_10_risk": float(allowed.max(initial=0) / n),
        **{name: float(1 - risk[int(np.ceil(share * n)) - 1]) for name, share in zip(names, COVERAGES, strict=True)},
        "points": [
            {"coverage": float(k / n), "risk": float(risk[k - 1]), "confidence": float(confidence[k - 1])} for k in rows
        ],
    }
