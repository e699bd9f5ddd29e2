"""The worker of `decoders.py`: reads one untrusted file per request and replies with upright pixels.

request:  {name, limits, provenance_ms (null: do not read provenance), seconds}; payload: the file
reply:    {facts, notes, provenance, ms}, payload: RGB pixels row by row; or {code, message} without payload
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from PIL import Image

from fakedet.images import ImageError, Limits, open_image
from fakedet.provenance import read_provenance

from .protocol import Reply, serve

_STRIP_BYTES = 2**20  # pixels written at a time


def main(memory_mb: int) -> None:
    """Serve until the parent closes the pipe."""
    serve(decode, memory_mb)


def decode(request: dict[str, Any], data: bytes) -> Reply:
    """Decode one file."""
    began = time.perf_counter()
    try:
        loaded = open_image(data, Limits(**request["limits"]), request["name"])
    except ImageError as error:
        return {"code": error.code, "message": str(error)}, 0, ()
    image, ms, provenance = loaded.image, 1000 * (time.perf_counter() - began), None
    if request["provenance_ms"] is not None:
        provenance = read_provenance(data, budget_ms=request["provenance_ms"], image=image).to_dict()
    header = {"facts": loaded.facts, "notes": loaded.notes, "provenance": provenance, "ms": ms}
    return header, 3 * image.width * image.height, (strip.tobytes() for strip in _strips(image))


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    rows = strip_rows(image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def strip_rows(width: int) -> int:
    """Return how many rows of a picture of this width are sent or pasted at a time."""
    return max(1, _STRIP_BYTES // (3 * width))
