"""Provenance of an image file: Content Credentials, generator records, camera fields, watermark.

    from fakedet.provenance import join, read_provenance
    provenance = read_provenance(data)                # never raises, whatever the bytes are
    joined = join(verdict, p_fake, provenance)        # the fixed table of `fakedet.provenance.rules`

Metadata are untrusted text: they can be forged, and their absence proves nothing. They are read from the container's
own fields only, with limits on size, count and depth. Nothing is fetched from a network.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image

from fakedet.images import open_guarded

from . import watermark as _watermark
from .c2pa import read_manifest, source_type
from .camera import read_camera, read_tables
from .containers import MIME, read_parts
from .evidence import weigh
from .exif import read_exif
from .generators import find_generator
from .parts import Parts
from .record import Evidence, Joined, Provenance, clean
from .rules import join
from .xmp import read_xmp

__all__ = ["Evidence", "Joined", "Provenance", "join", "read_provenance"]


def read_provenance(
    data: bytes,
    *,
    budget_ms: int | None = None,
    image: Image.Image | None = None,
    trust_anchors: str | None = None,
) -> Provenance:
    """Read the provenance of an image file.

    Args:
        data: The file's bytes.
        budget_ms: Milliseconds to spend. Content Credentials, preview and watermark, in this order, are left out with a
            note where they would begin later. None: no budget (every step has its own limits).
        image: The decoded image, where the caller has it: saves a second decoding for watermark and preview.
        trust_anchors: PEM certificates whose signers are trusted; by default the file `FAKEDET_C2PA_TRUST` names.

    Returns:
        The provenance. Malformed parts become notes; no content of `data` raises an exception.
    """
    steps = _Steps(budget_ms)
    data = bytes(data or b"")
    parts = steps.run("container", lambda: read_parts(data), Parts(), optional=False)
    exif = steps.run("EXIF block", lambda: read_exif(parts.exif), {}, optional=False)
    xmp, fault = steps.run("XMP packet", lambda: read_xmp(parts.xmp), ({}, None), optional=False)
    if fault:
        parts.note(fault)
    if "remote_manifest" in xmp and not parts.manifest:
        parts.note("The file names remote Content Credentials; nothing is fetched from a network.")
    fields = _fields(parts, exif, xmp)
    generator = steps.run("generator record", lambda: find_generator(fields), optional=False)
    c2pa, c2pa_notes = None, []
    if parts.manifest:
        c2pa, c2pa_notes = steps.run(
            "Content Credentials", lambda: read_manifest(data, MIME[parts.kind], trust_anchors), (None, [])
        )
    steps.notes += c2pa_notes
    provenance = Provenance(
        c2pa=c2pa,
        generator=generator,
        camera=steps.run("camera fields", lambda: read_camera(exif, parts, data, image)),
        jpeg=steps.run("JPEG tables", lambda: read_tables(parts), optional=False),
        watermark=steps.run("watermark", lambda: _find_watermark(parts, exif, data, image)),
        iptc_xmp=_iptc_xmp(parts, xmp),
    )
    evidence = steps.run("evidence", lambda: weigh(provenance), (), optional=False)
    return replace(provenance, evidence=evidence, notes=(*parts.notes, *steps.notes), ms=steps.spent_ms())


class _Steps:
    """Runs the steps of a reading so that none of them fails the others.

    Args:
        budget_ms: Milliseconds after which optional steps are left out; None: no limit.
    """

    def __init__(self, budget_ms: int | None):
        self.budget_ms, self.notes = budget_ms, []
        self._started = time.perf_counter()

    def spent_ms(self) -> float:
        return 1000 * (time.perf_counter() - self._started)

    def run(self, name: str, step: Callable[[], Any], default: Any = None, optional: bool = True) -> Any:
        """Return the result of `step`, or `default` and a note where it fails or comes too late."""
        if optional and self.budget_ms is not None and self.spent_ms() > self.budget_ms:
            self.notes.append(f"The {name} was not checked: the time budget was used up.")
            return default
        try:
            return step()
        except Exception:  # untrusted bytes may raise anything in any library: the other parts still count
            self.notes.append(f"The {name} could not be read.")
            return default


def _fields(parts: Parts, exif: dict[str, Any], xmp: dict[str, str]) -> dict[str, str]:
    """Return every text by its place, as `find_generator` expects them."""
    names = {"creator_tool": "CreatorTool", "user_comment": "UserComment", "software": "Software", "credit": "Credit"}
    family = "JPEG" if parts.kind == "jpeg" else "PNG"
    texts = {f"{family} {key}": value for key, value in parts.texts.items()}
    texts |= {f"EXIF {key}": value for key, value in exif.items() if isinstance(value, str)}
    texts |= {f"XMP {names.get(key, key)}": value for key, value in xmp.items()}
    iptc = {"IPTC Credit": parts.iptc.get(110), "IPTC OriginatingProgram": parts.iptc.get(65)}
    return texts | {key: value for key, value in iptc.items() if value}


def _iptc_xmp(parts: Parts, xmp: dict[str, str]) -> dict[str, Any] | None:
    fields = {
        "digital_source_type": source_type(xmp.get("digital_source_type")),
        "creator_tool": clean(xmp.get("creator_tool")) or clean(parts.iptc.get(65)),
        "credit": clean(xmp.get("credit")) or clean(parts.iptc.get(110)),
    }
    return fields if any(fields.values()) else None


def _find_watermark(
    parts: Parts, exif: dict[str, Any], data: bytes, image: Image.Image | None
) -> dict[str, Any] | None:
    """Search for the watermark where it can have survived: full chroma, a generator's size, few enough pixels."""
    if not (parts.full_chroma and parts.size and _watermark.worth_looking(parts.size)):
        return None
    if (
        image is None or image.size != parts.size or exif.get("Orientation", 1) != 1
    ):  # the watermark is in the stored pixels
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_guarded(data, "PNG", "JPEG", "WEBP")
    return _watermark.find_watermark(image)
