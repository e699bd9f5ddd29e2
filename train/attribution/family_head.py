"""The layer that tells families apart: its fit, what images that the fit has not seen say of it, and its writing."""

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

FEW_NAMED = 20  # names that a share of right ones is measured on at least
Head = tuple[np.ndarray, np.ndarray]  # weight (F, C), bias (F,)


@dataclass(frozen=True)
class Views:
    """Pooled features of views, N of them.

    Attributes:
        features: float32 (N, C).
        image: (N,) row of the table that each is of.
        worn: (N,) whether it is of an augmented copy.
        table: A row an image, with index, source, generator.
    """

    features: np.ndarray
    image: np.ndarray
    worn: np.ndarray
    table: pd.DataFrame

    def of(self, column: str) -> np.ndarray:
        """(N,) the value of each view's image in a column of the table."""
        return self.table[column].to_numpy()[self.image]

    def where(self, kept: np.ndarray) -> Views:
        """Those views only."""
        return Views(self.features[kept], self.image[kept], self.worn[kept], self.table)


@dataclass(frozen=True)
class Held:
    """What a head says of views that it was not fitted on.

    Attributes:
        raw: (N, F) its outputs.
        image: (N,) which image each view is of.
        truth: (N,) place of its family.
    """

    raw: np.ndarray
    image: np.ndarray
    truth: np.ndarray

    def judged(self, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """P(family) (n, F) of n images, the mean over their views as in the detector, and the true places (n,)."""
        _, first = np.unique(self.image, return_index=True)
        found = pd.DataFrame(view_shares(self.raw, temperature)).groupby(self.image).mean()  # in the order of np.unique
        return found.to_numpy(), self.truth[first]


def fit_head(views: Views, truth: np.ndarray, count: int, strength: float) -> Head:
    """Multinomial logistic regression on standardised features, folded into one linear layer on the plain ones.

    It is fitted on the mean over the views of each copy of an image: that is a third of the rows.

    Args:
        truth: (N,) place of each view's family; every family weighs the same.
        count: How many families there are.
        strength: C of scikit-learn.
    """
    from sklearn.linear_model import LogisticRegression

    _, first, own = np.unique(2 * views.image + views.worn, return_index=True, return_inverse=True)
    means = pd.DataFrame(views.features).groupby(own).mean().to_numpy(np.float32)
    middle, spread = views.features.mean(0), views.features.std(0) + 1e-6
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300, tol=1e-3)
    model.fit((means - middle) / spread, truth[first])
    coef, at = model.coef_, model.intercept_
    if len(coef) == 1:  # of two families scikit-learn gives the difference
        coef, at = np.concatenate([-coef, coef]) / 2, np.concatenate([-at, at]) / 2
    weight, bias = np.zeros((count, views.features.shape[1])), np.full(count, -20.0)
    weight[model.classes_], bias[model.classes_] = coef / spread, at - (coef / spread) @ middle
    return weight.astype(np.float32), bias.astype(np.float32)


def outputs(head: Head, views: Views) -> np.ndarray:
    """Raw outputs (N, F) of a head."""
    return views.features @ head[0].T + head[1]


def left_out(views: Views, truth: np.ndarray, count: int, strength: float) -> Held:
    """What is said of images as they are by fits that have seen no image of their collection."""
    source, raw, rows = views.of("source"), [], []
    for name in np.unique(source):
        mine = source == name
        test = np.flatnonzero(mine & ~views.worn)
        raw.append(outputs(fit_head(views.where(~mine), truth[~mine], count, strength), views.where(test)))
        rows.append(test)
    rows = np.concatenate(rows)
    return Held(np.concatenate(raw), views.image[rows], truth[rows])


def best_temperature(held: Held) -> tuple[float, float]:
    """The temperature, 0.05 to 20, of the least log loss, and that loss; every family weighs the same."""
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        found, truth = held.judged(float(np.exp(log)))
        losses = -np.log(np.maximum(found[np.arange(len(truth)), truth], 1e-12))
        return float(pd.Series(losses).groupby(truth).mean().mean())

    best = minimize_scalar(loss, bounds=np.log((0.05, 20)), method="bounded", options={"xatol": 0.01})
    return float(np.exp(best.x)), float(best.fun)


def choose_threshold(parts: list[tuple[np.ndarray, np.ndarray]], other: int, target: float) -> float | None:
    """The lowest probability from which on at least `target` of the names are right in every part; None for none.

    Every true family weighs the same, so that no family that a part has many images of decides alone.

    Args:
        parts: P(family) (n, F) and true places (n,), of images that were left out of the fit.
        other: Place of the family that is never named.
    """
    rows = []
    for found, truth in parts:
        likely, top = found.argmax(1), found.max(1)
        weight = 1 / np.bincount(truth)[truth]
        rows.append((np.where(likely == other, -1, top), likely == truth, weight))
    for threshold in np.unique(np.concatenate([np.floor(1000 * top) / 1000 for top, _, _ in rows])):
        named = [top >= threshold for top, _, _ in rows]
        if threshold < 0 or min(mine.sum() for mine in named) < FEW_NAMED:
            continue
        right = [weight[mine & ok].sum() / weight[mine].sum()
                 for mine, (_, ok, weight) in zip(named, rows, strict=True)]  # fmt: skip
        if min(right) >= target:
            return float(threshold)
    return None


def with_families(model: FakeDetForImageClassification, **settings) -> FakeDetForImageClassification:
    """A copy with other settings for families; all weights that both have are the same to the last bit."""
    config = FakeDetConfig.from_dict(model.config.to_dict() | settings)
    fresh = FakeDetForImageClassification(config).eval()
    kept = {key: value for key, value in model.state_dict().items() if not key.startswith("family.")}
    fresh.load_state_dict(kept | {k: v for k, v in fresh.state_dict().items() if k.startswith("family.")})
    return fresh


def write_head(checkpoint: Checkpoint, families: list[str], head: Head, temperature: float, threshold: float) -> None:
    """Puts the head into the checkpoint's folder, whose files are replaced as wholes; no families takes it out."""
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
    """Whether a weights file holds fp16: read and written as that, its numbers stay what they are."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}
    return "F16" in kinds and not kinds & {"F32", "BF16"}
