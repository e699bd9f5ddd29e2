"""The decoding process of a scan: reads a file, cuts it, and hands on the views alone. See scan.py.

Like decode_worker.py it imports neither torch nor network code, works under limits on memory and computing time, and
answers in JSON and raw bytes.

    question:  length (4 bytes), JSON {bytes (null: `name` is a path), name, limits, provenance, seconds}, the file
    answer:    length (4 bytes), JSON {facts, notes, provenance, size, boxes, mirrored, side} or {code, message}; crops
"""

from __future__ import annotations

import json
import struct
import sys
from types import SimpleNamespace

import numpy as np

from fakedet.images import CorruptImage, ImageError, Limits, open_image
from fakedet.network.views import cut
from fakedet.provenance import read_provenance
from fakedet.sandbox.worker import allow_seconds, confine


def serve(memory_mb: int, config: dict) -> None:
    """Answers on standard output what is asked on standard input, until that ends."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not speak between the answers
    confine(memory_mb)
    answers.write(b"ready")
    answers.flush()
    how = SimpleNamespace(**config)
    while head := questions.read(4):
        question = json.loads(questions.read(struct.unpack(">I", head)[0]))
        source = question["name"] if question["bytes"] is None else questions.read(question["bytes"])
        allow_seconds(question["seconds"])
        row, crops = answer(source, question, how)
        text = json.dumps(row).encode()
        answers.write(struct.pack(">I", len(text)) + text + b"".join(np.ascontiguousarray(crop) for crop in crops))
        answers.flush()


def answer(source: str | bytes, question: dict, config: SimpleNamespace) -> tuple[dict, list[np.ndarray]]:
    """One file's facts and crops, or why it has none."""
    try:
        loaded = open_image(source, Limits(**question["limits"]), question["name"])
        try:
            crops, boxes, mirrored = cut(loaded.image, config)
        except ValueError as error:
            raise CorruptImage(f"This image cannot be scored: {error}.") from None
    except ImageError as error:
        return {"code": error.code, "message": str(error)}, []
    found = None
    if question["provenance"] and loaded.data is not None:
        # without a budget of time: the same file must give the same row on a busy machine
        found = read_provenance(loaded.data, image=loaded.image).to_dict()
    row = {"facts": loaded.facts, "notes": loaded.notes, "provenance": found, "size": loaded.image.size,
           "boxes": boxes, "mirrored": mirrored, "side": len(crops[0])}  # fmt: skip
    return row, crops
