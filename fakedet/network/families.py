"""Which family of generators an image looks like, from the network's second output."""

from __future__ import annotations

import numpy as np

from .configuration import FakeDetConfig

OTHER = "other"  # the family of all that have no family of their own; it takes part, and is never named


def view_shares(outputs: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax (V, families) of raw outputs (V, families) over a temperature."""
    scaled = np.asarray(outputs, np.float64) / temperature
    found = np.exp(scaled - scaled.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def probabilities(outputs: np.ndarray, config: FakeDetConfig) -> dict[str, float]:
    """P(family), the most likely first; they add up to 1.

    Args:
        outputs: Raw outputs (V, families) of the views of one image, in the order of `config.families`.
    """
    mean = view_shares(outputs, config.family_temperature).mean(0)
    return {config.families[place]: float(mean[place]) for place in np.argsort(-mean, kind="stable")}


def named(found: dict[str, float] | None, threshold: float) -> str | None:
    """The family that an image may be said to be of: the most likely one, from `threshold` on; else None."""
    if not found:
        return None
    name, share = next(iter(found.items()))
    return name if share >= threshold and name != OTHER else None
