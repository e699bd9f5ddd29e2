"""Typed refusals of an input, and the file name they show.

Code that does not know the file's name raises an `ImageError` with "{}" in its place; `open_image` fills it in.
"""

from __future__ import annotations

import os
import re
from typing import Any

READ = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"


class Refused(ValueError):
    """The container is malformed, or costs more to read than an honest picture; the text completes "The image ..."."""


class ImageError(ValueError):
    """An input that cannot be scored. The text is one plain sentence without a server path.

    Attributes:
        code: Stable name for programs.
        status: The HTTP status with the same meaning.
    """

    code = "image_error"
    status = 400


class EmptyInput(ImageError):
    """There are no bytes or no pixels."""

    code, status = "empty_input", 400


class NotFound(ImageError):
    """The file does not exist, or may not be read."""

    code, status = "not_found", 404


class TooManyBytes(ImageError):
    """The file is larger than `Limits.max_bytes`."""

    code, status = "too_many_bytes", 413


class TooManyPixels(ImageError):
    """The picture is larger than `Limits.max_pixels` or `Limits.max_side`."""

    code, status = "too_many_pixels", 413


class UnsupportedFormat(ImageError):
    """The input is no image, or its format is not on the list."""

    code, status = "unsupported_format", 415


class CorruptImage(ImageError):
    """The picture is damaged, cut short, or costs more to read than it can be worth."""

    code, status = "corrupt_image", 422


def display_name(source: Any, otherwise: str = "The image") -> str:
    """Return the file's base name, printable and at most 80 characters long; its folders are private."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    base = re.split(r"[/\\]", path.rstrip("/\\"))[-1] if isinstance(path, str) else ""
    base = "".join(c if c.isprintable() else "?" for c in base)
    return (base if len(base) <= 80 else base[:77] + "...") or otherwise
