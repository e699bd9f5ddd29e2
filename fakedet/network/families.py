"""Generator families: probabilities from the network's second output."""

from __future__ import annotations

import numpy as np

from .settings import Settings

OTHER = "other"  # all generators without a family of their own; it has a probability and is never named


def view_shares(outputs: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax (V, families) of raw outputs (V, families) over a temperature."""
    scaled = np.asarray(outputs, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def probabilities(outputs: np.ndarray, config: Settings) -> dict[str, float]:
    """{family: probability}, the most likely first; they add up to 1.

    Args:
        outputs: Raw outputs (V, families) of the views of one image, in the order of `config.families`.
    """
    mean = view_shares(outputs, config.family_temperature).mean(0)
    return {config.families[place]: float(mean[place]) for place in np.argsort(-mean, kind="stable")}


def confident_family(shares: dict[str, float], threshold: float) -> str | None:
    """The most likely family, the first of `shares`, if its probability reaches `threshold` and it is not "other"."""
    name, share = next(iter(shares.items()))
    return name if share >= threshold and name != OTHER else None
