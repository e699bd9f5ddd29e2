"""Metadata blocks of a file: PNG chunks, JPEG segments, WebP chunks, ISO boxes. Pixels are not decoded.

The readers follow the container's own structure and stop where the picture ends, so a marker behind the image or inside
the compressed pixels is ignored. Pillow reads the same fields, but a hostile file can make it spend unlimited time and
memory (an IFD whose 5000 entries all point at the same bytes costs hundreds of megabytes at `Image.open`). These
readers have limits. The libraries for HEIC and AVIF locate the items of those formats.

Sources: PNG 3rd edition (W3C), JPEG (ITU-T T.81 annex B), EXIF 3.0 (CIPA DC-008), the WebP container specification,
ISO/IEC 14496-12, IPTC IIM 4.2, C2PA 2.2 appendix A (where a manifest is embedded).
"""

from __future__ import annotations

import io
import struct
import zlib

from fakedet.images import open_guarded
from fakedet.images.guards import inspect

from .exif import read_ifd
from .jpeg import read_jpeg
from .parts import EXIF, MAX_CHUNKS, MAX_TEXT_BYTES, MAX_TOTAL_TEXT_BYTES, Parts, decode

C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")

MIME = {kind: f"image/{kind}" for kind in ("jpeg", "png", "webp", "tiff", "heif", "avif", "gif")}


def read_parts(data: bytes) -> Parts:
    """Find the metadata blocks of an image file. Never raises on malformed input; see `Parts.notes`."""
    parts = Parts(kind=kind_of(data))
    reader = {
        "png": _png, "jpeg": read_jpeg, "webp": _webp, "tiff": _tiff, "heif": _heif, "avif": _avif,
    }.get(parts.kind)  # fmt: skip
    if reader is None:
        return parts
    try:
        reader(data, parts)
    except Exception:  # untrusted bytes may raise anything: what was read so far is kept
        parts.note(f"The {parts.kind.upper()} structure is broken; the rest was not read.")
    for name in ("exif", "xmp"):
        if len(getattr(parts, name)) > MAX_TEXT_BYTES and parts.kind != "tiff":  # a TIFF file is its own EXIF block
            setattr(parts, name, b"")
            parts.note(f"The {name.upper()} block is larger than 1 MiB and was not read.")
    parts.exif = parts.exif.removeprefix(EXIF)
    return parts


def kind_of(data: bytes) -> str:
    """Return the container's name by its first bytes, or an empty string."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if data[:4] == b"GIF8":
        return "gif"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(8 + 64, int.from_bytes(data[:4], "big"))]
        return "avif" if b"avi" in brands else "heif" if b"hei" in brands or b"mif1" in brands else ""
    return ""


def _png(data: bytes, parts: Parts) -> None:
    parts.lossless = parts.full_chroma = True
    at, total = 8, 0
    for _ in range(MAX_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, at)
        body, end = at + 8, at + 8 + length
        if end + 4 > len(data):
            parts.note("The PNG file ends inside a chunk.")
            return
        if name == b"IEND":
            return
        if name == b"IHDR":
            parts.size = struct.unpack_from(">II", data, body)
        elif name == b"caBX":
            parts.manifest = True
        elif name in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            raw = data[body : min(end, body + MAX_TEXT_BYTES + 1)]
            if length > MAX_TEXT_BYTES or total > MAX_TOTAL_TEXT_BYTES:
                parts.note("A PNG text is larger than 1 MiB and was not read.")
            elif zlib.crc32(raw, zlib.crc32(name)) != int.from_bytes(data[end : end + 4], "big"):
                parts.note("A PNG text chunk fails its checksum and was not read.")
            elif name == b"eXIf":
                parts.exif = raw
            else:
                total += _png_text(name, raw, parts)
        at = end + 4
    parts.note("The PNG file has too many chunks; the rest was not read.")


def _png_text(name: bytes, raw: bytes, parts: Parts) -> int:
    key, _, rest = raw.partition(b"\0")
    second, packed = "latin-1", name == b"zTXt"
    if packed:
        rest = rest[1:]
    if name == b"iTXt":
        packed, second = rest[:1] == b"\1", None
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # language tag, translated keyword
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, MAX_TEXT_BYTES + 1)
        except zlib.error:
            parts.note("A compressed PNG text cannot be unpacked.")
            return MAX_TEXT_BYTES  # unpacking may have cost as much
        if len(rest) > MAX_TEXT_BYTES:
            parts.note("A compressed PNG text unpacks to more than 1 MiB and was not read.")
            return len(rest)
    key = key[:79].decode("latin-1")
    if key == "XML:com.adobe.xmp":
        parts.xmp = rest
    elif len(parts.texts) < 64:
        # Some tools write UTF-8 into tEXt, where the specification wants Latin-1.
        parts.texts.setdefault(key, decode(rest, "utf-8", second))
    return len(rest)


def _webp(data: bytes, parts: Parts) -> None:
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    if end == len(data) < 8 + int.from_bytes(data[4:8], "little"):
        parts.note("The WebP file is cut short.")
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > end:
            return
        name, size = struct.unpack_from("<4sI", data, at)
        body, at = data[at + 8 : min(at + 8 + size, end)], at + 8 + size + size % 2
        if name == b"EXIF":
            parts.exif = body
        elif name == b"XMP ":
            parts.xmp = body
        elif name == b"C2PA":
            parts.manifest = True
        elif name == b"VP8X":
            parts.size = (1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little"))
        elif name == b"VP8 ":
            parts.size = parts.size or tuple(v & 0x3FFF for v in struct.unpack_from("<HH", body, 6))
        elif name == b"VP8L":
            parts.lossless = parts.full_chroma = True
            packed = int.from_bytes(body[1:5], "little")
            parts.size = parts.size or (1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF))
    parts.note("The WebP file has too many chunks; the rest was not read.")


def _tiff(data: bytes, parts: Parts) -> None:
    parts.exif, ifd = data, {}
    ifd = read_ifd(data, int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big"))
    parts.size = (ifd.get(0x100), ifd.get(0x101)) if 0x100 in ifd and 0x101 in ifd else None
    parts.xmp = ifd[700] if isinstance(ifd.get(700), bytes) else b""
    parts.manifest = 0xCD41 in ifd


def _heif(data: bytes, parts: Parts) -> None:
    parts.manifest = _has_manifest_box(data)
    try:
        import pillow_heif
    except ImportError:
        parts.note("HEIC metadata was not read: pip install pillow-heif.")
        return
    inspect(data, "HEIF")
    image = pillow_heif.open_heif(io.BytesIO(data))
    parts.size, info = image.size, image.info
    parts.exif, parts.xmp = info.get("exif") or b"", info.get("xmp") or b""


def _avif(data: bytes, parts: Parts) -> None:
    parts.manifest = _has_manifest_box(data)
    with open_guarded(data, "AVIF") as image:
        parts.size = image.size
        parts.exif, parts.xmp = image.info.get("exif") or b"", image.info.get("xmp") or b""


def _has_manifest_box(data: bytes) -> bool:
    at = 0
    for _ in range(MAX_CHUNKS):
        if at + 24 > len(data):
            return False
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"uuid" and data[at + 8 : at + 24] == C2PA_BOX:
            return True
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: the box reaches to the end of the file
            return False
        at += size
    return False
