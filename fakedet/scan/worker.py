"""The decoding worker of a scan: reads one file per request, cuts it, and replies with the crops alone.

request:  {name, is_path (true: the file is read from `name`), limits, provenance (bool), seconds}; payload: the file
reply:    {facts, notes, provenance, size, boxes, mirrored, kept, side}, payload: the crops; or {code, message} without
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fakedet.images import CorruptImage, ImageError, Limits, open_image
from fakedet.network.views import cut
from fakedet.provenance import read_provenance
from fakedet.sandbox.protocol import Reply, serve


def main(memory_mb: int, config: dict[str, Any]) -> None:
    """Serve until the parent closes the pipe; `config` holds what `views.cut` reads."""
    settings = SimpleNamespace(**config)
    serve(lambda request, data: decode(request, data, settings), memory_mb)


def decode(request: dict[str, Any], data: bytes, config: SimpleNamespace) -> Reply:
    """Decode and cut one file."""
    source = request["name"] if request["is_path"] else data
    try:
        loaded = open_image(source, Limits(**request["limits"]), request["name"])
        try:
            crops, boxes, mirrored, kept = cut(loaded.image, config)
        except ValueError as error:
            raise CorruptImage(f"This image cannot be scored: {error}.") from None
    except ImageError as error:
        return {"code": error.code, "message": str(error)}, 0, ()
    provenance = None
    if request["provenance"] and loaded.data is not None:
        # without a time budget: the same file must give the same row on a busy machine
        provenance = read_provenance(loaded.data, image=loaded.image).to_dict()
    header = {
        "facts": loaded.facts,
        "notes": loaded.notes,
        "provenance": provenance,
        "size": loaded.image.size,
        "boxes": boxes,
        "mirrored": mirrored,
        "kept": kept,
        "side": len(crops[0]),
    }
    return header, sum(crop.nbytes for crop in crops), (np.ascontiguousarray(crop).data for crop in crops)
