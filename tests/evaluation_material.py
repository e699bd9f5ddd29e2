"""Material for the tests of train/evaluation: made-up pictures, a tiny model, a small data set, score tables."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

from fakedet import FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import save_checkpoint

ROOT = Path(__file__).resolve().parent.parent
N = 24
BROKEN = 5


def picture(seed: int, width: int = 48, height: int = 40, brightness: int = 0) -> PILImage.Image:
    """Returns a seeded smooth picture; `brightness` (0..255) is added, so classes can differ in that only."""
    small = np.random.default_rng(seed).integers(0, 128, (6, 6, 3)).astype(np.uint8) + np.uint8(brightness)
    return PILImage.fromarray(small).resize((width, height), PILImage.Resampling.BICUBIC)


def encode(image: PILImage.Image, kind: str = "PNG", **options) -> bytes:
    """Returns the picture as bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def save_tiny_model(folder: Path, **settings) -> Path:
    """Saves an untrained network of a few layers with its sign set so that a brighter image scores higher."""
    torch.manual_seed(0)
    settings = {"max_views": 2} | settings
    config = FakeDetConfig(backbone="test_efficientnet", hidden_size=8, input_size=32, **settings)
    model = FakeDetForImageClassification(config).eval()
    with torch.no_grad():
        dark, bright = (model(torch.full((1, 3, 32, 32), value)).logit for value in (-1.0, 1.0))
        model.fc2.weight *= torch.sign(bright - dark) * 4 / (bright - dark).abs()
    return save_checkpoint(model, folder)


def make_place(root: Path) -> Path:
    """Writes a tiny model and a prepared data set of 24 images, one of them broken, in two splits."""
    save_tiny_model(root / "model")
    rows = {"image": [], "label": [], "source": [], "generator": [], "group": [], "kind": [], "camera": []}
    for i in range(N):
        data = encode(picture(i, brightness=100 * (i % 2)), "JPEG", quality=90)
        rows["image"].append({"bytes": data[:200] if i == BROKEN else data, "path": f"picture{i}.jpg"})
        rows["label"].append(i % 2)
        rows["source"].append("both" if i < 12 else ("cameras", "machines")[i % 2])
        rows["generator"].append(("a-camera", "model-a" if i < 12 else "model-b")[i % 2])
        rows["group"].append(f"group{i}")
        rows["kind"].append(("night;film" if i % 4 else "", "ai-edit")[i % 2])
        rows["camera"].append(("Pentax", "")[i % 2])
    text = Value("string")
    features = Features({"image": Image(), "label": ClassLabel(names=["real", "fake"]), "source": text,
                         "generator": text, "group": text, "kind": text, "camera": text})  # fmt: skip
    data = Dataset.from_dict(rows, features=features)
    DatasetDict({"validation": data, "test": data}).save_to_disk(root / "data")
    return root


def run(script: str, place: Path, *args: str) -> subprocess.CompletedProcess:
    """Runs a script of train/ in the folder `place`, without network."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "train" / script), *args]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1500)


def table(**columns) -> pd.DataFrame:
    """Returns a score table with verdicts: fake from 0.6, real up to 0.4."""
    frame = pd.DataFrame(columns)
    frame["index"] = np.arange(len(frame))
    frame["z"] = np.log(frame["p_fake"] / (1 - frame["p_fake"]))
    frame["verdict"] = np.select([frame["p_fake"] >= 0.6, frame["p_fake"] <= 0.4], ["fake", "real"], "unsure")
    return frame
