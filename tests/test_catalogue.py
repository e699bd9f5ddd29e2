"""train/prepare.py catalogue: a data set out of real git repositories, and a report of what is missing."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from train import prepare
from train.data.loading import load_split
from train.data.sources import PrepareError
from train.evaluation.dataset import load_evalset

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = "repo,commit,path,sha256,label,generator,content,source,group,split,camera,cut,kind".split(",")
COUNTS = ("repository_absent", "blob_absent", "content_changed", "unreadable")


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def encode(seed: int, size: tuple[int, int] = (96, 64), kind: str = "PNG", **options) -> bytes:
    """Encode a smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


def git(folder: Path, *command: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
    }  # fmt: skip
    done = subprocess.run(["git", "-C", folder, *command], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, **files: bytes | None) -> str:
    """Commit files (None deletes one; "__" in a name stands for a folder, "_" before the end for the dot)."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    for name, data in files.items():
        path = folder.joinpath(*".".join(name.rsplit("_", 1)).split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if data is None else path.write_bytes(data)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "pictures")
    return git(folder, "rev-parse", "HEAD")


def lose(folder: Path, data: bytes) -> None:
    """Delete a blob from a repository whose objects are still loose."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()


def line(repo: str, commit: str, path: str, data: bytes, label: str = "real", **values) -> dict:
    """Make one line of a catalogue."""
    given = {"repo": repo, "commit": commit, "path": path, "sha256": hashlib.sha256(data).hexdigest(), "label": label}
    return {**dict.fromkeys(COLUMNS, ""), "source": repo.split("/")[1], "split": "train", **given, **values}


def catalogue(tmp_path: Path, *lines: dict, name: str = "catalogue.csv.gz") -> Path:
    path = tmp_path / name
    with (gzip.open if name.endswith(".gz") else open)(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    return path


@dataclass(frozen=True)
class Done:
    """What a run of the command printed."""

    stdout: str
    stderr: str


def arguments(tmp_path: Path) -> list[str]:
    folders = ("--catalogue", "catalogue.csv.gz"), ("--mirror", "mirror"), ("--output_dir", "out")
    return ["catalogue", *(part for flag, name in folders for part in (flag, str(tmp_path / name)))]


def run(tmp_path: Path, *flags: str, status: int = 0) -> Done:
    """Run the command in this process, because a new one imports torch first."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        assert prepare.main([*arguments(tmp_path), "--num_workers", "1", *flags]) == status
    return Done(stdout.getvalue(), stderr.getvalue())


def run_process(tmp_path: Path, *flags: str) -> Done:
    """Run the command as a user does."""
    command = [sys.executable, "train/prepare.py", *arguments(tmp_path), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Done(done.stdout, done.stderr)


def rows(tmp_path: Path, split: str = "train") -> list[dict]:
    file = str(tmp_path / "out" / f"{split}.parquet")
    loaded = datasets.load_dataset("parquet", data_files=file, split="train")
    return list(loaded.cast_column("image", datasets.Image(decode=False)))


def report(tmp_path: Path, split: str = "train") -> dict:
    return json.loads((tmp_path / "out" / "report.json").read_text())["splits"][split]


def reasons(tmp_path: Path, split: str = "train") -> dict[str, str]:
    return {item["path"]: item["reason"] for item in report(tmp_path, split)["missing_pictures"]}


def make_three(tmp_path: Path) -> Path:
    """Make three clones, one fine, one without a blob, one with a changed file, and the catalogue of what they had."""
    mirror, a, b, c, d = tmp_path / "mirror", *map(encode, range(4))
    fine = commit(mirror / "ann+fine" / "repo", a_png=a, b_png=b)
    holed = commit(mirror / "bob+holed" / "repo", c_png=c, d_png=d)
    lose(mirror / "bob+holed" / "repo", c)
    changed = commit(mirror / "cat+changed", e_png=encode(5), f_png=encode(6))  # a plain clone, without /repo
    catalogue(
        tmp_path,
        line("ann/fine", fine, "a.png", a, generator="x", content="photo", group="g", camera="cam", kind="night"),
        line("ann/fine", fine, "b.png", b, "fake"),
        line("bob/holed", holed, "c.png", c, "fake"),
        line("bob/holed", holed, "d.png", d),
        line("cat/changed", changed, "e.png", encode(4), "fake"),
        line("cat/changed", changed, "f.png", encode(6), "fake"),
        line("dan/absent", "0" * 40, "g.png", encode(7)),
    )
    return tmp_path


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


def test_pictures_that_match_their_hash_are_written_with_their_labels(built):
    labels = [row["label"] for row in rows(built)]
    assert labels == [0, 1, 0, 1]


def test_a_row_has_the_catalogues_columns_and_the_originals_facts(built):
    row, original = rows(built)[0], encode(0)
    del row["image"]
    assert row == {
        "label": 0, "generator": "x", "content": "photo", "source": "fine", "group": "g", "camera": "cam",
        "kind": "night", "original_width": 96, "original_height": 64, "original_format": "PNG",
        "original_bytes": len(original), "original_sha256": hashlib.sha256(original).hexdigest(),
    }  # fmt: skip


def test_each_missing_picture_is_a_row_of_the_report(built):
    expected = {"c.png": "blob_absent", "e.png": "content_changed", "g.png": "repository_absent"}
    assert reasons(built) == expected


def test_the_report_counts_by_source(built):
    assert report(built)["sources"]["holed"] == {
        "wanted": 2,
        "written": 1,
        **dict.fromkeys(COUNTS, 0),
        "blob_absent": 1,
    }


def test_the_report_is_printed(process):
    lines = {parts[0]: parts[1:] for text in process[1].stdout.splitlines() if (parts := text.split())}
    assert lines["train"] == ["7", "4", "1", "1", "1", "0"]
    assert lines["changed"] == ["2", "1", "0", "0", "1", "0"]
    assert lines["no"] == ["clone", "of", "dan/absent"]


def test_progress_is_shown(process):
    assert "7/7" in process[1].stderr


def test_one_process_writes_the_same_as_two(three):
    run(three, "--num_workers", "1")
    alone = rows(three)
    run(three, "--num_workers", "2")
    assert rows(three) == alone


def test_nothing_but_the_splits_and_the_report_is_left(built):
    assert sorted(path.name for path in (built / "out").iterdir()) == ["report.json", "train.parquet"]


def test_missing_lists_repositories_without_a_clone(three):
    assert run(three, "--missing").stdout == "dan/absent\n"


def test_missing_builds_nothing(three):
    run(three, "--missing")
    assert not (three / "out").exists()


def test_datasets_decodes_images_and_names_labels(built):
    loaded = datasets.load_dataset("parquet", data_files=str(built / "out" / "train.parquet"), split="train")
    assert loaded[0]["image"].size == (96, 64)
    assert loaded.features["label"].names == ["real", "fake", "graphic"]


def test_finetune_reads_the_folder(built):
    assert load_split(str(built / "out"), "train")["label"][:] == [0, 1, 0, 1]
    assert load_split(str(built / "out"), "validation") is None


# --- where a picture is searched -----------------------------------------------------------------------------------


def one(tmp_path: Path, data: bytes, path: str = "a.png", **values) -> Path:
    """Make a catalogue of one picture in mirror/ann+one/repo, committed unless the test has done that."""
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    at = values.pop("commit", None) or commit(folder, **{path.replace("/", "__").replace(".", "_"): data})
    catalogue(tmp_path, line("ann/one", at, path, data, **values))
    return folder


def test_the_named_commit_is_searched(tmp_path):
    folder = one(tmp_path, encode(1))
    commit(folder, a_png=encode(2))
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


def test_head_is_searched_where_the_commit_is_unknown(tmp_path):
    commit(tmp_path / "mirror" / "ann+one" / "repo", a_png=encode(1))
    one(tmp_path, encode(1), commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


def test_the_history_is_searched_by_file_name(tmp_path):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, old__a_png=encode(1))
    commit(folder, old__a_png=None, new__b_png=encode(2))
    one(tmp_path, encode(1), "elsewhere/a.png", commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


def test_the_history_of_another_branch_is_searched(tmp_path):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, b_png=encode(2))
    git(folder, "checkout", "-q", "-b", "side")
    commit(folder, a_png=encode(1))
    git(folder, "checkout", "-q", "main")
    one(tmp_path, encode(1), commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


def test_the_history_of_a_merge_is_searched(tmp_path):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, b_png=encode(2))
    git(folder, "checkout", "-q", "-b", "side")
    commit(folder, c_png=encode(3))
    git(folder, "checkout", "-q", "-b", "merged", "main")
    commit(folder, d_png=encode(4))
    git(folder, "merge", "-q", "--no-commit", "side")
    commit(folder, a_png=encode(1))
    git(folder, "checkout", "-q", "main")
    one(tmp_path, encode(1), commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize("name", ["ünï cödé.png", "[a]*?.png", '"quoted".png', "-n.png"])
def test_odd_file_names_are_found_in_the_commit_and_in_the_history(tmp_path, name):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, x_png=encode(2))
    (folder / name).write_bytes(encode(1))
    (folder / "a.png").write_bytes(encode(3))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "odd")
    at = git(folder, "rev-parse", "HEAD")
    (folder / name).unlink()
    commit(folder, x_png=encode(4))
    catalogue(tmp_path, line("ann/one", "1" * 40, name, encode(1)), line("ann/one", at, "a.png", encode(3)))
    run(tmp_path)
    assert len(rows(tmp_path)) == 2


def test_a_path_that_never_was_is_absent(tmp_path):
    one(tmp_path, encode(1), commit=commit(tmp_path / "mirror" / "ann+one" / "repo", b_png=encode(2)))
    run(tmp_path, status=2)
    assert reasons(tmp_path) == {"a.png": "blob_absent"}


def test_a_folder_that_is_no_clone_is_absent_even_inside_another_repository(tmp_path):
    commit(tmp_path / "mirror", a_png=encode(1))
    (tmp_path / "mirror" / "ann+one" / "repo").mkdir(parents=True)
    catalogue(tmp_path, line("ann/one", "1" * 40, "a.png", encode(1)))
    run(tmp_path, status=2)
    assert reasons(tmp_path) == {"a.png": "repository_absent"}


@pytest.mark.parametrize("layout", ["repo", "", "repo/.git", "bare"])
def test_layouts_of_a_clone(tmp_path, layout):
    folder = tmp_path / "mirror" / "ann+one" / ("repo" if layout.startswith("repo") else "")
    at = commit(tmp_path / "origin", a_png=encode(1))
    git(tmp_path, "clone", "-q", *(["--bare"] if layout == "bare" else []), "origin", str(folder))
    if layout == "repo/.git":
        (folder / "a.png").unlink()
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


# --- how a picture is stored ---------------------------------------------------------------------------------------


def stored(tmp_path: Path, data: bytes, *flags: str, path: str = "a.png", **values) -> Image.Image:
    one(tmp_path, data, path, **values)
    run(tmp_path, *flags)
    return Image.open(io.BytesIO(rows(tmp_path)[0]["image"]["bytes"]))


def test_both_classes_get_the_same_storage(tmp_path):
    data = {"a_png": encode(1), "b_jpg": encode(2, (900, 700), "JPEG", quality=60), "c_webp": encode(3, kind="WEBP")}
    at = commit(tmp_path / "mirror" / "ann+one" / "repo", **data)
    labels = {"a.png": "fake", "b.jpg": "real", "c.webp": "fake"}
    files = zip(labels.items(), data.values(), strict=True)
    catalogue(tmp_path, *(line("ann/one", at, path, content, label) for (path, label), content in files))
    run(tmp_path)
    images = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows(tmp_path)]
    assert {(image.format, str(image.quantization), image.layer[0][1:3]) for image in images} == {
        ("JPEG", str(images[0].quantization), (1, 1))
    }


def test_the_short_side_is_limited(tmp_path):
    assert stored(tmp_path, encode(1, (900, 600)), "--side", "200").size == (300, 200)


def test_a_small_picture_keeps_its_size(tmp_path):
    assert stored(tmp_path, encode(1, (96, 64))).size == (96, 64)


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = stored(tmp_path, encode(1, (96, 64), "JPEG", exif=exif), path="a.jpg")
    assert image.size == (64, 96)
    assert not image.getexif()


def test_transparency_is_put_on_white(tmp_path):
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out, "PNG")
    assert stored(tmp_path, out.getvalue()).getpixel((20, 20)) == (255, 255, 255)


def test_a_cut_keeps_the_named_fractions(tmp_path):
    image = Image.new("RGB", (100, 80), "red")
    image.paste("blue", (50, 0, 100, 40))
    out = io.BytesIO()
    image.save(out, "PNG")
    kept = stored(tmp_path, out.getvalue(), cut="0.5,0,1,0.5")
    assert kept.size == (50, 40)
    assert kept.getpixel((2, 37))[2] > 240


def test_side_0_keeps_the_original_bytes(tmp_path):
    one(tmp_path, encode(1, (900, 700)))
    run(tmp_path, "--side", "0")
    assert rows(tmp_path)[0]["image"]["bytes"] == encode(1, (900, 700))


def test_side_0_with_a_cut_keeps_the_scale(tmp_path):
    image = stored(tmp_path, encode(1, (900, 700)), "--side", "0", cut="0,0,1,0.9")
    assert (image.format, image.size) == ("JPEG", (900, 630))


@pytest.mark.parametrize("data", [b"<svg xmlns='x'/>", encode(1)[:-200], b"no picture"], ids=["svg", "cut", "text"])
def test_a_file_that_the_detector_refuses_is_unreadable(tmp_path, data):
    one(tmp_path, data)
    run(tmp_path, status=2)
    assert reasons(tmp_path) == {"a.png": "unreadable"}


# --- cloning -------------------------------------------------------------------------------------------------------


def serve(tmp_path: Path, repo: str, **files: bytes) -> str:
    """Commit files to a repository below tmp_path/base that serves partial clones, as GitHub does."""
    at = commit(tmp_path / "base" / repo, **files)
    for key in ("allowFilter", "allowAnySHA1InWant"):
        git(tmp_path / "base" / repo, "config", f"uploadpack.{key}", "true")
    return at


def base(tmp_path: Path) -> tuple[str, ...]:
    return "--clone", "--git_base", (tmp_path / "base").as_uri()


def objects(tmp_path: Path, repo: str) -> set[str]:
    folder = tmp_path / "mirror" / repo / "repo"
    listing = git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectsize)", "--unordered")
    return {size for kind, size in map(str.split, listing.splitlines()) if kind == "blob"}


def test_clone_fetches_the_wanted_files_only(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1), b_png=encode(2, (50, 50)))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run_process(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 1
    assert objects(tmp_path, "ann+one") == {str(len(encode(1)))}


def test_clone_takes_a_plain_folder_as_its_base(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run(tmp_path, "--clone", "--git_base", str(tmp_path / "base"))
    assert len(rows(tmp_path)) == 1


def test_clone_finds_a_picture_in_the_history(tmp_path):
    serve(tmp_path, "ann/one", old__a_png=encode(1))
    commit(tmp_path / "base" / "ann" / "one", old__a_png=None, b_png=encode(2))
    catalogue(tmp_path, line("ann/one", "", "a.png", encode(1)))
    run(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 1


def test_clone_gets_the_others_where_the_remote_lacks_one_blob(tmp_path):
    files = {f"p{k}_png": encode(k) for k in range(5)}
    at = serve(tmp_path, "ann/one", **files)
    lose(tmp_path / "base" / "ann" / "one", encode(3))
    catalogue(tmp_path, *(line("ann/one", at, f"p{k}.png", encode(k)) for k in range(5)))
    run(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 4
    assert reasons(tmp_path) == {"p3.png": "blob_absent"}


def test_clone_completes_a_clone_of_an_earlier_run(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1), b_png=encode(2))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run(tmp_path, *base(tmp_path))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)), line("ann/one", at, "b.png", encode(2)))
    run(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 2


def test_without_clone_nothing_is_fetched_into_a_partial_clone(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1), b_png=encode(2), c_png=encode(3))
    catalogue(tmp_path, line("ann/one", at, "b.png", encode(2)))
    run(tmp_path, *base(tmp_path))
    catalogue(tmp_path, *(line("ann/one", at, f"{name}.png", encode(k)) for k, name in enumerate("abc", 1)))
    run(tmp_path)
    assert reasons(tmp_path) == {"a.png": "blob_absent", "c.png": "blob_absent"}


def test_a_repository_that_cannot_be_cloned_is_reported_with_gits_reason(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)), line("bob/gone", at, "b.png", encode(2)))
    run(tmp_path, *base(tmp_path))
    item = report(tmp_path)["missing_pictures"][0]
    assert (item["repo"], item["reason"]) == ("bob/gone", "repository_absent")
    assert item["detail"]


def test_a_failed_clone_leaves_no_folder(tmp_path):
    catalogue(tmp_path, line("bob/gone", "", "b.png", encode(2)))
    run(tmp_path, *base(tmp_path), status=2)
    assert not list((tmp_path / "mirror").glob("*"))


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


def test_a_file_for_each_split(splits):
    run(splits)
    names = sorted(path.stem for path in (splits / "out").glob("*.parquet"))
    assert names == ["graphics_validation", "train", "validation"]


def test_graphics_have_the_third_label(splits):
    run(splits)
    assert [row["label"] for row in rows(splits, "graphics_validation")] == [2]


def test_a_split_built_later_joins_the_others(splits):
    run(splits, "--split", "train")
    run(splits, "--split", "validation")
    assert sorted(json.loads((splits / "out" / "report.json").read_text())["splits"]) == ["train", "validation"]
    assert len(rows(splits)) == 2


def test_evaluate_reads_a_split_of_the_folder(splits):
    run(splits)
    images = load_evalset(str(splits / "out"), "validation")
    assert list(images.table["label"]) == [0, 1]


def test_evaluate_does_not_take_graphics_for_photographs(splits):
    run(splits)
    with pytest.raises(PrepareError, match="has a label real or fake"):
        load_evalset(str(splits / "out"), "graphics_validation")


def test_a_run_that_finds_nothing_keeps_the_files_of_an_earlier_one(splits):
    run(splits)
    run(splits, "--mirror", str(splits / "elsewhere"), status=2)
    assert len(rows(splits)) == 2


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


@pytest.mark.parametrize("column", FAULTS)
def test_a_value_that_cannot_be_meant_is_named_with_its_line(tmp_path, column):
    catalogue(tmp_path, {**line("ann/one", "", "a.png", encode(1)), column: FAULTS[column]})
    message = run(tmp_path, status=2).stderr
    assert "catalogue.csv.gz, line 2" in message
    assert FAULTS[column] in message


def test_a_picture_named_twice_is_refused(tmp_path):
    catalogue(tmp_path, line("ann/one", "", "a.png", encode(1)), line("ann/two", "", "b.png", encode(1), split="test"))
    assert "line 3: the picture of line 2 occurs again" in run(tmp_path, status=2).stderr


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
