"""The frames between a parent and its confined workers: lengths are checked, and workers stay light."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from fakedet.sandbox.protocol import WorkerProcess

READY = "import json, struct, sys; text = b'{\"ready\": true}'; out = sys.stdout.buffer; " \
        "out.write(struct.pack('>IQ', len(text), 0) + text); "  # fmt: skip


@pytest.fixture
def worker_of(tmp_path, monkeypatch):
    """Starts a worker whose `main` is the code given."""
    monkeypatch.syspath_prepend(tmp_path)

    def start(code: str) -> WorkerProcess:
        (tmp_path / "odd_worker.py").write_text("def main():\n" + textwrap.indent(code, "    "))
        return WorkerProcess("odd_worker", {})

    return start


def test_a_request_and_its_payload_come_back(worker_of):
    worker = worker_of(
        "from fakedet.sandbox.protocol import serve\n"
        "serve(lambda header, payload: (header, 2 * len(payload), [payload, payload]), 500)\n"
    )
    worker.send({"name": "a", "seconds": 5}, b"bytes")
    header, size = worker.receive_header()
    assert (header["name"], bytes(worker.receive(size))) == ("a", b"bytesbytes")


@pytest.mark.parametrize(
    "reply", ["struct.pack('>IQ', 2**31, 0)", "struct.pack('>IQ', 2, 0) + b'[]'", "struct.pack('>IQ', 2, 0) + b'{['"]
)
def test_a_header_that_makes_no_sense_is_refused(worker_of, reply):
    worker = worker_of(READY + f"out.write({reply}); out.flush(); sys.stdin.read()\n")
    with pytest.raises(ValueError):
        worker.receive_header()


def test_a_reply_that_ends_early_is_an_end_of_file(worker_of):
    worker = worker_of(READY + "out.write(struct.pack('>IQ', 100, 0) + b'{'); out.flush()\n")
    with pytest.raises(EOFError):
        worker.receive_header()


@pytest.mark.parametrize("code", ["pass\n", "print('hello, this is a banner')\n"])
def test_a_worker_that_does_not_say_ready_does_not_start(worker_of, code):
    with pytest.raises(RuntimeError, match="does not start"):
        worker_of(code)


@pytest.mark.parametrize(
    ("module", "options"),
    [("fakedet.sandbox.worker", {"memory_mb": 500}), ("fakedet.scan.worker", {"memory_mb": 500, "config": {}})],
)
def test_workers_do_not_load_torch(module, options):
    worker = WorkerProcess(module, options)
    assert "torch" not in Path(f"/proc/{worker.process.pid}/maps").read_text()
