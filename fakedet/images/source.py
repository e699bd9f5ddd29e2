"""Bytes of a source under a cap, and the image format by content."""

from __future__ import annotations

import os
import stat
from typing import Any

from PIL import Image, features

from .errors import READ, EmptyInput, ImageError, NotFound, TooManyBytes, UnsupportedFormat


def read_source(source: Any, name: str, max_bytes: int) -> bytes:
    """Return all bytes of a path, a buffer or a binary file; at most `max_bytes` + 1 of them are read.

    Args:
        source: A path, bytes, or an open binary file.
        name: The file's name, for refusals.
        max_bytes: Maximum size in bytes.

    Raises:
        ImageError: The source is empty, too large, missing, or no file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        if memoryview(source).nbytes > max_bytes:
            raise _too_large(name, max_bytes)
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        data = _read_path(source, name, max_bytes)
    elif callable(getattr(source, "read", None)):
        data = _read_stream(source, name, max_bytes)
    else:
        raise UnsupportedFormat("An image is a path, bytes, an open binary file, a Pillow image or a NumPy array.")
    if len(data) > max_bytes:
        raise _too_large(name, max_bytes)
    if not data:
        raise EmptyInput(f"{name} is empty.")
    return data


def _too_large(name: str, max_bytes: int) -> TooManyBytes:
    return TooManyBytes(f"{name} is larger than {max_bytes / 2**20:g} MB, the maximum.")


def _read_path(path: str | os.PathLike, name: str, max_bytes: int) -> bytes:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise UnsupportedFormat(f"{name} is a folder, not an image file.")
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block or never end
            raise UnsupportedFormat(f"{name} is not a regular file.")
        if status.st_size > max_bytes:
            raise _too_large(name, max_bytes)
        with open(path, "rb") as file:
            return file.read(max_bytes + 1)  # the file may have grown since
    except FileNotFoundError:
        raise NotFound(f"{name} does not exist.") from None
    except ImageError:
        raise
    except (OSError, ValueError):
        raise NotFound(f"{name} cannot be read.") from None


def _read_stream(source: Any, name: str, max_bytes: int) -> bytes:
    try:
        if callable(getattr(source, "seekable", None)) and source.seekable():
            source.seek(0)
        parts, left = [], max_bytes + 1
        while left > 0 and (part := source.read(min(left, 2**20))):
            if not isinstance(part, bytes | bytearray | memoryview):
                raise UnsupportedFormat(f"{name} was opened as text; open it in binary mode.")
            parts.append(bytes(part))
            left -= len(part)
        return b"".join(parts)
    except ImageError:
        raise
    except Exception:  # a stranger's file object may raise anything
        raise NotFound(f"{name} cannot be read.") from None


NOT_SUPPORTED = f"{{}} is not an image in a supported format: {READ}."
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
}
_REFUSED = {
    "a PDF": (b"%PDF",),
    "a PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "an SVG or other XML": (b"<svg", b"<?xml", b"<!DOCTYPE svg", b"\xef\xbb\xbf<"),
    "a Photoshop": (b"8BPS",),
    "a JPEG 2000": (b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"),
    "a Windows icon": (b"\0\0\1\0", b"\0\0\2\0"),
}
_AVIF, _HEIF = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")


def sniff(data: bytes) -> str:
    """Return Pillow's name of the format, by content.

    Raises:
        UnsupportedFormat: The format is not on the list, or its decoder is not installed.
    """
    for kind, starts in MAGIC.items():
        if data.startswith(starts):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        size = min(max(int.from_bytes(data[:4], "big"), 12), 256)
        brands = {data[at : at + 4] for at in range(8, size, 4)}
        if data[8:12] in _AVIF or (data[8:12] in (b"mif1", b"msf1") and brands & set(_AVIF)):
            if not features.check("avif"):
                raise UnsupportedFormat("{} is an AVIF file, and this Pillow cannot read AVIF; install pillow >= 11.3.")
            return "AVIF"
        if data[8:12] in _HEIF or data[8:12] in (b"mif1", b"msf1"):
            _register_heif()
            return "HEIF"
    for kind, starts in _REFUSED.items():
        if data[:512].lstrip().startswith(starts):
            raise UnsupportedFormat(f"{{}} is {kind} file, which is not supported; save it as JPEG, PNG or WebP.")
    raise UnsupportedFormat(NOT_SUPPORTED)


def _register_heif() -> None:
    if "HEIF" in Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise UnsupportedFormat("{} is a HEIC file; to read those, run: pip install pillow-heif") from None
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
