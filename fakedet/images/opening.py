"""A stranger's bytes, path, Pillow image or array in; an upright 8-bit RGB picture out, or one typed, plain refusal.

Follows Pillow's handbook page "Security": bytes are counted before they are read, the format is told by content and
stands on a short list (image_source.py), Pillow sees no metadata that the pixels do not need (image_guards.py), pixels
and sides are checked on the header before anything is decoded, and a picture that does not decode to its end is
refused. What the pixels then become is in image_pixels.py. Colour profiles are ignored; see there why.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from .guards import Refused, exif_from_profile, inspect, read_orientation
from .pixels import to_8_bit, upright_rgb
from .source import (
    MAGIC,
    READ,
    CorruptImage,
    EmptyInput,
    ImageError,
    NotFound,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
    display_name,
    read_source,
    sniff,
)

__all__ = [
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
    "open_image",
    "read_source",
]

EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .tif .tiff .avif .heic .heif .hif".split()
)
_WEBP_PIXELS = 48_000_000  # its decoder keeps three copies of four bytes a pixel: beyond this, over a gigabyte
_RLE_BMP_PIXELS, _RLE_BMP_BYTES = 2_000_000, 2 * 2**20  # Pillow unpacks run lengths in Python, slowly


@dataclass(frozen=True)
class Limits:
    """What is read at most: bytes of a file, pixels of a picture, pixels of a side.

    Pillow's own `Image.MAX_IMAGE_PIXELS` (89 million) stays in force as well, as an error and not as a warning.
    """

    max_bytes: int = 25 * 2**20
    max_pixels: int = 64_000_000
    max_side: int = 20_000


@dataclass(frozen=True)
class LoadedImage:
    """A picture that is ready for the network.

    Attributes:
        image: upright, mode RGB, 8 bit, without metadata; transparent parts lie on white.
        facts: sha256 and bytes of the file (None for a Pillow image or an array), format as Pillow names it (None for
            an array), mode as stored, width and height in pixels of the upright picture.
        notes: plain sentences on what was changed or left out.
        data: the file's bytes; None when a Pillow image or an array was given, or where another process has read them.
        provenance: what the file says of itself (`fakedet.provenance.Provenance`) where that was read already.
        ms: milliseconds that reading took in another process, else None.
    """

    image: Image.Image
    facts: dict[str, Any]
    notes: tuple[str, ...]
    data: bytes | None
    provenance: Any = None
    ms: float | None = None


def open_image(source: Any, limits: Limits = Limits(), name: str | None = None) -> LoadedImage:
    """Read one picture from anywhere.

    Args:
        source: a path, the bytes of a file, an open binary file, a Pillow image, or a NumPy array (H, W) or (H, W, C)
            with C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha). Arrays are 8 or 16 bit, or float in 0..1.
        limits: what is read at most.
        name: what a refusal calls the picture; by default its file name, or "The image".

    Raises:
        ImageError: one of its subclasses, whatever the input; no other exception leaves this function.
    """
    name, data = name or "The image", None
    if isinstance(source, np.ndarray):
        load, arguments = _from_array, (source, limits)
    elif isinstance(source, Image.Image):
        load, arguments = _from_pillow, (source, limits)
    else:
        name = display_name(source, name)
        data = read_source(source, name, limits.max_bytes)
        load, arguments = _from_bytes, (data, limits)
    image, facts, notes = _translated(load, arguments, name)
    digest, size = (hashlib.sha256(data).hexdigest(), len(data)) if data is not None else (None, None)
    facts = {"sha256": digest, **facts, "width": image.width, "height": image.height, "bytes": size}
    return LoadedImage(image, facts, tuple(notes), data)


def iter_image_files(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the image files below a folder, told by their extension, in sorted order; a file yields itself.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        NotFound: there is nothing at `path`.
    """
    root = Path(path)
    if not root.exists():
        raise NotFound(f"{display_name(root)} does not exist.")
    return iter([root]) if root.is_file() else _walk(root)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield Path(folder, name)


def open_guarded(data: bytes, *kinds: str) -> Image.Image:
    """A picture that Pillow has opened but not decoded, as it is stored, after the container was walked.

    Only for the metadata readers, which want the stored pixels or a preview; it checks neither bytes nor pixels.

    Raises:
        Exception: whatever Pillow raises; `ValueError` for a format that is not one of `kinds`.
    """
    kind = sniff(data)
    if kind not in kinds:
        raise UnsupportedFormat("{} is not in a format that is wanted here.")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    return Image.open(BytesIO(inspect(data, kind).data), formats=[kind])


# --- decoding ------------------------------------------------------------------------------------------------------


def _translated(load: Callable, arguments: tuple, name: str) -> tuple:
    """Run `load`, and turn whatever it raises into an `ImageError` that names the file.

    Pillow's plugins raise OSError, SyntaxError, ValueError, KeyError, struct.error, zlib.error, MemoryError and more on
    broken input, with texts that may hold paths, so none of those texts is passed on.
    """
    try:
        return load(*arguments)
    except ImageError as error:
        failure = type(error)(str(error).replace("{}", name, 1))
    except Refused as error:
        failure = CorruptImage(f"{name} {error}.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        failure = TooManyPixels(f"{name} has more pixels than are read.")
    except MemoryError:
        failure = CorruptImage(f"{name} needs more memory to decode than there is.")
    except Exception as error:
        cut = re.search("truncated|incomplete|not enough|end of file|buffer is not large", str(error), re.IGNORECASE)
        reason = "is cut short: part of the picture is missing" if cut else "is damaged and cannot be decoded"
        failure = CorruptImage(f"{name} {reason}.")
    raise failure  # outside of the handlers, so that the error does not keep the decoder's memory alive


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    ceiling = min(limits.max_pixels, Image.MAX_IMAGE_PIXELS or limits.max_pixels)
    if size[0] * size[1] > ceiling or max(size) > limits.max_side:
        most = f"{ceiling / 1e6:g} megapixels and {limits.max_side} pixels a side"
        raise TooManyPixels(f"{{}} measures {size[0]} x {size[1]} pixels; the most that is read is {most}.")


def _from_bytes(data: bytes, limits: Limits) -> tuple[Image.Image, dict, list[str]]:
    kind = sniff(data)
    seen = inspect(data, kind)
    if seen.size:
        _check_size(seen.size, limits)
        if kind == "WEBP" and seen.size[0] * seen.size[1] > _WEBP_PIXELS:
            raise TooManyPixels(f"{{}} is a WebP, which is read up to {_WEBP_PIXELS / 1e6:g} megapixels only.")
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it; a cut picture must not pass here
    with Image.open(BytesIO(seen.data), formats=[kind]) as image:
        _check_size(image.size, limits)
        _check_layout(image, len(data), limits)
        if kind == "TIFF":
            several = image.is_animated  # counting would walk the whole file
        else:
            several = (seen.pictures or getattr(image, "n_frames", 1)) > 1
        image.load()
        _check_size(image.size, limits)
        orientation = seen.orientation or read_orientation(image.info.get("exif"), image.info.get("xmp"))
        rgb, notes = upright_rgb(image, orientation, _bits(image), seen.depth, owned=True)
        facts = {"format": "MPO" if kind == "JPEG" and several else kind, "mode": image.mode}
    if several:
        still = kind in ("JPEG", "TIFF", "HEIF")
        what = "Several pictures in one file: only the first" if still else "Animated: only the first frame"
        notes.insert(0, f"{what} was read.")
    return rgb, facts, notes


def _bits(image: Image.Image) -> int:
    bits = image.tag_v2.get(258, (16,)) if hasattr(image, "tag_v2") else (16,)
    return bits[0] if isinstance(bits, tuple) else bits


def _check_layout(image: Image.Image, size: int, limits: Limits) -> None:
    """Refuse what decodes slowly or largely for reasons that the size in the header does not tell."""
    if image.tile and image.tile[0].codec_name == "bmp_rle":
        if image.width * image.height > _RLE_BMP_PIXELS or size > _RLE_BMP_BYTES:
            raise TooManyPixels("{} is a run-length coded BMP, read up to 2 megapixels and 2 MB only.")
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322, 0), tags.get(323, 0)  # of a tile; libtiff holds a whole one in memory
    if not isinstance(width, int) or not isinstance(height, int) or width * height > limits.max_pixels:
        raise Refused("has tiles of an unreasonable size")


def _from_pillow(image: Image.Image, limits: Limits) -> tuple[Image.Image, dict, list[str]]:
    _check_size(image.size, limits)
    if not min(image.size):
        raise EmptyInput("{} has no pixels.")
    pending = isinstance(image, ImageFile.ImageFile) and (image.tile or image._im is None)
    if pending and image.format not in {*MAGIC, "MPO", "WEBP", "AVIF", "HEIF"}:  # loading an EPS would run Ghostscript
        raise UnsupportedFormat(f"{{}} is not an image in a format that is read: {READ}.")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    bits = _bits(image) if isinstance(image, ImageFile.ImageFile) else 16
    image.load()
    info, orientation = image.info, 1
    if image.format != "TIFF":  # Pillow has turned that one on loading
        exif = info.get("exif") or exif_from_profile(info.get("Raw profile type exif", ""))
        orientation = read_orientation(exif, info.get("xmp") or info.get("XML:com.adobe.xmp"))
    rgb, notes = upright_rgb(image, orientation, bits)
    return rgb, {"format": image.format, "mode": image.mode}, notes


def _from_array(array: np.ndarray, limits: Limits) -> tuple[Image.Image, dict, list[str]]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or array.dtype.kind not in "buif":
        raise UnsupportedFormat("An image array holds numbers in the shape (H, W) or (H, W, C) with C of 1 to 4.")
    if not array.size:
        raise EmptyInput("{} has no pixels.")
    _check_size((array.shape[1], array.shape[0]), limits)
    array = array[:, :, 0] if array.ndim == 3 and channels == 1 else array
    image = Image.fromarray(to_8_bit(array))
    rgb, notes = upright_rgb(image)
    return rgb, {"format": None, "mode": image.mode}, notes
