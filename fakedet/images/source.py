"""Where a picture comes from: typed refusals, bytes under a cap, and the format told by content.

What does not know the file's name raises a refusal with "{}" in its place; `fakedet.images` fills it in.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from PIL import Image, features

READ = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"


class ImageError(ValueError):
    """An input that cannot be scored. The text is one plain sentence without a server path.

    Attributes:
        code: stable name for programs.
        status: the HTTP status that says the same.
    """

    code = "image_error"
    status = 400


class EmptyInput(ImageError):
    """There are no bytes or no pixels."""

    code, status = "empty_input", 400


class NotFound(ImageError):
    """No such file, or it may not be read."""

    code, status = "not_found", 404


class TooManyBytes(ImageError):
    """The file is larger than `Limits.max_bytes`."""

    code, status = "too_many_bytes", 413


class TooManyPixels(ImageError):
    """The picture is larger than `Limits.max_pixels` or `Limits.max_side`."""

    code, status = "too_many_pixels", 413


class UnsupportedFormat(ImageError):
    """Not an image, or an image format that is not on the list."""

    code, status = "unsupported_format", 415


class CorruptImage(ImageError):
    """The picture is damaged, cut short, or costs more to read than it can be worth."""

    code, status = "corrupt_image", 422


def display_name(source: Any, otherwise: str = "The image") -> str:
    """The file's base name, printable and short; a stranger chose it, and its folders are nobody's business."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    base = re.split(r"[/\\]", path.rstrip("/\\"))[-1] if isinstance(path, str) else ""
    base = "".join(c if c.isprintable() else "?" for c in base)
    return (base if len(base) <= 80 else base[:77] + "...") or otherwise


def read_source(source: Any, name: str, max_bytes: int) -> bytes:
    """All bytes of a path, buffer or binary file, never more than `max_bytes` + 1 of them."""
    too_large = TooManyBytes(f"{name} is larger than {max_bytes / 2**20:g} MB, the most that is read.")
    if isinstance(source, bytes | bytearray | memoryview):
        if memoryview(source).nbytes > max_bytes:
            raise too_large
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            found = os.stat(source)
            if stat.S_ISDIR(found.st_mode):
                raise UnsupportedFormat(f"{name} is a folder, not an image file.")
            if not stat.S_ISREG(found.st_mode):  # a pipe or a device could block or never end
                raise UnsupportedFormat(f"{name} is not a regular file.")
            if found.st_size > max_bytes:
                raise too_large
            with open(source, "rb") as file:
                data = file.read(max_bytes + 1)  # the file may have grown since
        except FileNotFoundError:
            raise NotFound(f"{name} does not exist.") from None
        except ImageError:
            raise
        except (OSError, ValueError):
            raise NotFound(f"{name} cannot be read.") from None
    elif callable(getattr(source, "read", None)):
        data = _read_stream(source, name, max_bytes)
    else:
        raise UnsupportedFormat("An image is a path, bytes, an open binary file, a Pillow image or a NumPy array.")
    if len(data) > max_bytes:
        raise too_large
    if not data:
        raise EmptyInput(f"{name} is empty.")
    return data


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


MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
}
_ACTIVE = {
    "a PDF": (b"%PDF",),
    "a PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "an SVG or other XML": (b"<svg", b"<?xml", b"<!DOCTYPE svg", b"\xef\xbb\xbf<"),
    "a Photoshop": (b"8BPS",),
    "a JPEG 2000": (b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"),
    "a Windows icon": (b"\0\0\1\0", b"\0\0\2\0"),
}
_AVIF, _HEIF = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")


def sniff(data: bytes) -> str:
    """Pillow's name of the format, by content.

    Raises:
        UnsupportedFormat: not on the list, or its decoder is not installed.
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
    for words, starts in _ACTIVE.items():
        if data[:512].lstrip().startswith(starts):
            raise UnsupportedFormat(f"{{}} is {words} file, which is not read; save the picture as JPEG, PNG or WebP.")
    raise UnsupportedFormat(f"{{}} is not an image in a format that is read: {READ}.")


def _register_heif() -> None:
    if "HEIF" in Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise UnsupportedFormat("{} is a HEIC file; to read those, run: pip install pillow-heif") from None
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
