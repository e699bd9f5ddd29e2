"""train/prepare.py: any layout is read, with labels that mean what their names say."""

from __future__ import annotations

import datasets
import pytest
from prepare_material import encode, fail, folder, parquet, picture, private_cache, rows, run  # noqa: F401 (a fixture)

from train.data import sources

pytestmark = pytest.mark.usefixtures("private_cache")


SPELLINGS = [
    "real fake",
    "REAL FAKE",
    "0_real 1_fake",
    "nature ai",
    "Real-Images AI-generated",
    "train_real train_fake",
]


@pytest.mark.parametrize("real, fake", [s.split() for s in SPELLINGS])
def test_class_folders_are_read_by_name(tmp_path, real, fake):
    """Sorted by name, fake would be class 0: the label must come from the word."""
    splits, _ = run(tmp_path, str(folder(tmp_path / "in", {real: range(10), fake: range(10, 30)})))
    assert sum(sum(ds["label"]) for ds in splits.values()) == 20
    assert splits["train"].features["label"].names == ["real", "fake"]
    by_pixels = {im.tobytes(): y for ds in splits.values() for im, y in zip(ds["image"], ds["label"], strict=True)}
    assert by_pixels[picture(0).tobytes()] == 0 and by_pixels[picture(10).tobytes()] == 1


def test_split_folders_are_kept(tmp_path):
    """Kaggle archives come as train/REAL, test/FAKE; their split is the official one."""
    layout = {
        "train/REAL": range(20),
        "train/FAKE": range(20, 40),
        "val/REAL": range(40, 43),
        "val/FAKE": range(43, 46),
    }
    layout |= {"test/REAL": range(46, 50), "test/FAKE": range(50, 54)}
    splits, _ = run(tmp_path, str(folder(tmp_path / "in", layout)))
    assert {k: len(v) for k, v in splits.items()} == {"train": 40, "validation": 6, "test": 8}


def test_plain_class_name_beats_a_synonym_below_it(tmp_path):
    """fake/photo holds fakes of the photo kind, not photos."""
    splits, _ = run(tmp_path, str(folder(tmp_path / "in", {"fake/photo": range(10), "real/photo": range(10, 20)})))
    by_pixels = {im.tobytes(): y for ds in splits.values() for im, y in zip(ds["image"], ds["label"], strict=True)}
    assert by_pixels[picture(0).tobytes()] == 1


def test_classlabel_is_read_by_name_not_by_index(tmp_path):
    """A ClassLabel(["fake", "real"]) has 0 = fake."""
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["Fake", "Real"])}
    )
    data = [{"image": encode(picture(s)), "label": int(s >= 6)} for s in range(20)]
    splits, _ = run(tmp_path, "train=" + parquet(tmp_path / "a.parquet", data, features), "--val_fraction=0.2")
    assert sum(sum(ds["label"]) for ds in splits.values()) == 6


def test_text_labels_are_read(tmp_path):
    """Many Hub sets store the class as a word."""
    data = [{"image": encode(picture(s)), "label": "synthetic" if s < 5 else "natural"} for s in range(20)]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    assert sum(sum(ds["label"]) for ds in splits.values()) == 5


def test_parquet_folder_takes_splits_from_file_names(tmp_path):
    """The layout of a downloaded Hub data set: data/train-00000-of-00002.parquet."""
    root = tmp_path / "in" / "data"
    root.mkdir(parents=True)
    parquet(root / "train-00000-of-00002.parquet", rows(range(20)))
    parquet(root / "train-00001-of-00002.parquet", rows(range(20, 40)))
    parquet(root / "validation-00000-of-00001.parquet", rows(range(40, 50)))
    parquet(root / "test_unseen-00000-of-00001.parquet", rows(range(50, 60)))
    splits, _ = run(tmp_path, str(tmp_path / "in"))
    assert {k: len(v) for k, v in splits.items()} == {"train": 40, "validation": 10, "test_unseen": 10}


def test_glob_joins_shards(tmp_path):
    """A pattern in SPLIT=PATH names several files of one split."""
    for k in range(2):
        parquet(tmp_path / f"part-{k}.parquet", rows(range(k * 20, k * 20 + 20)))
    splits, _ = run(tmp_path, f"train={tmp_path}/part-*.parquet", flags=("--val_fraction", "0", "--test_fraction", "0"))
    assert {k: len(v) for k, v in splits.items()} == {"train": 40}


def test_hub_data_set_id_is_loaded(tmp_path, monkeypatch):
    """An id that is no path goes to the Hub, whose split names are brought to ours."""
    files = {"train": parquet(tmp_path / "a.parquet", rows(range(40)))}
    files["valid"] = parquet(tmp_path / "b.parquet", rows(range(40, 50)))
    loaded = datasets.DatasetDict.from_parquet(files)
    asked = []
    monkeypatch.setattr(sources, "load_dataset", lambda *a: asked.append(a) or loaded)
    splits, _ = run(tmp_path, "someone/pictures")
    assert asked == [("someone/pictures", None)]
    assert {k: len(v) for k, v in splits.items()} == {"train": 40, "validation": 10}


def test_unreachable_hub_is_one_sentence(tmp_path, capsys, monkeypatch):
    """Without network the message is the reason, not a stack trace."""

    def refuse(*_):
        raise ConnectionError("Couldn't reach 'someone/pictures' on the Hub\nlong story")

    monkeypatch.setattr(sources, "load_dataset", refuse)
    message = fail(capsys, tmp_path, "--data", "someone/pictures")
    assert "Couldn't reach" in message and message.count("\n") == 1
