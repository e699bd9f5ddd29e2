"""train/prepare.py catalogue: what it writes, what it reports as missing, and what it refuses."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path

import datasets
import pytest
from tiny_repositories import (
    Done,
    catalogue,
    commit,
    encode,
    line,
    make_three,
    one,
    reasons,
    report,
    rows,
    run,
    run_process,
)

from train.data.loading import load_split
from train.data.sources import PrepareError
from train.evaluation.dataset import load_evalset

COUNTS = ("repository_absent", "blob_absent", "content_changed", "unreadable")


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def three(tmp_path) -> Path:
    return make_three(tmp_path)


@pytest.fixture(scope="module")
def process(tmp_path_factory) -> tuple[Path, Done]:
    """The folder of a run as a process on the three clones, and what it printed."""
    folder = make_three(tmp_path_factory.mktemp("three"))
    return folder, run_process(folder)


@pytest.fixture
def built(process) -> Path:
    return process[0]


@pytest.mark.integration
def test_pictures_that_match_their_hash_are_written_with_their_labels(built):
    labels = [row["label"] for row in rows(built)]
    assert labels == [0, 1, 0, 1]


@pytest.mark.integration
def test_a_row_has_the_catalogues_columns_and_the_originals_facts(built):
    row, original = rows(built)[0], encode(0)
    del row["image"]
    assert row == {
        "label": 0, "generator": "x", "content": "photo", "source": "fine", "group": "g", "camera": "cam",
        "kind": "night", "original_width": 96, "original_height": 64, "original_format": "PNG",
        "original_bytes": len(original), "original_sha256": hashlib.sha256(original).hexdigest(),
    }  # fmt: skip


@pytest.mark.integration
def test_each_missing_picture_is_a_row_of_the_report(built):
    expected = {"c.png": "blob_absent", "e.png": "content_changed", "g.png": "repository_absent"}
    assert reasons(built) == expected


@pytest.mark.integration
def test_the_report_counts_by_source(built):
    assert report(built)["sources"]["holed"] == {
        "wanted": 2,
        "written": 1,
        **dict.fromkeys(COUNTS, 0),
        "blob_absent": 1,
    }


@pytest.mark.integration
def test_the_report_is_printed(process):
    lines = {parts[0]: parts[1:] for text in process[1].stdout.splitlines() if (parts := text.split())}
    assert lines["train"] == ["7", "4", "1", "1", "1", "0"]
    assert lines["changed"] == ["2", "1", "0", "0", "1", "0"]
    assert lines["no"] == ["clone", "of", "dan/absent"]


@pytest.mark.integration
def test_progress_is_shown(process):
    assert "7/7" in process[1].stderr


@pytest.mark.integration
def test_one_process_writes_the_same_as_two(three):
    run(three, "--num_workers", "1")
    alone = rows(three)
    run(three, "--num_workers", "2")
    assert rows(three) == alone


@pytest.mark.integration
def test_nothing_but_the_splits_and_the_report_is_left(built):
    assert sorted(path.name for path in (built / "out").iterdir()) == ["report.json", "train.parquet"]


@pytest.mark.integration
def test_missing_lists_repositories_without_a_clone(three):
    assert run(three, "--missing").stdout == "dan/absent\n"


@pytest.mark.integration
def test_missing_builds_nothing(three):
    run(three, "--missing")
    assert not (three / "out").exists()


@pytest.mark.integration
def test_datasets_decodes_images_and_names_labels(built):
    loaded = datasets.load_dataset("parquet", data_files=str(built / "out" / "train.parquet"), split="train")
    assert loaded[0]["image"].size == (96, 64)
    assert loaded.features["label"].names == ["real", "fake", "graphic"]


@pytest.mark.integration
def test_finetune_reads_the_folder(built):
    assert load_split(str(built / "out"), "train")["label"][:] == [0, 1, 0, 1]
    assert load_split(str(built / "out"), "validation") is None


# --- splits and faults of the catalogue ----------------------------------------------------------------------------


@pytest.fixture
def splits(tmp_path) -> Path:
    at = commit(tmp_path / "mirror" / "ann+one" / "repo", **{f"p{k}_png": encode(k) for k in range(5)})
    split = ["train", "train", "validation", "validation", "graphics_validation"]
    label = ["real", "fake", "real", "fake", "graphic"]
    catalogue(
        tmp_path,
        *(line("ann/one", at, f"p{k}.png", encode(k), label[k], split=split[k], source="s") for k in range(5)),
    )
    return tmp_path


@pytest.mark.integration
def test_a_file_for_each_split(splits):
    run(splits)
    names = sorted(path.stem for path in (splits / "out").glob("*.parquet"))
    assert names == ["graphics_validation", "train", "validation"]


@pytest.mark.integration
def test_graphics_have_the_third_label(splits):
    run(splits)
    assert [row["label"] for row in rows(splits, "graphics_validation")] == [2]


@pytest.mark.integration
def test_a_split_built_later_joins_the_others(splits):
    run(splits, "--split", "train")
    run(splits, "--split", "validation")
    assert sorted(json.loads((splits / "out" / "report.json").read_text())["splits"]) == ["train", "validation"]
    assert len(rows(splits)) == 2


@pytest.mark.integration
def test_evaluate_reads_a_split_of_the_folder(splits):
    run(splits)
    images = load_evalset(str(splits / "out"), "validation")
    assert list(images.table["label"]) == [0, 1]


@pytest.mark.integration
def test_evaluate_does_not_take_graphics_for_photographs(splits):
    run(splits)
    with pytest.raises(PrepareError, match="has a label real or fake"):
        load_evalset(str(splits / "out"), "graphics_validation")


@pytest.mark.integration
def test_a_run_that_finds_nothing_keeps_the_files_of_an_earlier_one(splits):
    run(splits)
    run(splits, "--mirror", str(splits / "elsewhere"), status=2)
    assert len(rows(splits)) == 2


@pytest.mark.integration
def test_absent_columns_are_empty(tmp_path):
    one(tmp_path, encode(1))
    with gzip.open(tmp_path / "catalogue.csv.gz", "rt") as file:
        lines = [{k: v for k, v in row.items() if k not in ("kind", "cut", "camera")} for row in csv.DictReader(file)]
    with gzip.open(tmp_path / "catalogue.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    run(tmp_path)
    assert (rows(tmp_path)[0]["kind"], rows(tmp_path)[0]["camera"]) == ("", "")


@pytest.mark.integration
def test_a_plain_csv_is_read(tmp_path):
    one(tmp_path, encode(1))
    plain = tmp_path / "plain.csv"
    plain.write_bytes(gzip.decompress((tmp_path / "catalogue.csv.gz").read_bytes()))
    run(tmp_path, "--catalogue", str(plain))
    assert len(rows(tmp_path)) == 1


FAULTS = {
    "repo": "../../etc", "commit": "--upload-pack=x", "sha256": "abc", "label": "photo", "split": "../train",
    "cut": "0.5,0,0.2,1", "path": "",
}  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize("column", FAULTS)
def test_a_value_that_cannot_be_meant_is_named_with_its_line(tmp_path, column):
    catalogue(tmp_path, {**line("ann/one", "", "a.png", encode(1)), column: FAULTS[column]})
    message = run(tmp_path, status=2).stderr
    assert "catalogue.csv.gz, line 2" in message
    assert FAULTS[column] in message


@pytest.mark.integration
def test_a_picture_named_twice_is_refused(tmp_path):
    catalogue(tmp_path, line("ann/one", "", "a.png", encode(1)), line("ann/two", "", "b.png", encode(1), split="test"))
    assert "line 3: the picture of line 2 occurs again" in run(tmp_path, status=2).stderr


@pytest.mark.integration
def test_an_unknown_split_is_named(splits):
    message = run(splits, "--split", "tain", status=2).stderr
    assert "has no split tain; it has graphics_validation, train, validation" in message


@pytest.mark.parametrize(
    "content", [None, b"no gzip", gzip.compress(b"repo,path\n")[:-4], gzip.compress(b"repo,path\n")]
)
def test_a_catalogue_that_cannot_be_read_is_one_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "catalogue.csv.gz").write_bytes(content)
    assert "catalogue.csv.gz" in run(tmp_path, status=2).stderr.splitlines()[-1]
