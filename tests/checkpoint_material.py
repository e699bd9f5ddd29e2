"""A small checkpoint for the tests of checkpoints and of the Hub."""

from pathlib import Path

import torch

from fakedet import FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import save_checkpoint


def save_small(folder: Path) -> Path:
    """Saves a checkpoint with a small backbone and views of 64 pixels."""
    torch.manual_seed(0)
    model = FakeDetForImageClassification(FakeDetConfig(backbone="test_efficientnet", input_size=64))
    return save_checkpoint(model, folder)
