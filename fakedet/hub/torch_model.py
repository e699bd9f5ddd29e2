"""Builds the network of a checkpoint in PyTorch and checks it. Imported only where PyTorch is needed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.settings import Settings

from . import weights
from .pull import ModelError


def check_shapes(stored: weights.Header, settings: Settings) -> None:
    """Compares the tensors of a weights file with the network, before any of them is loaded.

    Raises:
        ModelError: The network cannot be built, or tensors have other names, shapes or types.
    """
    try:
        with torch.device("meta"):  # shapes only: the settings may ask for gigabytes
            state = FakeDetForImageClassification(config_of(settings)).state_dict()
    except Exception as error:  # timm has no common type of error for a name or a size that does not work
        raise ModelError(str(error).strip().splitlines()[0][:300]) from None
    expected = {
        key: (tuple(weights.FLOATS) if value.is_floating_point() else (weights.INTEGER,), list(value.shape))
        for key, value in state.items()
    }
    weights.check_header(stored, expected, settings.backbone)


def build_model(settings: Settings, tensors: Mapping[str, np.ndarray]) -> FakeDetForImageClassification:
    """The network in float32 and eval mode.

    Raises:
        ModelError: The weights do not fit the settings, or give outputs that are not finite.
    """
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.int64): weights.INTEGER}
    check_shapes({key: (kinds[value.dtype], list(value.shape)) for key, value in tensors.items()}, settings)
    model = FakeDetForImageClassification(config_of(settings))
    model.load_state_dict({key: torch.tensor(value) for key, value in tensors.items()})
    model.eval()
    side = settings.input_size
    with torch.inference_mode():
        output = model(pixel_values=torch.linspace(-2, 2, 3 * side * side).reshape(1, 3, side, side))
    if not (output.logit.isfinite().all() and output.cam.isfinite().all()):
        raise ModelError(f"{weights.NAME} gives outputs that are not finite")
    return model


def config_of(settings: Settings) -> FakeDetConfig:
    """The settings as the configuration of a transformers model."""
    return FakeDetConfig.from_dict(settings.to_dict())
