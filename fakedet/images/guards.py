"""What Pillow may see of a stranger's file: bounded in size, chunks, scans and tags before any decoder runs.

Pillow reads headers in Python before it knows whether the picture is worth it, and small files can make that cost
minutes or gigabytes: a GIF comment is joined in quadratic time, a TIFF tag directory may name the same megabyte ten
thousand times, a progressive JPEG may rescan the picture for ever, a PNG may hold millions of empty chunks. `inspect`
walks the container itself with a fixed budget, drops the metadata that the pixels do not need, and reports what it saw.

Sources: ITU-T T.81 annex B (JPEG), W3C PNG 3rd edition, GIF89a, RFC 9649 (WebP), TIFF 6.0 section 2, Pillow's handbook
page "Security".
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAX_STEPS = 200_000  # segments, chunks or blocks walked in one file; a 25 MB photo has a few thousand
MAX_SCAN_PIXELS = 2_000_000_000  # JPEG scans x pixels; 64 megapixels in 10 scans, the usual number, are 0.64 thousand M
MAX_TAGS = 4_096  # entries of one TIFF directory
MAX_TAG_VALUES = 300_000  # numbers in one tag, such as strip offsets
MAX_TEXT = 1 << 20  # bytes a compressed text chunk may grow to

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_POINTER_TAGS = (0x8769, 0x8825, 0xA005)  # Exif, GPS and interoperability directories
_TIFF_HEADER = re.compile(rb"II\*\0|MM\0\*|MM\*\0|II\0\*|MM\0\+|II\+\0")
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # not stuffing (00), restarts (D0..D7) or fill (FF)
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_NAME = re.compile(rb"\w{4}")  # what Pillow takes for a chunk's name
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


class Refused(ValueError):
    """The container is malformed, or would cost more than an honest picture can; the text says why, in plain words."""


@dataclass(frozen=True)
class Inspected:
    """What the walk found.

    Attributes:
        data: the bytes for Pillow, metadata removed where the format allows it.
        size: (width, height) in pixels as the header says, or None where Pillow has to read it.
        orientation: EXIF or XMP orientation, 1 to 8; None where it has to be read after opening.
        pictures: how many pictures or frames the file holds (2 means "more than one"); None if not known here.
        depth: bits per sample of a PNG, else 8.
    """

    data: bytes
    size: tuple[int, int] | None = None
    orientation: int | None = None
    pictures: int | None = None
    depth: int = 8


def inspect(data: bytes, kind: str) -> Inspected:
    """Walk a file's container before Pillow sees it.

    Args:
        data: the whole file.
        kind: Pillow's name of the format, as told by the first bytes.

    Raises:
        Refused: the file costs more to read than its picture can be worth, or its structure makes no sense.
    """
    try:
        return _WALKERS.get(kind, Inspected)(data)
    except (struct.error, IndexError):
        raise Refused("is cut short: the file ends inside its header") from None


def _ifd(block: bytes | memoryview, start: int | None = None) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (tag, type, count, position of the value, bytes of the value) of one TIFF directory, as Pillow reads it."""
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


def _number(block: bytes | memoryview, kind: int, at: int) -> int:
    code = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q"}.get(kind)
    return struct.unpack_from(("<" if block[:2] == b"II" else ">") + code, block, at)[0] if code else 0


def _check_tags(block: bytes | memoryview) -> None:
    """Refuse tag directories that unpack to more than the file holds; Pillow keeps a copy of every value."""
    total, entries, directories = 0, 0, [None]
    for start in directories:
        for tag, kind, values, at, size in _ifd(block, start):
            total, entries = total + size, entries + 1
            if entries > MAX_TAGS:
                raise Refused("has an unreasonable number of tags")
            if total > len(block) + 65_536 or (values > MAX_TAG_VALUES and kind not in (1, 2, 6, 7)):
                raise Refused("has tags that unpack to far more than the file holds")
            if tag in _POINTER_TAGS and values == 1 and len(directories) < 8:
                directories.append(_number(block, kind, at))


def read_orientation(exif: bytes | None, xmp: bytes | str | None = None) -> int:
    """Orientation (1 to 8) from an EXIF block, else from XMP, else 1.

    Only this one tag is read: the rest of a stranger's EXIF is often broken, and none of it matters to the pixels.
    """
    try:
        block = (exif if isinstance(exif, bytes) else b"").removeprefix(b"Exif\0\0")
        for tag, kind, _, at, _ in _ifd(block):
            if tag == 0x0112:
                value = _number(block, kind, at)
                return value if 1 <= value <= 8 else 1
    except Refused:
        return 1
    xmp = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    found = _XMP_ORIENTATION.search(xmp) if isinstance(xmp, bytes) else None
    return int(found[1]) if found else 1


def exif_from_profile(text: bytes | str) -> bytes:
    """EXIF block from ImageMagick's text chunk "Raw profile type exif": three lines of heading, then hexadecimal."""
    try:
        text = text if isinstance(text, str) else text.decode("ascii")
        return bytes.fromhex("".join(text[:MAX_TEXT].split("\n")[3:]))
    except ValueError:
        return b""


def _jpeg(data: bytes) -> Inspected:
    kept, exif, xmp, pictures = [b"\xff\xd8"], None, None, 1
    size, scans, body, at = (0, 0), 0, None, 2
    for _ in range(MAX_STEPS):
        marker = _JPEG_MARKER.search(data, at)
        if marker is None or marker[1] == b"\xd9":
            break
        code, start, at = marker[1][0], marker.start(), marker.end()
        if code in (0x01, 0xD8) or at + 2 > len(data):
            continue
        length = struct.unpack_from(">H", data, at)[0]
        payload, at = data[at + 2 : at + length], at + max(length, 2)
        if code in _JPEG_SIZES and len(payload) >= 5:
            height, width = struct.unpack_from(">HH", payload, 1)
            size = max(size, (width, height), key=lambda s: s[0] * s[1])
        elif code == 0xDA:
            scans, body = scans + 1, start if body is None else body
            if scans * size[0] * size[1] > MAX_SCAN_PIXELS:
                raise Refused("rescans its picture an unreasonable number of times")
        if body is not None or code < 0xE0 or payload.startswith((b"JFIF\0", b"Adobe")):
            kept.extend([data[start:at]] if body is None else [])
        elif code == 0xE1 and payload.startswith(b"Exif\0\0"):
            exif = exif or payload
        elif code == 0xE1 and payload.startswith(b"http://ns.adobe.com/xap/1.0/"):
            xmp = xmp or payload
        elif code == 0xE2 and payload.startswith(b"MPF\0"):
            block = payload[4:]
            pictures = max([pictures] + [_number(block, k, v) for t, k, _, v, _ in _ifd(block) if t == 0xB001])
    else:
        raise Refused("has an unreasonable number of segments")
    if body is None:
        raise Refused("is cut short: it holds no picture data")
    # A gain map (Ultra HDR) is an aid to the one picture, not a second one.
    pictures = 1 if xmp and b"hdrgm:Version=" in xmp else pictures
    return Inspected(b"".join(kept) + data[body:], size, read_orientation(exif, xmp), pictures)


def _png(data: bytes) -> Inspected:
    kept, exif, xmp, pictures, size, depth, at = [data[:8]], None, None, 1, None, 8, 8
    for _ in range(MAX_STEPS):
        if at + 8 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, at)
        start, at = at, at + 12 + length
        if at > len(data) or not _PNG_NAME.fullmatch(name):
            kept.append(data[start:])  # Pillow says what is wrong with it
            break
        if name in _PNG_KEPT:
            kept.append(data[start:at])
            if name == b"IEND":
                break
            if name == b"IHDR" and length >= 13:
                width, height, depth = struct.unpack_from(">IIB", data, start + 8)
                size = max(size or (0, 0), (width, height), key=lambda s: s[0] * s[1])
        elif name == b"acTL" and length >= 8:
            pictures = max(1, struct.unpack_from(">I", data, start + 8)[0])
        elif name == b"eXIf":
            exif = exif or data[start + 8 : at - 4]
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            key, _, text = data[start + 8 : at - 4].partition(b"\0")
            if key == b"XML:com.adobe.xmp":
                xmp = xmp or text
            elif key == b"Raw profile type exif" and exif is None:
                exif = exif_from_profile(_inflated(text[1:]) if name == b"zTXt" else text)
    else:
        raise Refused("has an unreasonable number of chunks")
    return Inspected(b"".join(kept), size, read_orientation(exif, xmp), pictures, depth)


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_TEXT)
    except zlib.error:
        return b""


def _gif(data: bytes) -> Inspected:
    def after_blocks(at: int) -> int:
        for _ in range(MAX_STEPS):
            if not data[at]:
                return at + 1
            at += data[at] + 1
        raise Refused("has an unreasonable number of blocks")

    def colours(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    def next_picture(at: int) -> tuple[int, bytes]:
        """Position of the next image descriptor (0x2C) or of the trailer (0x3B), and the control block before it."""
        control = b""
        for _ in range(MAX_STEPS):
            if data[at] in (0x2C, 0x3B):
                return at, control
            if data[at] == 0x21:
                start, at = at, after_blocks(at + 2)
                control = data[start:at] if data[start + 1] == 0xF9 else control
            else:
                at += 1
        raise Refused("has an unreasonable number of blocks")

    head = 13 + colours(data[10])
    at, control = next_picture(head)
    left, top, width, height = struct.unpack_from("<4H", data, at + 1) if data[at] == 0x2C else (0, 0, 0, 0)
    screen = struct.unpack_from("<HH", data, 6)
    try:
        second, _ = next_picture(after_blocks(at + 10 + colours(data[at + 9]) + 1))
        pictures = 2 if data[second] == 0x2C else 1
    except (IndexError, Refused):
        pictures = 1  # what follows the first frame is never decoded; Pillow says whether that frame is whole
    size = max(screen[0], left + width), max(screen[1], top + height)
    return Inspected(data[:head] + control + data[at:], size, 1, pictures)


def _webp(data: bytes) -> Inspected:
    if data[12:16] == b"VP8X":
        size = tuple(int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    else:
        size = tuple(side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Inspected(data, size)


def _tiff(data: bytes) -> Inspected:
    _check_tags(data)
    return Inspected(data, orientation=1)  # Pillow turns a TIFF itself when it is loaded


def _boxed(data: bytes) -> Inspected:
    """AVIF and HEIF keep EXIF somewhere among their boxes, and the plugins read it on opening."""
    for number, found in enumerate(_TIFF_HEADER.finditer(data)):
        if number == 64:  # a real file holds one; compressed data rarely looks like another
            raise Refused("holds an unreasonable number of tag blocks")
        _check_tags(memoryview(data)[found.start() :])
    return Inspected(data)


_WALKERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
    "TIFF": _tiff,
    "AVIF": _boxed,
    "HEIF": _boxed,
}
