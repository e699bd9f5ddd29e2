"""TIFF tag directories, which EXIF blocks and TIFF files consist of: their cost, and the orientation in them.

Source: TIFF 6.0 section 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from .errors import Refused

MAX_TAGS = 4_096  # entries of one TIFF directory
MAX_TAG_VALUES = 300_000  # numbers in one tag, such as strip offsets
MAX_TEXT = 1 << 20  # bytes that are kept of a text

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_BYTE_TYPES = (1, 2, 6, 7)
_NUMBER_CODES = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q"}
_POINTER_TAGS = (0x8769, 0x8825, 0xA005)  # Exif, GPS and interoperability directories
_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def read_directory(block: bytes | memoryview, start: int | None = None) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (tag, type, count, position of the value, bytes of the value) of one directory, as Pillow reads it.

    Args:
        block: A TIFF structure; positions count from its first byte.
        start: Position of the directory; by default that of the first one.

    Raises:
        Refused: The directory has more than `MAX_TAGS` entries.
    """
    order = "<" if block[:2] == b"II" else ">"
    wide = block[2:3] == b"+"  # BigTIFF
    head, entry, word, inline = ("Q", "HHQ", "Q", 8) if wide else ("H", "HHL", "L", 4)
    try:
        at = struct.unpack_from(order + word, block, inline)[0] if start is None else start
        count = struct.unpack_from(order + head, block, at)[0]
        if count > MAX_TAGS:
            raise Refused("has an unreasonable number of tags")
        at += struct.calcsize(order + head)
        for _ in range(count):
            tag, kind, values = struct.unpack_from(order + entry, block, at)
            value = at + struct.calcsize(order + entry)
            at = value + inline
            size = _TYPE_BYTES.get(kind, 0) * values
            if size > inline:
                value = struct.unpack_from(order + word, block, value)[0]
            if value + size > len(block):
                return  # Pillow stops reading the directory here too
            if size:
                yield tag, kind, values, value, size
    except (struct.error, OverflowError):
        return


def read_number(block: bytes | memoryview, kind: int, at: int) -> int:
    """Return the whole number of TIFF type `kind` at a position; 0 for other types."""
    code = _NUMBER_CODES.get(kind)
    return struct.unpack_from(("<" if block[:2] == b"II" else ">") + code, block, at)[0] if code else 0


def check_tags(block: bytes | memoryview) -> None:
    """Refuse directories that unpack to more than the file holds: Pillow keeps a copy of every value.

    Raises:
        Refused: There are too many tags, or their values overlap.
    """
    total, entries, directories = 0, 0, [None]
    for start in directories:
        for tag, kind, values, at, size in read_directory(block, start):
            total, entries = total + size, entries + 1
            if entries > MAX_TAGS:
                raise Refused("has an unreasonable number of tags")
            if total > len(block) + 65_536 or (values > MAX_TAG_VALUES and kind not in _BYTE_TYPES):
                raise Refused("has tags that unpack to far more than the file holds")
            if tag in _POINTER_TAGS and values == 1 and len(directories) < 8:
                directories.append(read_number(block, kind, at))


def read_orientation(exif: bytes | None, xmp: bytes | str | None = None) -> int:
    """Return the orientation, 1 to 8, from an EXIF block, else from XMP, else 1.

    No other tag is read: the rest of a stranger's EXIF is often broken and does not affect the pixels.
    """
    try:
        block = (exif if isinstance(exif, bytes) else b"").removeprefix(b"Exif\0\0")
        for tag, kind, _, at, _ in read_directory(block):
            if tag == _ORIENTATION:
                value = read_number(block, kind, at)
                return value if 1 <= value <= 8 else 1
    except Refused:
        return 1
    xmp = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    match = _XMP_ORIENTATION.search(xmp) if isinstance(xmp, bytes) else None
    return int(match[1]) if match else 1


def exif_from_profile(text: bytes | str) -> bytes:
    """Return the EXIF block in ImageMagick's text "Raw profile type exif": three header lines, then hexadecimal."""
    try:
        text = text if isinstance(text, str) else text.decode("ascii")
        return bytes.fromhex("".join(text[:MAX_TEXT].split("\n")[3:]))
    except ValueError:
        return b""
