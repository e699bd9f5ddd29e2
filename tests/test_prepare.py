"""train/prepare.py: from any layout to leak-free splits with labels that mean what their names say."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from train import prepare
from train.data import dedup, sources

TRAIN = Path(__file__).resolve().parents[1] / "train"


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
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
    """Without network the reason is said, not a stack trace."""

    def refuse(*_):
        raise ConnectionError("Couldn't reach 'someone/pictures' on the Hub\nlong story")

    monkeypatch.setattr(sources, "load_dataset", refuse)
    message = fail(capsys, tmp_path, "--data", "someone/pictures")
    assert "Couldn't reach" in message and message.count("\n") == 1


def test_exact_duplicates_in_train_are_kept_once_whatever_the_file_format(tmp_path):
    """The same pixels as PNG and BMP are one picture; two copies would weigh double."""
    data = [*rows(range(40)), {"image": encode(picture(3), "BMP"), "label": 1}]
    splits, report = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    assert sum(len(ds) for ds in splits.values()) == 40
    assert report["input"]["train"]["fake"]["dropped"] == {"exact duplicate": 1}


def test_leaked_test_images_move_to_their_own_split(tmp_path):
    """A test picture the model was trained on measures memory; it stays at hand for the figure with it."""
    data = train_and_test(tmp_path, rows(range(40)), rows(range(36, 60)))
    splits, report = run(tmp_path, *data)
    assert len(splits["test"]) == 20 and len(splits["test_leaked"]) == 4
    assert pixels(splits["test_leaked"]) == {picture(s).tobytes() for s in range(36, 40)}
    assert sum(c["moved_to_leaked"] for c in report["input"]["test"].values()) == 4


def test_repeats_inside_an_official_test_split_stay(tmp_path):
    """The official test split is the yardstick; only leaks leave it."""
    data = train_and_test(tmp_path, rows(range(40)), rows([*range(40, 50), 40]))
    splits, report = run(tmp_path, *data)
    assert len(splits["test"]) == 11
    assert report["duplicates"]["exact_duplicates_left_inside_held_out_splits"] == 1


def test_same_picture_with_both_labels_is_dropped(tmp_path):
    """Nobody can say which of the two labels is true."""
    data = [*rows(range(40)), {"image": encode(picture(2)), "label": 1}]
    splits, report = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    assert picture(2).tobytes() not in set.union(*(pixels(ds) for ds in splits.values()))
    assert report["input"]["train"]["real"]["dropped"] == {"both labels": 1}


def near(seed: int) -> bytes:
    return encode(np.clip(picture(seed).astype(int) + 6, 0, 255).astype(np.uint8), "JPEG", quality=80)


@pytest.mark.parametrize("mode, left", [("drop", 38), ("group", 40), ("ignore", 40)])
def test_near_duplicates_of_test_images_leave_train(tmp_path, mode, left):
    """A brighter, recompressed copy of a test picture in train would be a leak; the modes decide."""
    data = [*rows(range(2, 40)), {"image": near(100), "label": 0}, {"image": near(101), "label": 1}]
    data = train_and_test(tmp_path, data, rows(range(100, 110)))
    splits, _ = run(tmp_path, *data, flags=("--near_duplicates", mode))
    assert len(splits["train"]) + len(splits["validation"]) == left
    assert len(splits["test"]) == 10


def test_near_duplicates_are_never_separated_by_the_carving(tmp_path):
    """Otherwise validation measures recognition of pictures seen in training."""
    data = [
        r
        for s in range(40)
        for r in ({"image": encode(picture(s)), "label": s % 2}, {"image": near(s), "label": s % 2})
    ]
    for r, s in zip(data, np.repeat(range(40), 2), strict=True):
        r["source"] = str(s)
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    found = [set(ds["source"]) for ds in splits.values()]
    assert len(found) == 3 and sum(map(len, found)) == 40


def test_groups_are_never_separated_and_labels_stay_in_proportion(tmp_path):
    """Crops of one photo share a group; the column is found by its name."""
    data = [{**r, "group": f"g{s // 5}"} for s, r in enumerate(rows(range(300)))]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    found = [set(ds["group"]) for ds in splits.values()]
    assert sum(map(len, found)) == 60
    for ds in splits.values():
        assert abs(np.mean(ds["label"]) - 0.5) < 0.06


def test_group_column_can_have_another_name(tmp_path):
    """--group_column prompt: images of one prompt stay together."""
    data = [{**r, "prompt": f"p{s // 4}"} for s, r in enumerate(rows(range(80)))]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data), flags=("--group_column", "prompt"))
    assert sum(len(set(ds["group"])) for ds in splits.values()) == 20


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
    "arguments, said",
    [
        (["--data", "no/such/folder/here"], "Nothing was found at no/such/folder/here"),
        (["--data", "train=missing.parquet"], "Nothing was found at missing.parquet"),
        (["--data", "x", "--val_fraction", "2"], "--val_fraction must be"),
        (["--data", "x", "--val_fraction", "much"], "--val_fraction"),
        (["--data", "x", "--label_map", "a"], "--label_map takes"),
        ([], "--data"),
    ],
)
def test_wrong_arguments_are_one_plain_sentence(tmp_path, capsys, arguments, said):
    """Typing errors are answered in a line, with exit code 2."""
    message = fail(capsys, tmp_path, *arguments)
    assert said in message and message.count("\n") == 1


def test_folder_without_class_names_is_refused(tmp_path, capsys):
    """Images without a class cannot be trained on."""
    message = fail(capsys, tmp_path, "--data", str(folder(tmp_path / "in", {"a": range(2), "b": range(2)})))
    assert "class name" in message


def test_phash_equals_the_imagehash_library():
    """The batch version must find what the well-known hash finds."""
    import imagehash

    image = Image.fromarray(picture(1, 100))
    ours = dedup.fingerprint_batch([{"bytes": encode(picture(1, 100)), "path": None}])["phash"][0]
    assert ours == np.packbits(imagehash.phash(image).hash.ravel()).tobytes()


def test_different_plain_pictures_are_not_near_duplicates():
    """At 32 px the hashes of plain skies collide; the pixels must decide."""
    plain = [np.full((32, 32, 3), v, np.uint8) + np.random.default_rng(v).integers(0, 3, (32, 32, 3), np.uint8)
             for v in (100, 104, 108)]  # fmt: skip
    f = dedup.fingerprint_batch([{"bytes": encode(p), "path": None} for p in plain])
    hashes, thumbs = (np.frombuffer(b"".join(f[k]), np.uint8).reshape(3, -1) for k in ("phash", "thumb"))
    assert len(dedup.near_pairs(hashes, thumbs, 64)[0]) == 0


def test_blocks_of_the_comparison_lose_no_pair(monkeypatch):
    """Work is cut into blocks to fit memory; every pair must still be seen once."""
    monkeypatch.setattr(dedup, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(dedup, "_BLOCK_COLUMNS", 11)
    f = dedup.fingerprint_batch([{"bytes": encode(picture(s % 20)), "path": None} for s in range(60)])
    hashes, thumbs = (np.frombuffer(b"".join(f[k]), np.uint8).reshape(60, -1) for k in ("phash", "thumb"))
    i, j = dedup.near_pairs(hashes, thumbs, 4)
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == {
        (a, b) for a in range(60) for b in range(a + 1, 60) if a % 20 == b % 20}  # fmt: skip


def test_script_runs_as_a_command(tmp_path):
    """The README's command is `python train/prepare.py`, from the root of the repo."""
    path = parquet(tmp_path / "a.parquet", rows(range(40)))
    done = subprocess.run(
        [sys.executable, str(TRAIN / "prepare.py"), "--data", path, "--output_dir", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=300, cwd=TRAIN.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "written to" in done.stdout
