"""The linear layer that tells generator families apart: fit, cross-validation over collections, and storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fakedet.hub import WEIGHTS, Checkpoint, save_checkpoint
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.families import view_shares
from fakedet.network.model import FakeDetForImageClassification

MIN_NAMED = 20  # names that a share of right names needs
Head = tuple[np.ndarray, np.ndarray]  # weight (F, C), bias (F,)


@dataclass(frozen=True)
class Views:
    """Pooled features of views, N of them.

    Attributes:
        features: float32 (N, C).
        image: (N,) position of each view's image in the table.
        augmented: (N,) whether a view is of an augmented copy.
        table: One row per image, with index, source and generator.
    """

    features: np.ndarray
    image: np.ndarray
    augmented: np.ndarray
    table: pd.DataFrame

    def of(self, column: str) -> np.ndarray:
        """The value (N,) of each view's image in a column of the table."""
        return self.table[column].to_numpy()[self.image]

    def where(self, kept: np.ndarray) -> Views:
        """The views for which `kept` (N,) is true."""
        return Views(self.features[kept], self.image[kept], self.augmented[kept], self.table)


@dataclass(frozen=True)
class HeldOut:
    """Outputs of a head for views outside of its fit.

    Attributes:
        raw: (N, F) raw outputs.
        image: (N,) position of each view's image.
        truth: (N,) position of its family.
    """

    raw: np.ndarray
    image: np.ndarray
    truth: np.ndarray

    def probabilities(self, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """P(family) (n, F) of n images, the mean over their views as in the detector, and the true positions (n,)."""
        _, first = np.unique(self.image, return_index=True)
        means = pd.DataFrame(view_shares(self.raw, temperature)).groupby(self.image).mean()  # in the order of np.unique
        return means.to_numpy(), self.truth[first]


def fit_head(views: Views, truth: np.ndarray, count: int, strength: float) -> Head:
    """Multinomial logistic regression on standardised features, folded into a linear layer on the raw features.

    The rows are means over the views of each copy of an image, a third as many as the views.

    Args:
        truth: (N,) position of each view's family; every family weighs the same.
        count: Number of families.
        strength: scikit-learn's C, the inverse of the regularisation.
    """
    from sklearn.linear_model import LogisticRegression

    _, first, own = np.unique(2 * views.image + views.augmented, return_index=True, return_inverse=True)
    means = pd.DataFrame(views.features).groupby(own).mean().to_numpy(np.float32)
    middle, spread = views.features.mean(0), views.features.std(0) + 1e-6
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300, tol=1e-3)
    model.fit((means - middle) / spread, truth[first])
    coef, at = model.coef_, model.intercept_
    if len(coef) == 1:  # for two families scikit-learn returns the difference
        coef, at = np.concatenate([-coef, coef]) / 2, np.concatenate([-at, at]) / 2
    weight, bias = np.zeros((count, views.features.shape[1])), np.full(count, -20.0)
    weight[model.classes_], bias[model.classes_] = coef / spread, at - (coef / spread) @ middle
    return weight.astype(np.float32), bias.astype(np.float32)


def outputs(head: Head, views: Views) -> np.ndarray:
    """Raw outputs (N, F) of a head."""
    return views.features @ head[0].T + head[1]


def leave_collections_out(views: Views, truth: np.ndarray, count: int, strength: float) -> HeldOut:
    """Outputs for unaugmented images by fits without any image of their collection."""
    source, raw, rows = views.of("source"), [], []
    for name in np.unique(source):
        own = source == name
        test = np.flatnonzero(own & ~views.augmented)
        raw.append(outputs(fit_head(views.where(~own), truth[~own], count, strength), views.where(test)))
        rows.append(test)
    rows = np.concatenate(rows)
    return HeldOut(np.concatenate(raw), views.image[rows], truth[rows])


def best_temperature(held_out: HeldOut) -> tuple[float, float]:
    """The temperature, 0.05 to 20, with the least log loss, and that loss; every family weighs the same."""
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        probabilities, truth = held_out.probabilities(float(np.exp(log)))
        losses = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))
        return float(pd.Series(losses).groupby(truth).mean().mean())

    best = minimize_scalar(loss, bounds=np.log((0.05, 20)), method="bounded", options={"xatol": 0.01})
    return float(np.exp(best.x)), float(best.fun)


def choose_threshold(parts: list[tuple[np.ndarray, np.ndarray]], other: int, target: float) -> float | None:
    """The lowest probability from which at least `target` of the names are right in every part; None if none does.

    Every true family weighs the same, so that a family with many images does not decide alone.

    Args:
        parts: P(family) (n, F) and true positions (n,) of images outside of the fit.
        other: Position of the family that is never named.
        target: Share of right names, 0..1.
    """
    rows = []
    for probabilities, truth in parts:
        likely, top = probabilities.argmax(1), probabilities.max(1)
        weight = 1 / np.bincount(truth)[truth]
        rows.append((np.where(likely == other, -1, top), likely == truth, weight))
    for threshold in np.unique(np.concatenate([np.floor(1000 * top) / 1000 for top, _, _ in rows])):
        named = [top >= threshold for top, _, _ in rows]
        if threshold < 0 or min(part.sum() for part in named) < MIN_NAMED:
            continue
        shares = [
            weight[part & right].sum() / weight[part].sum()
            for part, (_, right, weight) in zip(named, rows, strict=True)
        ]
        if min(shares) >= target:
            return float(threshold)
    return None


def with_families(model: FakeDetForImageClassification, **settings) -> FakeDetForImageClassification:
    """A copy with other family settings; weights outside of the family layer stay identical to the last bit."""
    config = FakeDetConfig.from_dict(model.config.to_dict() | settings)
    fresh = FakeDetForImageClassification(config).eval()
    kept = {key: value for key, value in model.state_dict().items() if not key.startswith("family.")}
    fresh.load_state_dict(kept | {k: v for k, v in fresh.state_dict().items() if k.startswith("family.")})
    return fresh


def write_head(checkpoint: Checkpoint, families: list[str], head: Head, temperature: float, threshold: float) -> None:
    """Writes the head into the checkpoint's folder, each file replaced as a whole; without families it is removed."""
    if not families:
        model = with_families(checkpoint.model, families=[])
    else:
        settings = {"families": families, "family_temperature": temperature, "family_threshold": threshold}
        model = with_families(checkpoint.model, **settings)
        with torch.no_grad():
            model.family.weight.copy_(torch.from_numpy(head[0]))
            model.family.bias.copy_(torch.from_numpy(head[1]))
    save_checkpoint(model, checkpoint.folder, half=stored_as_half(checkpoint.folder / WEIGHTS))


def stored_as_half(path: Path) -> bool:
    """Whether a weights file holds fp16; written back as fp16, its values do not change."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}
    return "F16" in kinds and not kinds & {"F32", "BF16"}
