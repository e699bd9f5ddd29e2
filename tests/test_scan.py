"""`python -m fakedet scan`: one row per picture whatever happens, and the same table however it was made."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_stand_in import Hub
from PIL import Image

from fakedet import Detector
from fakedet.images import Limits
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.views import CUT_KEYS
from fakedet.scan import readers as scan_readers
from fakedet.scan.run import scan
from fakedet.scan.sources import SourceError, find_source
from fakedet.scan.table import KINDS, PART_ROWS

ROOT = Path(__file__).resolve().parents[1]
SCAN = [sys.executable, "-m", "fakedet", "scan"]


def draw(folder: Path, count: int, side: int = 40, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png", compress_level=1)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """Pictures of several shapes, and one of each kind of unreadable file."""
    folder = draw(tmp_path_factory.mktemp("few") / "pictures", 5)
    Image.new("RGB", (300, 200), (90, 120, 60)).save(folder / "0002b.jpg")
    (folder / "0001b.jpg").write_bytes(b"")
    (folder / "0003b.png").write_text("this is not an image")
    (folder / "0004b.png").write_bytes((folder / "0004.png").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("many") / "pictures", 2 * PART_ROWS + 50)


@pytest.fixture(scope="module")
def whole(many, tmp_path_factory) -> pa.Table:
    """The table of `many` from one process without interruption."""
    output = tmp_path_factory.mktemp("whole") / "t.parquet"
    assert subprocess.run([*SCAN, many, "--output", output], cwd=ROOT, timeout=300).returncode == 0
    return pq.read_table(output)


def test_rows_are_the_verdicts_in_the_order_of_the_files(few, tmp_path):
    detector = Detector.from_pretrained(early_exit=True)
    scan(str(few), tmp_path / "t.parquet")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [Path(row["file"]).name for row in rows] == sorted(path.name for path in few.iterdir())
    assert list(rows[0]) == list(KINDS) and not (tmp_path / "t.parquet.parts").exists()
    for row in rows:
        if row["error_code"] is None:
            answer = detector.predict(row["file"]).to_dict()
            assert row["p_fake"] == pytest.approx(answer["p_fake"], abs=1e-6) and row["verdict"] == answer["verdict"]
            assert row["sha256"] == answer["image"]["sha256"] and row["views"] == answer["views"]
            assert json.loads(row["notes"]) == answer["notes"]
    codes = {Path(row["file"]).name: row["error_code"] for row in rows if row["error_code"]}
    assert codes == {"0001b.jpg": "empty_input", "0003b.png": "unsupported_format", "0004b.png": "corrupt_image"}
    assert all(row["error_message"] and row["p_fake"] is None for row in rows if row["error_code"])


def test_the_three_formats_hold_the_same(few, tmp_path):
    for ending in ("parquet", "jsonl", "csv"):
        scan(str(few), tmp_path / f"t.{ending}")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == rows
    with (tmp_path / "t.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["file"] for row in table] == [row["file"] for row in rows]
    assert [float(row["logit"]) for row in table if row["logit"]] == [
        r["logit"] for r in rows if r["logit"] is not None
    ]


def test_every_kind_of_source_gives_the_same_scores(few, tmp_path):
    files = sorted(few.iterdir())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in files:
            archive.write(path, f"in/{path.name}")
        archive.writestr("in/notes.txt", "left out")
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(tmp_path / f"a.{ending}", mode) as archive:
            for path in files:
                archive.add(path, path.name)
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    pq.write_table(pa.table({"label": [0] * len(files), "image": images}), tmp_path / "a.parquet", row_group_size=4)
    scan(str(few), tmp_path / "t.parquet")
    expected = pq.read_table(tmp_path / "t.parquet").drop_columns(["file", "error_message"])
    for source in (f"{few}/*", tmp_path / "a.zip", tmp_path / "a.tar", tmp_path / "a.tar.gz", tmp_path / "a.parquet"):
        output = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        scan(str(source), output)
        assert pq.read_table(output).drop_columns(["file", "error_message"]).equals(expected), source


@pytest.mark.integration
def test_a_hub_data_set_is_read_by_its_id(few, tmp_path):
    # Pushed by the real client to a stand-in, scanned by the command: the same rows as from the folder.
    good = [str(path) for path in sorted(few.glob("000?.png"))]
    push = ("import datasets, sys; data = datasets.Dataset.from_dict({'image': sys.argv[1:]}); "
            "data.cast_column('image', datasets.Image()).push_to_hub('lab/pictures')")  # fmt: skip
    with Hub() as hub:
        environment = os.environ | hub.environment(tmp_path / "home")
        pushed = subprocess.run(
            [sys.executable, "-c", push, *good], env=environment, capture_output=True, text=True, timeout=300
        )
        assert pushed.returncode == 0, pushed.stderr
        command = [*SCAN, "lab/pictures", "--output", tmp_path / "t.parquet"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["file"] for row in rows] == [f"lab/pictures/train#{number}" for number in range(len(good))]
    with Image.open(good[1]) as picture:
        assert (rows[1]["width"], rows[1]["height"]) == picture.size
    assert rows[1]["sha256"] == hashlib.sha256(Path(good[1]).read_bytes()).hexdigest()


@pytest.mark.integration
def test_a_killed_scan_goes_on_and_gives_the_identical_table(many, whole, tmp_path):
    output = tmp_path / "t.parquet"
    process = subprocess.Popen([*SCAN, many, "--output", output], cwd=ROOT, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while not (tmp_path / "t.parquet.parts" / "000000.parquet").exists():
        assert process.poll() is None and time.monotonic() - began < 240
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    again = subprocess.run([*SCAN, many, "--output", output], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 2 and "--resume" in again.stderr and "Traceback" not in again.stderr
    done = scan(str(many), output, resume=True)
    assert 0 < done["rows"] < len(whole) and pq.read_table(output).equals(whole)
    assert scan(str(many), output, resume=True)["rows"] == 0, "a finished scan has nothing left to do"


@pytest.mark.integration
def test_two_processes_make_the_table_of_one(many, whole, tmp_path):
    two = ["--config_file", "examples/accelerate/two_cpu_processes.yaml"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *two, "-m", "fakedet", "scan"]
    env = os.environ | {"ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*command, many, "--output", tmp_path / "t.parquet"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert pq.read_table(tmp_path / "t.parquet").equals(whole)
    assert done.stdout.count("images/s") == 2, "each process scores a part"


def test_the_batch_size_changes_nothing(few, tmp_path):
    scan(str(few), tmp_path / "a.parquet", batch_size=1, workers=1)
    scan(str(few), tmp_path / "b.parquet", batch_size=7, workers=3)
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))


def test_a_picture_that_kills_its_decoder_is_one_row(tmp_path, monkeypatch):
    # The process ends without an answer, twice, as a flaw in a C library would end it.
    folder = draw(tmp_path / "pictures", 6)
    config = {key: getattr(FakeDetConfig(input_size=64), key) for key in CUT_KEYS}
    pool = scan_readers.DecodePool(2, config, Limits(), True, prefetch=8)

    class Killing(scan_readers.ScanWorker):
        def decode(self, item, limits, provenance):
            if item[0].endswith("0003.png"):
                self.process.kill()
            return super().decode(item, limits, provenance)

    monkeypatch.setattr(scan_readers, "ScanWorker", Killing)
    replies = list(pool.read(find_source(str(folder)).items(lambda _: True)))
    assert [number for number, *_ in replies] == list(range(6))
    codes = [answer.get("code") for _, _, answer, _ in replies]
    assert codes == [None, None, None, "corrupt_image", None, None] and "gave up" in replies[3][2]["message"]


@pytest.mark.parametrize(
    "source, output, message",
    [("nothing/here/at all", "t.parquet", "no images"), (".", "t.txt", "--output must end in"),
     ("notes.zip", "t.csv", "neither")],
)  # fmt: skip
def test_what_cannot_be_scanned_is_told_in_one_sentence(source, output, message, tmp_path):
    (tmp_path / "notes.zip").write_text("no archive")
    with pytest.raises(SourceError, match=message):
        scan(str(tmp_path / source), tmp_path / output)


def test_a_table_that_is_there_is_not_overwritten_and_another_scan_is_not_continued(few, tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(SourceError, match="is there already"):
        scan(str(few), tmp_path / "t.csv")
    (tmp_path / "u.csv.parts").mkdir()
    (tmp_path / "u.csv.parts" / "plan.json").write_text(json.dumps({"source": "another"}))
    with pytest.raises(SourceError, match="differs in: source"):
        scan(str(few), tmp_path / "u.csv", resume=True)
    assert (tmp_path / "t.csv").read_text() == "mine"
    shutil.rmtree(tmp_path / "u.csv.parts")
