"""The linear layer that tells kinds of picture apart (photo-like, graphic, drawing): fit, threshold, storage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from fakedet.hub import WEIGHTS, Checkpoint, save_checkpoint
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.families import view_shares
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.settings import KINDS
from train.attribution.family_head import stored_as_half
from train.data.kinds import kind_of

LEVELS = (2, 3, 4, 5)  # of EfficientNet-B0: stages of 40, 112 and 320 channels, and the 1,280 pooled features
Head = tuple[np.ndarray, np.ndarray]  # weight (3, C), bias (3,)


@dataclass(frozen=True)
class Pictures:
    """Features of pictures, N of them.

    Attributes:
        features: float32 (N, C), of the view that shows the whole picture.
        table: One row per picture: `content`, `label` (0 photograph, 1 AI-generated, -1 neither), `source`.
    """

    features: np.ndarray
    table: pd.DataFrame

    @property
    def truth(self) -> np.ndarray:
        """(N,) position of each picture's kind in KINDS."""
        return self.table["content"].map(kind_of).to_numpy()


def fit(pictures: Pictures, strength: float) -> Head:
    """Multinomial logistic regression on standardised features, folded into a linear layer on the raw features.

    Every kind weighs the same, so does every content within it (memes as much as charts), and small sources count for
    more than their pictures.

    Args:
        strength: scikit-learn's C, the inverse of the regularisation.
    """
    from sklearn.linear_model import LogisticRegression

    truth, source = pictures.truth, pictures.table["source"].to_numpy()
    middle, spread = pictures.features.mean(0), pictures.features.std(0) + 1e-4
    group = pd.Series(list(zip(truth, source, strict=True)))
    weight = 1 / np.sqrt(group.map(group.value_counts()).to_numpy())
    content = pictures.table["content"].where(truth > 0, KINDS[0]).to_numpy()
    weight /= pd.Series(weight).groupby([truth, content]).transform("sum").to_numpy()
    weight *= len(truth) / 3 / np.bincount(truth, weight, 3)[truth]
    model = LogisticRegression(C=strength, max_iter=400, tol=1e-3)
    model.fit((pictures.features - middle) / spread, truth, weight)
    head = model.coef_ / spread
    return head.astype(np.float32), (model.intercept_ - head @ middle).astype(np.float32)


def not_photo(head: Head, features: np.ndarray) -> np.ndarray:
    """P(no photograph) (N,), 0..1, of features (N, C)."""
    return 1 - view_shares(features @ head[0].T + head[1], 1.0)[:, 0]


def choose_threshold(score: np.ndarray, pictures: Pictures, photographs: float, generated: float) -> float:
    """The lowest P(no photograph) at which few enough photo-like pictures count as none.

    Args:
        score: (N,) P(no photograph).
        photographs, generated: Shares (0..1) of photographs and of AI-generated pictures that may.
    """
    limits = []
    for label, share in ((0, photographs), (1, generated)):
        own = np.sort(score[(pictures.truth == 0) & (pictures.table["label"] == label).to_numpy()])
        if len(own):
            limits.append(own[max(0, len(own) - 1 - int(share * len(own)))])
    return float(min(0.999, np.ceil(1000 * (max(limits) + 1e-6)) / 1000))


def told(score: np.ndarray, pictures: Pictures, threshold: float) -> pd.DataFrame:
    """Rows of kind, content, pictures and share told as no photograph; photo-like pictures are listed by class."""
    classes = pictures.table["label"].map({0: "photograph", 1: "AI-generated"})
    names = np.where(pictures.truth > 0, pictures.table["content"], classes)
    frame = pd.DataFrame({"content": names, "kind": pictures.truth, "told": score >= threshold})
    rows = frame.groupby(["kind", "content"])["told"].agg(pictures="size", told="mean").reset_index()
    return rows.assign(kind=[KINDS[at] for at in rows["kind"]])


def write(checkpoint: Checkpoint, head: Head | None, threshold: float = 0.5) -> None:
    """Writes the layer into the checkpoint's folder, or removes it; all other weights stay as they are."""
    kinds = {"kinds": list(KINDS), "kind_levels": list(LEVELS)} if head else {"kinds": [], "kind_levels": []}
    config = FakeDetConfig.from_dict(checkpoint.model.config.to_dict() | kinds | {"kind_threshold": threshold})
    model = FakeDetForImageClassification(config).eval()
    own = {key: value for key, value in checkpoint.model.state_dict().items() if not key.startswith("kind.")}
    if head:
        own |= {"kind.weight": torch.from_numpy(head[0]), "kind.bias": torch.from_numpy(head[1])}
    model.load_state_dict(own)
    save_checkpoint(model, checkpoint.folder, half=stored_as_half(checkpoint.folder / WEIGHTS))
