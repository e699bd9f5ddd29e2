"""What a file says about itself: Content Credentials, generator records, camera fields, watermark.

    from fakedet.provenance import join, read_provenance
    provenance = read_provenance(data)                # never raises, whatever the bytes are
    joined = join(verdict, p_fake, provenance)        # the fixed table of `fakedet.provenance.rules`

Metadata are text from a stranger: they can be forged, and their absence proves nothing. Everything is read from the
container's own fields, with caps on size, count and depth; nothing is fetched from a network.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
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
    """Read what an image file says about itself.

    Args:
        data: The file's bytes.
        budget_ms: Milliseconds to spend. It is looked at between the steps, in the order metadata, Content
            Credentials, preview, watermark; a step that would begin later is left out with a note. None: no budget
            (every step is bounded by itself).
        image: The decoded image, where the caller has it: spares a second decoding for watermark and preview.
        trust_anchors: PEM certificates whose signers are trusted; by default the file `FAKEDET_C2PA_TRUST` names.

    Returns:
        The findings. Malformed parts become notes; nothing is raised for any content of `data`.
    """
    started = time.perf_counter()
    notes: list[str] = []

    def attempt(name: str, step: Callable[[], Any], default: Any = None, optional: bool = True) -> Any:
        spent = 1000 * (time.perf_counter() - started)
        if optional and budget_ms is not None and spent > budget_ms:
            notes.append(f"The {name} was not looked at: the time allowed was used up.")
            return default
        try:
            return step()
        except Exception:  # a stranger's bytes, in any library: the other parts still count
            notes.append(f"The {name} could not be read.")
            return default

    data = bytes(data or b"")
    parts = attempt("container", lambda: read_parts(data), Parts(), optional=False)
    exif = attempt("EXIF block", lambda: read_exif(parts.exif), {}, optional=False)
    xmp, fault = attempt("XMP packet", lambda: read_xmp(parts.xmp), ({}, None), optional=False)
    if fault:
        parts.note(fault)
    if "remote_manifest" in xmp and not parts.manifest:
        parts.note("The file names Content Credentials kept elsewhere; nothing is fetched from a network.")
    fields = _fields(parts, exif, xmp)
    generator = attempt("generator record", lambda: find_generator(fields), optional=False)
    c2pa = None
    if parts.manifest:
        c2pa, extra = attempt(
            "Content Credentials", lambda: read_manifest(data, MIME[parts.kind], trust_anchors), (None, [])
        )
        notes += extra
    findings = {
        "c2pa": c2pa,
        "generator": generator,
        "camera": attempt("camera fields", lambda: read_camera(exif, parts, data, image)),
        "jpeg": attempt("JPEG tables", lambda: read_tables(parts), optional=False),
        "watermark": attempt("watermark", lambda: _find_watermark(parts, exif, data, image)),
        "iptc_xmp": _iptc_xmp(parts, xmp),
    }
    found = Provenance(**findings)
    evidence = attempt("evidence", lambda: weigh(found), (), optional=False)
    spent = 1000 * (time.perf_counter() - started)
    return Provenance(**findings, evidence=evidence, notes=(*parts.notes, *notes), ms=spent)


def _fields(parts: Parts, exif: dict[str, Any], xmp: dict[str, str]) -> dict[str, str]:
    """Name every text by its place, as `find_generator` wants them."""
    names = {"creator_tool": "CreatorTool", "user_comment": "UserComment", "software": "Software", "credit": "Credit"}
    family = "JPEG" if parts.kind == "jpeg" else "PNG"
    texts = {f"{family} {key}": value for key, value in parts.texts.items()}
    texts |= {f"EXIF {key}": value for key, value in exif.items() if isinstance(value, str)}
    texts |= {f"XMP {names.get(key, key)}": value for key, value in xmp.items()}
    iptc = {"IPTC Credit": parts.iptc.get(110), "IPTC OriginatingProgram": parts.iptc.get(65)}
    return texts | {key: value for key, value in iptc.items() if value}


def _iptc_xmp(parts: Parts, xmp: dict[str, str]) -> dict[str, Any] | None:
    found = {
        "digital_source_type": source_type(xmp.get("digital_source_type")),
        "creator_tool": clean(xmp.get("creator_tool")) or clean(parts.iptc.get(65)),
        "credit": clean(xmp.get("credit")) or clean(parts.iptc.get(110)),
    }
    return found if any(found.values()) else None


def _find_watermark(
    parts: Parts, exif: dict[str, Any], data: bytes, image: Image.Image | None
) -> dict[str, Any] | None:
    """Look for the watermark where it can have survived: full chroma, a generator's size, few enough pixels."""
    if not (parts.full_chroma and parts.size and _watermark.worth_looking(parts.size)):
        return None
    if image is None or image.size != parts.size or exif.get("Orientation", 1) != 1:  # the stored pixels are wanted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_guarded(data, "PNG", "JPEG", "WEBP")
    return _watermark.find_watermark(image)
