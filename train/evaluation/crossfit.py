"""Cross-fitted calibration: every image is judged by a fit that has seen no image of its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from train.evaluation.calibration import (
    CalibrationError,
    Part,
    balanced,
    fit_calibration,
    joined,
    probabilities,
)

FOLDS = 5
ChooseBand = Callable[[list[Part], list[np.ndarray]], tuple[float, float]]


def source_folds(labels: np.ndarray, units: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields (rows to fit on, rows held out) per fold, with every unit whole and the classes in proportion.

    Raises:
        CalibrationError: fewer than two units.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(folds, len(np.unique(units)))
    if folds < 2:
        raise CalibrationError("Cross-fitting needs images of at least two sources.")
    yield from StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, units)


def out_of_fold(
    parts: list[Part], weights: Sequence[np.ndarray], units: Sequence[np.ndarray], choose: ChooseBand,
    folds: int = FOLDS, seed: int = 0,
) -> tuple[list[np.ndarray], list[np.ndarray]]:  # fmt: skip
    """Calibrates each fold by the others.

    Args:
        parts: (z, labels) per data set.
        weights: of the images per data set.
        units: source of each image per data set; images of one source stay in one fold, whatever their data set.
        choose: (p_fake, labels) and weights per data set -> low, high of the band.
        folds: number of folds, at most that of the sources.
        seed: of the folds.

    Returns:
        Per data set p_fake (N,) by the fit on the other folds, and the answers (N,) by their band as well: 1 fake,
        0 real, -1 unsure.

    Raises:
        CalibrationError: the other folds cannot be calibrated.
    """
    z, labels, flat = (joined(column) for column in (*zip(*parts, strict=True), weights))
    p_fake, answers = np.empty(len(z)), np.empty(len(z), dtype=int)
    for fit, held in source_folds(labels, joined(units), folds, seed):
        own = balanced(flat[fit], labels[fit])
        setting = fit_calibration([(z[fit], labels[fit])], [own])
        band = choose([(probabilities(z[fit], *setting), labels[fit])], [own])
        p_fake[held] = probabilities(z[held], *setting)
        answers[held] = answer(p_fake[held], band)
    cuts = np.cumsum([len(part[1]) for part in parts])[:-1]
    return np.split(p_fake, cuts), np.split(answers, cuts)


def answer(p_fake: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """1 = fake, 0 = real, -1 = unsure for each score (N,), as the detector decides it."""
    return np.select([p_fake >= band[1], p_fake <= band[0]], [1, 0], -1)


def answer_shares(answers: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """`coverage` (share of images answered), `risk` (share of wrong answers among them; 0 without answers),
    `false_alarms` (share of reals called fake) and `missed` (share of fakes called real)."""
    given = answers >= 0
    return {
        "coverage": float(given.mean()),
        "risk": float((answers != labels)[given].mean()) if given.any() else 0.0,
        "false_alarms": float((answers == 1)[labels == 0].mean()),
        "missed": float((answers == 0)[labels == 1].mean()),
    }
