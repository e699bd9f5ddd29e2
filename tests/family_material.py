"""Shared by the tests of generator families: small networks with known outputs, and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fakedet import Detector, FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import checkpoint as hub

THREE = ["FLUX", "GAN", "other"]


def network(bias=None, z: float | None = None, **settings) -> FakeDetForImageClassification:
    """A small network whose family outputs are always `bias` and whose logit is always `z`, where these are given."""
    torch.manual_seed(0)
    values = {"backbone": "test_efficientnet", "hidden_size": 8, "input_size": 64, "max_views": 2, **settings}
    model = FakeDetForImageClassification(FakeDetConfig(**values)).eval()
    with torch.no_grad():
        if bias is not None:
            model.family.weight.zero_()
            model.family.bias.copy_(torch.tensor(bias))
        if z is not None:
            model.fc2.weight.zero_()
            model.fc2.bias.fill_(z)
    return model


def picture(seed: int = 0, tint: tuple = (1, 1, 1), width: int = 90, height: int = 80) -> Image.Image:
    small = np.random.default_rng(seed).integers(60, 200, (8, 8, 3)) * np.array(tint)
    return Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def detector_of(model: FakeDetForImageClassification, folder: Path, **options) -> Detector:
    return Detector.from_pretrained(hub.save_checkpoint(model, folder), **options)


def sure(folder: Path, **options) -> Detector:
    """A detector that calls every image AI-generated and of the family FLUX."""
    return detector_of(network([4.0, 1.0, 0.0], z=6.0, families=THREE), folder, **options)
