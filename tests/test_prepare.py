"""train/prepare.py: labels, splits, columns, damaged files, the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from prepare_material import encode, fail, folder, parquet, picture, pixels, private_cache, rows, run, train_and_test  # noqa: F401 (a fixture)

TRAIN = Path(__file__).resolve().parents[1] / "train"
pytestmark = pytest.mark.usefixtures("private_cache")


def test_unknown_label_names_stop_and_a_map_helps(tmp_path, capsys):
    """Guessing would silently swap the classes."""
    path = parquet(tmp_path / "a.parquet", [{"image": encode(picture(s)), "label": "ab"[s % 2]} for s in range(20)])
    assert "--label_map" in fail(capsys, tmp_path, "--data", path)
    splits, _ = run(tmp_path, path, flags=("--label_map", "a=fake", "b=real"))
    assert sum(sum(ds["label"]) for ds in splits.values()) == 10


def test_fake_label_flag_turns_numbers_round(tmp_path):
    """Some sets number fake as 0."""
    data = rows(range(0, 40, 2)) + rows(range(1, 11, 2))
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data), flags=("--fake_label", "0"))
    assert sum(sum(ds["label"]) for ds in splits.values()) == 20


def test_numbers_without_meaning_are_refused(tmp_path, capsys):
    """Label 7 says nothing about real or fake."""
    data = [{"image": encode(picture(s)), "label": 7} for s in range(4)]
    assert "7" in fail(capsys, tmp_path, "--data", parquet(tmp_path / "a.parquet", data))


def test_default_split_is_70_15_15_with_both_labels(tmp_path):
    """An unsplit set gets all three splits, each with the labels in proportion."""
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", rows(range(200))))
    assert {k: (len(v), sum(v["label"])) for k, v in splits.items()} == {
        "train": (140, 70), "validation": (30, 15), "test": (30, 15)}  # fmt: skip


def test_official_test_stays_and_validation_comes_out_of_train(tmp_path):
    """Numbers on an official test split must be comparable with those of other people."""
    data = train_and_test(tmp_path, rows(range(200)), rows(range(200, 240)))
    splits, _ = run(tmp_path, *data)
    assert {k: len(v) for k, v in splits.items()} == {"train": 190, "validation": 10, "test": 40}


def test_val_fraction_wins(tmp_path):
    """The flag beats the default."""
    data = train_and_test(tmp_path, rows(range(100)), rows(range(100, 110)))
    splits, _ = run(tmp_path, *data, flags=("--val_fraction", "0.2"))
    assert len(splits["validation"]) == 20


def test_other_split_names_are_kept(tmp_path):
    """Extra held-out sets such as test_unseen keep their name and are not merged."""
    names = ("train", "validation", "validation_whole", "test_unseen")
    data = [f"{n}={parquet(tmp_path / f'{n}.parquet', rows(range(k * 20, k * 20 + 20)))}" for k, n in enumerate(names)]
    splits, _ = run(tmp_path, *data)
    assert {k: len(v) for k, v in splits.items()} == dict.fromkeys(names, 20)


def test_image_bytes_are_never_re_encoded(tmp_path):
    """Compression traces are what the model looks at."""
    data = [{"image": encode(picture(s), "JPEG", quality=60), "label": s % 2} for s in range(20)]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    stored = {
        x["bytes"] for d in splits.values() for x in d.cast_column("image", datasets.Image(decode=False))["image"]
    }
    assert stored == {r["image"] for r in data}


def test_saved_set_needs_no_source_files(tmp_path):
    """The prepared folder can be moved to another machine: bytes are inside, and no path of this machine."""
    root = folder(tmp_path / "in", {"real": range(10), "fake": range(10, 20)})
    splits, _ = run(tmp_path, str(root))
    for f in root.rglob("*.png"):
        f.unlink()
    assert splits["train"][0]["image"].size == (32, 32)
    assert "/" not in splits["train"].cast_column("image", datasets.Image(decode=False))[0]["image"]["path"]


def test_text_columns_are_kept_and_source_can_be_named(tmp_path):
    """Reports break results down by generator and source."""
    data = rows(range(20), generator="sd", content="photo", width=3)
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data), flags=("--source", "mine"))
    assert splits["train"].column_names == ["image", "label", "source", "generator", "content"]
    assert set(splits["train"]["source"]) == {"mine"}


def test_column_names_can_be_given(tmp_path):
    """--image_column and --label_column for sets that call them otherwise."""
    data = [{"image": r["image"], "target": r["label"]} for r in rows(range(20))]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data), flags=("--label_column", "target"))
    assert sum(len(ds) for ds in splits.values()) == 20


def test_few_broken_images_are_dropped_and_named(tmp_path, capsys):
    """One truncated file must not cost the whole run, and the user learns which it was."""
    root = folder(tmp_path / "in", {"real": range(20), "fake": range(20, 40)})
    (root / "real" / "3.png").write_bytes(encode(picture(3))[:200])
    (root / "fake" / "empty.png").write_bytes(b"")
    splits, report = run(tmp_path, str(root), flags=("--max_bad_fraction", "0.1"))
    assert sum(len(ds) for ds in splits.values()) == 39 and report["unreadable"] == 2
    printed = capsys.readouterr().out
    assert "real/3.png" in printed and "fake/empty.png" in printed and str(tmp_path) not in printed


def test_many_broken_images_stop_the_run(tmp_path, capsys):
    """A half-downloaded data set should not be trained on by accident."""
    path = parquet(tmp_path / "a.parquet", [*rows(range(20)), *[{"image": b"nonsense", "label": 0}] * 3])
    message = fail(capsys, tmp_path, "--data", path)
    assert "3 of 23 images do not open" in message
    assert not (tmp_path / "out").exists()


def test_max_per_class_takes_a_balanced_sample(tmp_path):
    """The demo of the README runs on a few hundred images."""
    data = train_and_test(tmp_path, rows(range(100)), rows(range(100, 140)))
    flags = ("--max_per_class", "10", "--val_fraction", "0.2")
    splits, _ = run(tmp_path, *data, flags=flags)
    assert {k: (len(v), sum(v["label"])) for k, v in splits.items()} == {
        "train": (16, 8), "validation": (4, 2), "test": (20, 10)}  # fmt: skip


def test_same_seed_gives_the_same_splits(tmp_path):
    """A result can only be repeated on the same split."""
    path = parquet(tmp_path / "a.parquet", rows(range(60)))
    first = pixels(run(tmp_path, path)[0]["validation"])
    assert pixels(run(tmp_path, path)[0]["validation"]) == first
    assert pixels(run(tmp_path, path, flags=("--seed", "1"))[0]["validation"]) != first


def test_workers_change_nothing(tmp_path):
    """--num_workers is for speed only."""
    path = parquet(tmp_path / "a.parquet", rows([*range(60), 5]))
    first = run(tmp_path, path)[1]
    second = run(tmp_path, path, flags=("--num_workers", "2"))[1]
    assert {**first, "arguments": 0} == {**second, "arguments": 0}


def test_only_a_test_split_is_left_whole(tmp_path):
    """An evaluation set needs no training part."""
    splits, _ = run(tmp_path, "test=" + parquet(tmp_path / "a.parquet", rows(range(10))))
    assert {k: len(v) for k, v in splits.items()} == {"test": 10}


def test_no_second_copy_of_the_data_stays_behind(tmp_path):
    """Parquet is unpacked to be read; the unpacked copy must go again."""
    run(tmp_path, parquet(tmp_path / "a.parquet", rows(range(20))))
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["a.parquet", "out"]


def test_foreign_output_folder_is_not_overwritten(tmp_path, capsys):
    """A mistyped --output_dir must not delete somebody's pictures."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_bytes(b"x")
    message = fail(capsys, tmp_path, "--data", parquet(tmp_path / "a.parquet", rows(range(10))))
    assert "was not written by this command" in message and (tmp_path / "out" / "holiday.jpg").exists()


def test_unknown_column_names_those_there(tmp_path, capsys):
    """The user sees at once what to write."""
    path = parquet(tmp_path / "a.parquet", rows(range(4)))
    assert "image, label" in fail(capsys, tmp_path, "--data", path, "--label_column", "target")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--data", "no/such/folder/here"], "Nothing exists at no/such/folder/here"),
        (["--data", "train=missing.parquet"], "Nothing exists at missing.parquet"),
        (["--data", "x", "--val_fraction", "2"], "--val_fraction must be"),
        (["--data", "x", "--val_fraction", "much"], "--val_fraction"),
        (["--data", "x", "--label_map", "a"], "--label_map takes"),
        ([], "--data"),
    ],
)
def test_wrong_arguments_are_one_plain_sentence(tmp_path, capsys, arguments, message):
    """Typing errors are answered in a line, with exit code 2."""
    printed = fail(capsys, tmp_path, *arguments)
    assert message in printed and printed.count("\n") == 1


def test_folder_without_class_names_is_refused(tmp_path, capsys):
    """Images without a class cannot be trained on."""
    message = fail(capsys, tmp_path, "--data", str(folder(tmp_path / "in", {"a": range(2), "b": range(2)})))
    assert "class name" in message


@pytest.mark.integration
@pytest.mark.integration
def test_script_runs_as_a_command(tmp_path):
    """The README's command is `python train/prepare.py`, from the root of the repo."""
    path = parquet(tmp_path / "a.parquet", rows(range(40)))
    done = subprocess.run(
        [sys.executable, str(TRAIN / "prepare.py"), "--data", path, "--output_dir", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=300, cwd=TRAIN.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "written to" in done.stdout
