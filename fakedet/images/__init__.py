"""A stranger's bytes to an upright RGB image: allowed formats, bounds, decoding, orientation."""

from .opening import (
    EXTENSIONS,
    CorruptImage,
    EmptyInput,
    ImageError,
    Limits,
    LoadedImage,
    NotFound,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
    display_name,
    iter_image_files,
    open_guarded,
    open_image,
    read_source,
)

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
