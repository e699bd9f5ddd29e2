"""Scoring by batches inside an engine: the rows of a scan from Ray, datasets and Spark's kind of call."""

import contextlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, photo_like
from process_stats import family

from fakedet.scan.batch import SPARK_SCHEMA, BatchScorer
from fakedet.scan.sources import SourceError
from fakedet.scan.table import KINDS, schema

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of several shapes, and one of each kind of unreadable file."""
    folder = tmp_path_factory.mktemp("batch") / "pictures"
    folder.mkdir()
    for number in range(60):
        size = ((300, 200), (640, 300), (40, 40))[number % 3]
        photo_like(*size, seed=number).save(folder / f"{number:03d}.jpg", quality=90)
    (folder / "100.jpg").write_bytes(b"")
    (folder / "101.png").write_text("this is not an image")
    (folder / "102.jpg").write_bytes((folder / "000.jpg").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory) -> pa.Table:
    """The table of `python -m fakedet scan`."""
    output = tmp_path_factory.mktemp("scan") / "t.parquet"
    command = [sys.executable, "-m", "fakedet", "scan", folder, "--output", output]
    assert subprocess.run(command, cwd=ROOT, timeout=600).returncode == 2, "some files cannot be scored"
    return pq.read_table(output)


def paths(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.iterdir())]


def stored(folder: Path) -> list[dict]:
    """The pictures as `datasets` stores them."""
    return [{"bytes": Path(path).read_bytes(), "path": path} for path in paths(folder)]


def test_paths_bytes_and_stored_images_give_the_rows_of_a_scan(folder, expected):
    files, data = paths(folder), [image["bytes"] for image in stored(folder)]
    by_path = BatchScorer("path")({"path": files})
    assert by_path.equals(expected)
    batch = {"content": np.array(data, dtype=object), "name": np.array(files)}
    assert BatchScorer("content", name_column="name")(batch).equals(expected)
    record_batch = pa.RecordBatch.from_pydict({"image": stored(folder)})
    (scored,) = BatchScorer("image").each(iter([record_batch]))
    assert isinstance(scored, pa.RecordBatch)
    assert pa.Table.from_batches([scored]).equals(expected)


def test_it_travels_to_a_worker_before_and_after_its_first_batch(folder, expected):
    scorer = BatchScorer("path")
    size = len(pickle.dumps(scorer))
    for _ in range(2):
        scorer = pickle.loads(pickle.dumps(scorer))
        assert scorer({"path": paths(folder)[:3]}).equals(expected.slice(0, 3))
        assert len(pickle.dumps(scorer)) == size < 2000


def test_what_is_missing_is_a_row_and_other_columns_are_kept(folder, tmp_path):
    batch = pa.table({"id": [7, 8, 9], "path": [paths(folder)[0], str(tmp_path / "none.jpg"), None]})
    scored = BatchScorer("path", keep=["id"])(batch)
    assert scored.column_names == ["id", *KINDS]
    assert scored["id"].to_pylist() == [7, 8, 9]
    assert scored["error_code"].to_pylist() == [None, "not_found", "empty_input"]
    assert scored["error_message"].to_pylist()[1:] == ["none.jpg does not exist.", "The image is empty."]
    assert BatchScorer("path")(batch.slice(0, 0)).equals(schema().empty_table())


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda: BatchScorer("picture"), "no column picture, but image"),
        (lambda: BatchScorer("image"), r"holds float, .*Image\(decode=False\)"),
        (lambda: BatchScorer("image", keep=["width"]), "names of the result: width"),
    ],
)
def test_a_wrong_column_is_told_in_one_sentence(scorer, message):
    with pytest.raises(SourceError, match=message):
        scorer()({"image": [1.5]})


def test_the_columns_for_spark_are_those_of_the_table():
    kinds = {"string": pa.string(), "double": pa.float64(), "bigint": pa.int64()}
    fields = [column.split() for column in SPARK_SCHEMA.split(", ")]
    assert pa.schema([(name, kinds[kind]) for name, kind in fields]) == schema()


def example(name: str, *arguments) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]


@pytest.mark.integration
def test_datasets_map_scores_a_parquet_file_in_two_processes(folder, expected, tmp_path):
    pq.write_table(pa.table({"id": range(len(paths(folder))), "image": stored(folder)}), tmp_path / "in.parquet")
    command = example("datasets_map.py", tmp_path / "in.parquet", tmp_path / "out.parquet", "--num_proc", 2)
    environment = ENVIRONMENT | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    scored = pq.read_table(tmp_path / "out.parquet")
    assert scored["id"].to_pylist() == list(range(len(scored)))
    assert scored.drop_columns(["id"]).replace_schema_metadata().equals(expected)


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        machine = {"num_cpus": 4, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=machine)
        try:
            cluster.add_node(**machine)
            yield cluster
        finally:
            cluster.shutdown()


def decodes(pid: int) -> bool:
    """Whether a process below this one decodes pictures for a `BatchScorer`."""
    for child in family(pid):
        with contextlib.suppress(OSError):
            if b"fakedet.scan.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return True
    return False


@pytest.mark.integration
def test_ray_reads_parquet_and_hands_columns_on(folder, expected, cluster, tmp_path):
    images = pa.array(stored(folder)[-5:])
    pq.write_table(pa.table({"id": range(5), "other": ["x"] * 5, "image": images}), tmp_path / "in.parquet")
    source, output = (f"file://{tmp_path}/{name}" for name in ("in.parquet", "out"))
    command = example("ray_scan.py", source, output, "--keep", "id", "--workers", 1)
    done = subprocess.run(
        [*command, "--address", cluster.address], env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    scored = pq.read_table(tmp_path / "out").sort_by("id")
    assert scored["id"].to_pylist() == list(range(5))
    assert scored.drop_columns(["id"]).equals(expected.slice(len(expected) - 5))


@pytest.mark.slow  # a minute of Ray; and the kill must fall into the scan, which a busy machine does not promise
@pytest.mark.integration
def test_ray_gives_the_table_of_a_scan_although_a_machine_is_lost(folder, expected, cluster, tmp_path):
    (second,) = cluster.worker_nodes
    with (tmp_path / "log").open("w") as log:
        command = example("ray_scan.py", folder, tmp_path / "out", "--address", cluster.address, "--workers", 4)
        process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=log, stderr=log)
        (raylet,) = second.all_processes["raylet"]
        began = time.monotonic()
        while not decodes(raylet.process.pid):
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() - began < 300
            time.sleep(0.02)
        cluster.remove_node(second, allow_graceful=False)
        assert process.poll() is None, "the machine was lost in the middle"
        assert process.wait(600) == 0, (tmp_path / "log").read_text()[-3000:]
    assert pq.read_table(tmp_path / "out").sort_by("file").equals(expected)


@pytest.mark.integration
def test_ray_does_not_add_to_a_table_that_is_there(folder, tmp_path):
    (tmp_path / "rows.parquet").write_text("mine")
    done = subprocess.run(
        example("ray_scan.py", folder, tmp_path), env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{tmp_path} is there already and not empty; name another OUTPUT."]


@pytest.mark.integration
def test_without_ray_the_example_names_the_extra(tmp_path):
    code = f"import sys; sys.modules['ray'] = None; import runpy; sys.argv = ['ray_scan.py', 'a', 'b']; " \
           f"runpy.run_path({str(ROOT / 'examples' / 'ray_scan.py')!r}, run_name='__main__')"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["ray_scan.py needs Ray, which is not installed: pip install 'fakedet[scale]'"]
