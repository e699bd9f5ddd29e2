"""Container checks before Pillow opens a file: limits on size, chunks, scans and tags.

Pillow reads headers in Python, and small files can make that cost minutes or gigabytes: a GIF comment is joined in
quadratic time, a TIFF directory may name the same megabyte ten thousand times, a progressive JPEG may rescan the
picture without end, a PNG may hold millions of empty chunks. `inspect` walks the container with a fixed budget, drops
the metadata that the pixels do not need, and reports size, orientation and number of pictures.

Sources: ITU-T T.81 annex B (JPEG), W3C PNG 3rd edition, GIF89a, RFC 9649 (WebP), TIFF 6.0 section 2, Pillow's handbook
page "Security".
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from .errors import Refused
from .tags import MAX_TEXT, check_tags, exif_from_profile, read_directory, read_number, read_orientation

MAX_STEPS = 200_000  # segments, chunks or blocks walked in one file; a 25 MB photo has a few thousand
MAX_SCAN_PIXELS = 2_000_000_000  # JPEG scans x pixels; 64 megapixels in the usual 10 scans are 640 million
MAX_TAG_BLOCKS = 64  # in an AVIF or HEIF, whose compressed data rarely looks like another one

_TIFF_HEADER = re.compile(rb"II\*\0|MM\0\*|MM\*\0|II\0\*|MM\0\+|II\+\0")
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # not stuffing (00), restarts (D0..D7) or fill (FF)
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MPF_PICTURES = 0xB001  # tag of the multi-picture format: number of pictures
_PNG_NAME = re.compile(rb"\w{4}")  # what Pillow takes for a chunk's name
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))


@dataclass(frozen=True)
class Inspected:
    """What `inspect` read from the container.

    Attributes:
        data: The bytes for Pillow, without metadata where the format allows removing it.
        size: (width, height) in pixels from the header, or None where Pillow has to read it.
        orientation: EXIF or XMP orientation, 1 to 8; None where it has to be read after opening.
        pictures: Number of pictures or frames (2 means "more than one"); None where it is not known here.
        depth: Bits per sample of a PNG, else 8.
    """

    data: bytes
    size: tuple[int, int] | None = None
    orientation: int | None = None
    pictures: int | None = None
    depth: int = 8


def inspect(data: bytes, kind: str) -> Inspected:
    """Walk a file's container before Pillow sees it.

    Args:
        data: The whole file.
        kind: Pillow's name of the format, from `source.sniff`.

    Raises:
        Refused: The file costs more to read than its picture can be worth, or its structure makes no sense.
    """
    try:
        return _WALKERS.get(kind, Inspected)(data)
    except (struct.error, IndexError):
        raise Refused("is cut short: the file ends inside its header") from None


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
            counts = [read_number(block, k, place) for t, k, _, place, _ in read_directory(block) if t == _MPF_PICTURES]
            pictures = max([pictures, *counts])
    else:
        raise Refused("has an unreasonable number of segments")
    if body is None:
        raise Refused("is cut short: it holds no picture data")
    # A gain map (Ultra HDR) belongs to the one picture and is not a second one.
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
            kept.append(data[start:])  # Pillow reports the fault
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
        pictures = 1  # what follows the first frame is never decoded; Pillow checks that this frame is complete
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
    check_tags(data)
    return Inspected(data, orientation=1)  # Pillow rotates a TIFF when it loads it


def _boxed(data: bytes) -> Inspected:
    """Check the EXIF blocks among the boxes of an AVIF or HEIF, which the plugins read on opening."""
    for number, header in enumerate(_TIFF_HEADER.finditer(data)):
        if number == MAX_TAG_BLOCKS:
            raise Refused("holds an unreasonable number of tag blocks")
        check_tags(memoryview(data)[header.start() :])
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
