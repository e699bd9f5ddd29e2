"""JPEG segments: EXIF, XMP, IPTC, comments, quantisation tables, and the presence of a C2PA manifest.

Sources: ITU-T T.81 annex B, EXIF 3.0 (CIPA DC-008), XMP part 3, IPTC IIM 4.2, C2PA 2.2 appendix A.
"""

from __future__ import annotations

import struct

from .parts import EXIF, MAX_CHUNKS, XMP, Parts, decode


def read_jpeg(data: bytes, parts: Parts) -> None:
    """Read the segments in front of the first scan.

    Args:
        data: The file's bytes.
        parts: Filled up to the first fault of the structure.

    Raises:
        ValueError: The chain of segments breaks.
    """
    at, fill = 2, 0
    for _ in range(MAX_CHUNKS):
        while data[at + 1 : at + 2] == b"\xff":  # fill bytes, a limited number of them
            at, fill = at + 1, fill + 1
            if fill > MAX_CHUNKS:
                raise ValueError("nothing but fill bytes")
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker in (0xD9, 0xDA):  # end of image, start of scan: no metadata follows
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body, at = data[at + 4 : at + 2 + length], at + 2 + length
        if length < 2 or at > len(data):
            raise ValueError("segment too short")
        if marker == 0xE1 and body.startswith(EXIF) and not parts.exif:
            parts.exif = body
        elif marker == 0xE1 and body.startswith(XMP) and not parts.xmp:
            parts.xmp = body[len(XMP) :]
        elif marker == 0xEB and body[:2] == b"JP" and body[12:16] == b"jumb":
            parts.manifest = True
        elif marker == 0xED and body.startswith(b"Photoshop 3.0\0") and not parts.photoshop:
            parts.photoshop = True
            _iptc(body[14:], parts)
        elif marker == 0xEC and body.startswith(b"Ducky"):
            parts.photoshop = True
        elif marker == 0xFE:
            parts.texts.setdefault("comment", decode(body))
        elif marker == 0xDB:
            _tables(body, parts)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", body, 1)
            parts.size = (width, height)
            parts.full_chroma = body[5] >= 3 and len(set(body[7 : 6 + 3 * body[5] : 3])) == 1
    parts.note("The JPEG file has too many segments; the rest was not read.")


def _tables(body: bytes, parts: Parts) -> None:
    at = 0
    for _ in range(4):  # T.81 allows four tables
        if at >= len(body):
            return
        number, wide = body[at] & 15, body[at] >> 4
        parts.tables[number] = struct.unpack_from(">64H" if wide else ">64B", body, at + 1)
        at += 129 if wide else 65


def _iptc(block: bytes, parts: Parts) -> None:
    """Read the IPTC IIM resource (0x0404) out of a chain of Photoshop image resources."""
    at = 0
    for _ in range(256):
        if block[at : at + 4] != b"8BIM":
            return
        number, name = int.from_bytes(block[at + 4 : at + 6], "big"), 1 + block[at + 6]
        at += 6 + name + name % 2
        size = int.from_bytes(block[at : at + 4], "big")
        if number == 0x0404:
            return _iptc_fields(block[at + 4 : at + 4 + size], parts)
        at += 4 + size + size % 2


def _iptc_fields(body: bytes, parts: Parts) -> None:
    at = 0
    for _ in range(256):
        if at + 5 > len(body) or body[at] != 0x1C:
            return
        record, dataset, length = struct.unpack_from(">BBH", body, at + 1)
        if length >= 0x8000:  # extended lengths hold pictures, never text
            return
        if record == 2:
            parts.iptc.setdefault(dataset, decode(body[at + 5 : at + 5 + length]))
        at += 5 + length
