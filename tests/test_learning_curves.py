"""`train/learning_curves.py` measures what more collections or more images would bring."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Image

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path) -> Path:
    """Four collections of 200: the class shows in one number that is the same in all, and better in one of its own."""
    rng = np.random.default_rng(5)
    label, source = np.tile([0, 1], 400), np.repeat(["a", "b", "c", "d"], 200)
    features = rng.normal(size=(800, 9))
    features[:, 0] += 1.5 * label
    for place, name in enumerate("abcd"):  # a shortcut of its own in every collection
        features[:, 1 + place] += 2 * (2 * label - 1) * (source == name)
    rows = {"image": [{"bytes": b"", "path": None}] * 800, "label": label.tolist(), "source": source.tolist(),
            "teacher": features.tolist()}  # fmt: skip
    data = Dataset.from_dict(rows).cast_column("image", Image(decode=False))
    DatasetDict({"train": data}).save_to_disk(str(folder))
    return folder


def run(*flags) -> subprocess.CompletedProcess:
    command = [sys.executable, "train/learning_curves.py", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.integration
@pytest.mark.integration
def test_each_collection_is_asked_without_having_been_learned(tmp_path):
    done = run("--data", make(tmp_path / "data"), "--output_dir", tmp_path / "out", "--repeats", 2,
               "--collections", "first=a", "second=b", "third=c")  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "out" / "transfer.json").read_text())
    means = [np.mean(list(row.values())) for row in report["others"]]
    assert len(means) == 3 and set(report["others"][0]) == {"first", "second", "third"}
    assert 0.55 < means[0] < means[2] < 0.9  # its own number, which would give 1.0, was never learned
    assert report["shares"]["1.0"] == report["others"][2]
    assert "| others learned | first | second | third | mean |" in done.stdout
    assert (tmp_path / "out" / "transfer.png").stat().st_size > 10_000


@pytest.mark.integration
@pytest.mark.integration
@pytest.mark.parametrize(
    ("collections", "message"),
    [
        (["a"], "'a' is not COLUMN=VALUE"),
        (["first=a", "none=x"], "none has not both classes"),
        (["first=a"], "two at least"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(tmp_path, collections, message):
    done = run("--data", make(tmp_path / "data"), "--output_dir", tmp_path / "out", "--collections", *collections)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
