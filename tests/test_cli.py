"""The command line: answers, exit codes and one-line errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from detector_material import EXAMPLES, ROOT, make_folder
from PIL import Image

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("images"))


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "fakedet", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def test_predict_prints_text_or_json(folder, detector):
    text = run("predict", EXAMPLES[0])
    assert text.returncode == 0
    assert "%" in text.stdout
    assert "Traceback" not in text.stderr
    lines = run("predict", EXAMPLES[0], EXAMPLES[1], "--json")
    answers = [json.loads(line) for line in lines.stdout.splitlines()]
    assert lines.returncode == 0
    assert [answer["file"] for answer in answers] == [str(path) for path in EXAMPLES[:2]]
    assert answers[0]["p_fake"] == pytest.approx(detector.predict(EXAMPLES[0]).p_fake, abs=1e-3)


@pytest.mark.parametrize("name", ["empty.jpg", "text.png", "cut.jpg", "huge.png", "missing.jpg"])
def test_an_unreadable_file_is_reported_in_one_line(name, folder):
    done = run("predict", folder / name)
    lines = [line for line in done.stderr.splitlines() if "cannot be scored" in line]
    assert done.returncode == 2
    assert len(lines) == 1
    assert name in lines[0]
    assert "Traceback" not in done.stderr


def test_bad_files_of_a_folder_change_only_the_exit_code(folder, tmp_path):
    done = run("predict", folder, "--json", "--save", tmp_path / "maps")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert len(answers) == 7
    assert sum("error" in answer for answer in answers) == 4
    assert len(list((tmp_path / "maps").iterdir())) == 3


def test_a_missing_model_is_reported_in_one_line(tmp_path):
    done = run("predict", EXAMPLES[0], "--model", tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "the checkpoint has no config.json"


def test_info_names_the_model():
    facts = json.loads(run("info", "--json").stdout)
    assert facts["id"] == "bundled"
    assert len(facts["sha256"]) == 64


def test_a_file_name_cannot_send_commands_to_the_terminal(tmp_path):
    # names with line ends, escape sequences and bytes that are not UTF-8, of an image and of a broken file
    for name in (b"a\n\x1b[31mred.png", b"caf\xe9.png", b"-rf.png"):
        Image.new("RGB", (64, 64)).save(os.path.join(os.fsencode(tmp_path), name).decode("utf-8", "surrogateescape"))
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"bad\x1b[2J\xff.jpg"))).write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    for flags in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-m", "fakedet", "predict", *flags, "--", str(tmp_path)],
                              cwd=ROOT, capture_output=True, timeout=120)  # fmt: skip
        assert done.returncode == 2 and b"Traceback" not in done.stderr, done.stderr
        assert b"\x1b" not in done.stdout + done.stderr.replace(b"\x1b[A", b"")
    assert len(done.stdout.splitlines()) == 6
