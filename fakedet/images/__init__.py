"""Untrusted bytes to an upright RGB image: allowed formats, limits, decoding, orientation."""

from .errors import (
    CorruptImage,
    EmptyInput,
    ImageError,
    NotFound,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
    display_name,
)
from .folder import EXTENSIONS, iter_image_files
from .opening import Limits, LoadedImage, open_guarded, open_image
from .source import read_source

__all__ = [
    "EXTENSIONS",
    "CorruptImage",
    "EmptyInput",
    "ImageError",
    "Limits",
    "LoadedImage",
    "NotFound",
    "TooManyBytes",
    "TooManyPixels",
    "UnsupportedFormat",
    "display_name",
    "iter_image_files",
    "open_guarded",
    "open_image",
    "read_source",
]
