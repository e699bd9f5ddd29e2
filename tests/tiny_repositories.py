"""Tiny git repositories with pictures, a catalogue of them, and runs of train/prepare.py catalogue on both."""

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
from PIL import Image

from train import prepare

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = "repo,commit,path,sha256,label,generator,content,source,group,split,camera,cut,kind".split(",")


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
    loaded = datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
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


def one(tmp_path: Path, data: bytes, path: str = "a.png", **values) -> Path:
    """Make a catalogue of one picture in mirror/ann+one/repo, committed unless the test has done that."""
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    at = values.pop("commit", None) or commit(folder, **{path.replace("/", "__").replace(".", "_"): data})
    catalogue(tmp_path, line("ann/one", at, path, data, **values))
    return folder
