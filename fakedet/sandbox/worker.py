"""The decoding process: reads strangers' files under limits of its own, and writes upright pixels. See decoders.py.

It imports the image and metadata readers only, no network code and no torch, so that it starts in 0.2 s and weighs
40 MB. It answers in JSON and raw bytes: whoever should take it over by a flaw in a C library cannot send the app
anything that would be run there.

    question:  length (4 bytes), JSON {bytes, name, limits, provenance_ms (null: do not read), seconds}, the file
    answer:    length (4 bytes), JSON {facts, notes, provenance, ms} or {code, message}, then RGB pixels row by row
"""

from __future__ import annotations

import json
import math
import struct
import sys
import time
from typing import Any, BinaryIO

from fakedet.images import ImageError, Limits, open_image
from fakedet.provenance import read_provenance

STRIP_BYTES = 2**20  # pixels written at a time


def serve(memory_mb: int) -> None:
    """Answers on standard output what is asked on standard input, until that ends.

    Args:
        memory_mb: Most megabytes of data that this process may hold.
    """
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not speak between the answers
    confine(memory_mb)
    answers.write(b"ready")
    answers.flush()
    while head := questions.read(4):
        question = json.loads(questions.read(struct.unpack(">I", head)[0]))
        answer(question, questions.read(question["bytes"]), answers)


def answer(question: dict[str, Any], data: bytes, answers: BinaryIO) -> None:
    """Reads one file and writes the answer."""
    allow_seconds(question["seconds"])
    began, image = time.perf_counter(), None
    try:
        loaded = open_image(data, Limits(**question["limits"]), question["name"])
        image, ms, found = loaded.image, 1000 * (time.perf_counter() - began), None
        if question["provenance_ms"] is not None:
            found = read_provenance(data, budget_ms=question["provenance_ms"], image=image).to_dict()
        row = {"facts": loaded.facts, "notes": loaded.notes, "provenance": found, "ms": ms}
    except ImageError as error:
        row = {"code": error.code, "message": str(error)}
    del data
    text = json.dumps(row).encode()
    answers.write(struct.pack(">I", len(text)) + text)
    if image is not None:
        rows = strip_rows(image.width)
        for top in range(0, image.height, rows):
            answers.write(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    answers.flush()


def strip_rows(width: int) -> int:
    """How many rows of a picture travel at a time."""
    return max(1, STRIP_BYTES // (3 * width))


def confine(memory_mb: int) -> None:
    """Bounds what this process may use: memory, no files written, no core dumps. Where the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in (("RLIMIT_DATA", memory_mb * 2**20), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        hard = resource.getrlimit(getattr(resource, name))[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(getattr(resource, name), (most, most))


def allow_seconds(seconds: float) -> None:
    """The system ends this process when it has computed for so many seconds more."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
