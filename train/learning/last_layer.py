"""The last layer fitted anew on the features of a frozen network: a linear unit that joins the trained dense layer.

A dense layer that was trained along with the network knows its training sources by heart more than the features do. A
linear layer with strong regularisation, fitted on these features afterwards with every source counted alike, ranks
pictures of other sources better (last layer re-training: Kirichenko et al. 2022, arXiv:2204.02937).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from fakedet.network.model import Layers

Linear = tuple[np.ndarray, float]  # weight (C,) and bias: a raw logit of pooled features


@dataclass(frozen=True)
class Views:
    """Pooled features of views, N of them.

    Attributes:
        pooled: float32 (N, C).
        image: (N,) position of each view's image in the table.
        table: One row per image: `label` (0 photograph, 1 AI-generated) and, if known, `source`.
    """

    pooled: np.ndarray
    image: np.ndarray
    table: pd.DataFrame

    @property
    def label(self) -> np.ndarray:
        """(N,) label of each view's image."""
        return self.table["label"].to_numpy()[self.image]

    def per_image(self, logit: np.ndarray) -> np.ndarray:
        """Mean logit of each image's views, in the order of the table; NaN where an image has none."""
        return pd.Series(logit).groupby(self.image).mean().reindex(range(len(self.table))).to_numpy()


def fit(views: Views, strength: float) -> Linear:
    """Logistic regression on standardised features, folded into a linear unit on the raw features.

    Both classes weigh the same; a view weighs the less, the more views its source has (one over the square root).

    Args:
        strength: scikit-learn's C, the inverse of the regularisation.
    """
    from sklearn.linear_model import LogisticRegression

    label = views.label
    weight = np.ones(len(label))
    if "source" in views.table:
        source = views.table["source"].iloc[views.image]
        weight /= np.sqrt(source.map(source.value_counts()).to_numpy())
    weight /= np.bincount(label, weight)[label]
    middle, spread = views.pooled.mean(0), views.pooled.std(0) + 1e-4
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-4)
    model.fit((views.pooled - middle) / spread, label, weight * len(label) / weight.sum())
    head = model.coef_[0] / spread
    return head.astype(np.float32), float(model.intercept_[0] - head @ middle)


@torch.inference_mode()
def own_logit(network: Layers, pooled: np.ndarray) -> np.ndarray:
    """Raw logit (N,) that the network's own last layers give to pooled features (N, C)."""
    return network.head(torch.from_numpy(pooled)).numpy()


@torch.inference_mode()
def join(network: Layers, linear: Linear, pooled: np.ndarray, share: float) -> None:
    """Makes the network's logit the weighted mean of its own and of the linear unit's, in place.

    The linear unit is brought to the spread of the own logit first. The dense layer holds it as two of its units, one
    for either sign (a = relu(a) - relu(-a)), so the network's form and its Grad-CAM stay as they are. They take the
    place of the two units that moved the logit least.

    Args:
        linear: From `fit`.
        pooled: (N, C), of the pictures of the fit.
        share: Of the linear unit, 0..1; at 1 nothing is left of the trained layer.

    Raises:
        ValueError: The dense layer has fewer than two units.
    """
    if network.fc1.out_features < 2:
        raise ValueError("the dense layer needs two units or more")
    weight, bias = torch.from_numpy(linear[0]), linear[1]
    features = torch.from_numpy(pooled)
    effect = torch.relu(network.fc1(features)).std(0) * network.fc2.weight[0].abs()
    plus, minus = effect.argsort()[:2].tolist()
    scale = float(network.head(features).std() / (features @ weight).std())
    network.fc2.weight.mul_(1 - share)
    network.fc2.bias.mul_(1 - share)
    for unit, sign in ((plus, 1), (minus, -1)):
        network.fc1.weight[unit], network.fc1.bias[unit] = sign * weight, sign * bias
        network.fc2.weight[0, unit] = sign * share * scale
