"""Duplicates and groups in train/prepare.py: none is separated, none leaks from training into a test split."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from prepare_material import encode, parquet, picture, pixels, private_cache, rows, run, train_and_test  # noqa: F401 (a fixture)

from train.data import dedup

pytestmark = pytest.mark.usefixtures("private_cache")


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


def test_near_duplicates_are_never_separated_by_the_split(tmp_path):
    """Otherwise validation measures recognition of pictures seen in training."""
    data = [
        r
        for s in range(40)
        for r in ({"image": encode(picture(s)), "label": s % 2}, {"image": near(s), "label": s % 2})
    ]
    for r, s in zip(data, np.repeat(range(40), 2), strict=True):
        r["source"] = str(s)
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    pictures = [set(ds["source"]) for ds in splits.values()]
    assert len(pictures) == 3 and sum(map(len, pictures)) == 40


def test_groups_are_never_separated_and_labels_stay_in_proportion(tmp_path):
    """Crops of one photo share a group; the column is recognised by its name."""
    data = [{**r, "group": f"g{s // 5}"} for s, r in enumerate(rows(range(300)))]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data))
    groups = [set(ds["group"]) for ds in splits.values()]
    assert sum(map(len, groups)) == 60
    for ds in splits.values():
        assert abs(np.mean(ds["label"]) - 0.5) < 0.06


def test_group_column_can_have_another_name(tmp_path):
    """--group_column prompt: images of one prompt stay together."""
    data = [{**r, "prompt": f"p{s // 4}"} for s, r in enumerate(rows(range(80)))]
    splits, _ = run(tmp_path, parquet(tmp_path / "a.parquet", data), flags=("--group_column", "prompt"))
    assert sum(len(set(ds["group"])) for ds in splits.values()) == 20


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
