"""Shared by the tests of publishing: pictures, a small network, and scripts that talk to the Hub's stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from hub_stand_in import TOKEN, Hub
from PIL import Image, ImageFilter

from fakedet import Detector, FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import checkpoint as hub

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--backbone", "test_efficientnet", "--no_pretrained", "--input_size", "32", "--num_workers", "0",
        "--head_epochs", "1", "--finetune_epochs", "5", "--finetune_lr", "5e-3", "--scheduler", "constant",
        "--per_device_train_batch_size", "8", "--augment", "none", "--checkpointing_steps", "9999"]  # fmt: skip


def draw_photos(folder: Path, count: int) -> None:
    """A folder with REAL and Fake in it, `count` pictures each: noise, and the same without its fine part."""
    rng = np.random.default_rng(0)
    for name, radius in {"REAL": 0.0, "Fake": 1.5}.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            colors = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((72, 72))
            noisy = np.asarray(colors, float) + rng.normal(0, 12, (72, 72, 3))
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
            image.save(folder / name / f"{index}.png")


def run(stand_in: Hub, place: Path, *command, token: bool = True, code: int = 0, **environment) -> str:
    """Runs a script of train/ as a process that talks to the stand-in, and returns its output."""
    settings = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", **environment}
    process = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=os.environ | stand_in.environment(place / "home", token) | settings,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert process.returncode == code, process.stdout[-3000:] + process.stderr[-5000:]
    assert TOKEN not in process.stdout + process.stderr
    return process.stdout + process.stderr


def small_checkpoint(folder: Path, pictures: list[Path] = ()) -> Path:
    """Saves a small untrained network whose P(fake) differs widely over the pictures."""
    torch.manual_seed(0)
    config = FakeDetConfig(backbone="test_efficientnet", hidden_size=8, input_size=32, max_views=2)
    model = FakeDetForImageClassification(config).eval()
    if pictures:
        detector = Detector.from_pretrained(hub.save_checkpoint(model, folder / "first"), runtime="torch")
        logits = [detector.predict(path).logit for path in pictures]
        scale = 4 / (max(logits) - min(logits))
        with torch.no_grad():  # the output layer is linear, and so is the mean over the views
            model.fc2.weight *= scale
            model.fc2.bias += scale * (model.fc2.bias - np.mean(logits)) - model.fc2.bias
    return hub.save_checkpoint(model, folder / "one")
