"""Decoding in worker processes: the same pixels, and a fault of a decoder costs one answer."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from seeds import chunk, encoded, picture, seeds

from fakedet.images import CorruptImage, ImageError, Limits, TooManyBytes, open_image
from fakedet.provenance import read_provenance
from fakedet.sandbox.decoders import Decoders, DecodeTimeout


@pytest.fixture(scope="module")
def pool():
    """Two decoders with the app's defaults."""
    decoders = Decoders(2, Limits(), provenance_ms=5000, clock_seconds=120)
    yield decoders
    decoders.close()


def heavy_png(side: int = 8000, alpha: bool = False) -> bytes:
    """Return 64 megapixels in a few kilobytes: allowed, and with transparency over a second of work."""
    row = zlib.compressobj(1)
    data = b"".join(row.compress(bytes(1 + (4 if alpha else 3) * side)) for _ in range(side)) + row.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 6 if alpha else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND")


def test_every_format_comes_back_as_this_process_would_read_it(pool):
    # the score may not depend on where the picture was decoded
    for name, data in seeds().items():
        here, there = open_image(data), pool.load(data)
        assert np.array_equal(np.asarray(here.image), np.asarray(there.image)), name
        assert (here.facts, here.notes) == (there.facts, there.notes), name
        expected = read_provenance(data, image=here.image).to_dict() | {"ms": 0}
        assert there.provenance.to_dict() | {"ms": 0} == expected, name


def test_refusals_keep_their_type_and_the_file_name(pool, tmp_path):
    (tmp_path / "cut.png").write_bytes(encoded(picture(), "PNG")[:90])
    with pytest.raises(CorruptImage, match=r"^cut\.png is cut short"):
        pool.load(tmp_path / "cut.png")
    with pytest.raises(TooManyBytes):
        Decoders(1, Limits(max_bytes=10)).load(b"\xff\xd8\xff" * 10)
    for data, code in ((b"", "empty_input"), (b"words", "unsupported_format"), (heavy_png(8001), "too_many_pixels")):
        with pytest.raises(ImageError) as caught:
            pool.load(data)
        assert caught.value.code == code


def test_a_picture_that_computes_too_long_is_refused_and_the_next_one_answered():
    pool = Decoders(1, Limits(), seconds=0.01, clock_seconds=120)  # the system counts whole seconds of computing
    with pytest.raises(CorruptImage, match="takes longer than"):
        for _ in range(5):
            pool.load(heavy_png(alpha=True))
    assert pool.load(encoded(picture(), "PNG")).image.size == (40, 24)


def test_a_clock_that_runs_out_is_the_machines_fault_and_not_the_pictures():
    pool = Decoders(1, Limits())
    pool.load(encoded(picture(), "PNG"))
    with pytest.raises(DecodeTimeout):
        pool.load(heavy_png(), left=0.05)
    assert pool.load(encoded(picture(), "PNG")).image.size == (40, 24)


def test_a_picture_that_needs_too_much_memory_is_refused():
    pool = Decoders(1, Limits(), memory_mb=300, clock_seconds=120)
    with pytest.raises(CorruptImage, match=r"memory|gave up"):
        pool.load(heavy_png())
    assert pool.load(encoded(picture(), "PNG")).image.size == (40, 24)


def test_a_decoder_that_dies_is_replaced_while_others_go_on(pool):
    # as a flaw in a C library would end it
    data, answers = encoded(picture(), "PNG"), []
    pool.load(data)
    for decoder in list(pool._idle.queue):
        if decoder is not None:
            os.kill(decoder.process.pid, signal.SIGSEGV)
    threads = [threading.Thread(target=lambda: answers.append(pool.load(data).image.size)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [(40, 24)] * 8


def test_decoders_end_with_the_pool_and_hold_no_secrets(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pool = Decoders(1, Limits())
    pool.load(encoded(picture(), "PNG"))
    process = pool._idle.queue[0].process
    assert b"hf_secret" not in open(f"/proc/{process.pid}/environ", "rb").read()
    pool.close()
    assert process.returncode is not None


def test_a_decoder_ends_when_the_app_is_gone():
    # a killed app leaves no processes behind
    pool = Decoders(1, Limits())
    pool.load(encoded(picture(), "PNG"))
    process = pool._idle.queue[0].process
    process.stdin.close()
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.returncode == 0
