"""Pictures, parquet files and folders for the tests of train/prepare.py."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from train import prepare


@pytest.fixture
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def picture(seed: int, size: int = 32) -> np.ndarray:
    """Make a smooth random RGB picture, so that a small change leaves it recognisable."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def encode(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def parquet(path: Path, rows: list[dict], features=None) -> str:
    """Write rows whose image is bytes as a parquet file."""
    rows = [{**r, "image": {"bytes": r["image"], "path": None}} for r in rows]
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(path))
    return str(path)


def rows(seeds, **columns) -> list[dict]:
    return [{"image": encode(picture(s)), "label": s % 2, **columns} for s in seeds]


def train_and_test(tmp_path: Path, train: list[dict], test: list[dict]) -> list[str]:
    files = {"train": parquet(tmp_path / "train.parquet", train), "test": parquet(tmp_path / "test.parquet", test)}
    return [f"{split}={path}" for split, path in files.items()]


def run(tmp_path: Path, *data: str, flags: tuple[str, ...] = ()) -> tuple[datasets.DatasetDict, dict]:
    out = tmp_path / "out"
    assert prepare.main(["--data", *data, "--output_dir", str(out), *flags]) == 0
    return datasets.DatasetDict.load_from_disk(out), json.loads((out / "prepare.json").read_text())


def fail(capsys, tmp_path: Path, *arguments: str) -> str:
    assert prepare.main([*arguments, "--output_dir", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def folder(root: Path, layout: dict[str, range]) -> Path:
    for name, seeds in layout.items():
        (root / name).mkdir(parents=True)
        for s in seeds:
            (root / name / f"{s}.png").write_bytes(encode(picture(s)))
    return root


def pixels(ds) -> set[bytes]:
    return {im.convert("RGB").tobytes() for im in ds["image"]}
