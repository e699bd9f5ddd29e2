"""EXIF fields that are evidence for a camera, a generator or an editor, read with limits.

Source: EXIF 3.0 (CIPA DC-008-2023) and TIFF 6.0. Of GPS fields, only their presence is read.
"""

from __future__ import annotations

import struct
from typing import Any

from .parts import decode

MAX_ENTRIES = 1000  # entries read per directory
MAX_VALUE_BYTES = 1 << 20
TAGS = {  # every other entry is skipped unread
    0x100: "width", 0x101: "height", 0x10E: "ImageDescription", 0x10F: "Make", 0x110: "Model", 0x112: "Orientation",
    0x131: "Software", 0x13B: "Artist", 0x201: "thumb_at", 0x202: "thumb_bytes", 700: "XMP", 0x8769: "exif_at",
    0x8825: "gps_at", 0x829A: "ExposureTime", 0x829D: "FNumber", 0x8827: "ISO", 0x9003: "DateTimeOriginal",
    0x920A: "FocalLength", 0x927C: "MakerNote", 0x9286: "UserComment", 0x9C9C: "XPComment", 0xA434: "LensModel",
    0xCD41: "C2PA",
}  # fmt: skip
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 129: 1}


def read_ifd(tiff: bytes, at: int) -> dict[int, Any]:
    """Read the wanted tags of one directory.

    Args:
        tiff: The whole TIFF structure.
        at: Position of the directory in bytes.

    Returns:
        Tag number to value: text, raw bytes (types BYTE and UNDEFINED), an integer, a fraction as float, or None for
        a value outside the block. Only the first number of a list is kept. Tag -1 holds the position of the next
        directory.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or at < 8 or at + 2 > len(tiff):
        return {}
    count = struct.unpack_from(order + "H", tiff, at)[0]
    values: dict[int, Any] = {}
    for i in range(min(count, MAX_ENTRIES)):
        entry = at + 2 + 12 * i
        if entry + 12 > len(tiff):
            return values
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, entry)
        if tag not in TAGS or tag in values or kind not in _SIZES:
            continue
        size = number * _SIZES[kind]
        start = entry + 8 if size <= 4 else struct.unpack_from(order + "I", tiff, entry + 8)[0]
        fits = 0 < size <= MAX_VALUE_BYTES and start + size <= len(tiff)
        values[tag] = _value(tiff[start : start + size], kind, order) if fits else None
    end = at + 2 + 12 * count
    values[-1] = struct.unpack_from(order + "I", tiff, end)[0] if end + 4 <= len(tiff) else 0
    return values


def _value(raw: bytes, kind: int, order: str) -> Any:
    if kind in (2, 129):
        return decode(raw.split(b"\0", 1)[0])
    if kind in (1, 6, 7):
        return raw
    if kind in (5, 10):
        top, bottom = struct.unpack_from(order + ("II" if kind == 5 else "ii"), raw)
        return top / bottom if bottom else None
    return struct.unpack_from(order + {3: "H", 4: "I", 8: "h", 9: "i"}[kind], raw)[0]


def read_exif(tiff: bytes) -> dict[str, Any]:
    """Read the wanted EXIF fields of a file.

    Args:
        tiff: The EXIF block without its "Exif" prefix; empty where the file has none.

    Returns:
        Field names of `TAGS` to values; "gps" is True where the file has a GPS field; "thumbnail" holds the bytes of
        the embedded preview.
    """
    if len(tiff) < 14:
        return {}
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return {}
    main = read_ifd(tiff, struct.unpack_from(order + "I", tiff, 4)[0])
    following = main.pop(-1, 0)
    exif_at, gps_at = main.get(0x8769), main.get(0x8825)
    detail = read_ifd(tiff, exif_at) if isinstance(exif_at, int) else {}
    fields = {TAGS[tag]: value for tag, value in {**detail, **main}.items() if tag in TAGS and value is not None}
    if isinstance(gps_at, int) and 8 <= gps_at < len(tiff) - 2:
        # Without a place, cameras write an empty directory, or one with only the version.
        fields["gps"] = struct.unpack_from(order + "H", tiff, gps_at)[0] > 1
    preview = read_ifd(tiff, following) if following else {}
    start, size = preview.get(0x201), preview.get(0x202)
    if isinstance(start, int) and isinstance(size, int) and 0 < size <= 1 << 20:
        fields["thumbnail"] = tiff[start : start + size]
    for name in ("UserComment", "XPComment"):
        if isinstance(fields.get(name), bytes):
            fields[name] = _comment(fields[name], name)
    return {name: value for name, value in fields.items() if not isinstance(value, bytes) or name in _RAW}


_RAW = ("MakerNote", "thumbnail", "XMP")


def _comment(raw: bytes, name: str) -> str:
    """Decode a comment: eight bytes name its character code (EXIF 4.6.5), and writers disagree on the byte order."""
    if name == "XPComment":
        return raw.decode("utf-16-le", "replace").rstrip("\0")
    code, text = raw[:8].rstrip(b"\0 "), raw[8:]
    if code == b"UNICODE":
        # piexif writes big-endian whatever the file's order: the zero bytes of Latin letters show which it is.
        big = text[0::2].count(0) >= text[1::2].count(0)
        return text.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0\ufeff")
    if code == b"JIS":
        return text.decode("iso2022_jp", "replace")
    if code in (b"ASCII", b""):
        return text.decode("utf-8", "replace").strip("\0")
    return raw.decode("utf-8", "replace").strip("\0")  # no character code, against the specification
