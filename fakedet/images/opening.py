"""Untrusted bytes, a path, a Pillow image or an array in; an upright 8-bit RGB picture out, or one typed refusal.

Follows Pillow's handbook page "Security": bytes are counted before they are read, the format is recognised by content
and must be on a short list (source.py), Pillow sees no metadata that the pixels do not need (guards.py), pixels and
sides are checked in the header before anything is decoded, and a picture that does not decode to its end is refused.
pixels.py converts the decoded pixels. Colour profiles are ignored; the reason is given there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from .errors import CorruptImage, EmptyInput, ImageError, Refused, TooManyPixels, UnsupportedFormat, display_name
from .guards import inspect
from .pixels import to_8_bit, upright_rgb
from .source import MAGIC, NOT_SUPPORTED, read_source, sniff
from .tags import exif_from_profile, read_orientation

_WEBP_PIXELS = 48_000_000  # its decoder holds three copies of four bytes a pixel: beyond this, over a gigabyte
_RLE_BMP_PIXELS, _RLE_BMP_BYTES = 2_000_000, 2 * 2**20  # Pillow unpacks run lengths in Python, slowly


@dataclass(frozen=True)
class Limits:
    """Maximum bytes of a file, pixels of a picture, and pixels of a side.

    Pillow's own `Image.MAX_IMAGE_PIXELS` (89 million) also applies, as an error and not as a warning.
    """

    max_bytes: int = 25 * 2**20
    max_pixels: int = 64_000_000
    max_side: int = 20_000


@dataclass(frozen=True)
class LoadedImage:
    """A picture that is ready for the network.

    Attributes:
        image: Upright, mode RGB, 8 bit, without metadata; transparent parts are white.
        facts: sha256 and bytes of the file (None for a Pillow image or an array), format as Pillow names it (None for
            an array), mode as stored, width and height in pixels of the upright picture.
        notes: Sentences on what was changed or left out.
        data: The file's bytes; None for a Pillow image or an array, or where another process has read them.
        provenance: The file's provenance (`fakedet.provenance.Provenance`) where it was read already.
        ms: Milliseconds that reading took in another process, else None.
    """

    image: Image.Image
    facts: dict[str, Any]
    notes: tuple[str, ...]
    data: bytes | None
    provenance: Any = None
    ms: float | None = None


def open_image(source: Any, limits: Limits = Limits(), name: str | None = None) -> LoadedImage:
    """Read one picture.

    Args:
        source: A path, the bytes of a file, an open binary file, a Pillow image, or a NumPy array (H, W) or (H, W, C)
            with C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha). Arrays are 8 or 16 bit, or float in 0..1.
        limits: Limits on the input.
        name: Name of the picture in refusals; by default its file name, or "The image".

    Raises:
        ImageError: The input cannot be read, whatever it is; no other exception leaves this function.
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


def open_guarded(data: bytes, *kinds: str) -> Image.Image:
    """Open a picture as stored, without decoding it, after its container was checked.

    Only for the metadata readers, which need the stored pixels or a preview. The limits on bytes and pixels are not
    checked.

    Raises:
        Exception: Whatever Pillow raises; `ValueError` for a format that is not one of `kinds`.
    """
    kind = sniff(data)
    if kind not in kinds:
        raise UnsupportedFormat("{} is not in a format that is expected here.")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    return Image.open(BytesIO(inspect(data, kind).data), formats=[kind])


# --- decoding ------------------------------------------------------------------------------------------------------


def _translated(load: Callable, arguments: tuple, name: str) -> tuple:
    """Run `load`, and turn every exception into an `ImageError` that names the file.

    On broken input, Pillow's plugins raise OSError, SyntaxError, ValueError, KeyError, struct.error, zlib.error,
    MemoryError and more. Their texts may hold paths, so none of them is passed on.
    """
    try:
        return load(*arguments)
    except ImageError as error:
        failure = type(error)(str(error).replace("{}", name, 1))
    except Refused as error:
        failure = CorruptImage(f"{name} {error}.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        failure = TooManyPixels(f"{name} has more pixels than the maximum.")
    except MemoryError:
        failure = CorruptImage(f"{name} needs more memory to decode than is available.")
    except Exception as error:
        cut = re.search("truncated|incomplete|not enough|end of file|buffer is not large", str(error), re.IGNORECASE)
        reason = "is cut short: part of the picture is missing" if cut else "is damaged and cannot be decoded"
        failure = CorruptImage(f"{name} {reason}.")
    raise failure  # outside the handlers, so that the error does not keep the decoder's memory alive


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    ceiling = min(limits.max_pixels, Image.MAX_IMAGE_PIXELS or limits.max_pixels)
    if size[0] * size[1] > ceiling or max(size) > limits.max_side:
        maximum = f"{ceiling / 1e6:g} megapixels and {limits.max_side} pixels a side"
        raise TooManyPixels(f"{{}} measures {size[0]} x {size[1]} pixels; the maximum is {maximum}.")


def _from_bytes(data: bytes, limits: Limits) -> tuple[Image.Image, dict, list[str]]:
    kind = sniff(data)
    seen = inspect(data, kind)
    if seen.size:
        _check_size(seen.size, limits)
        if kind == "WEBP" and seen.size[0] * seen.size[1] > _WEBP_PIXELS:
            raise TooManyPixels(
                f"{{}} is a WebP with more than {_WEBP_PIXELS / 1e6:g} megapixels, the maximum for WebP."
            )
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it; truncated pictures must be refused
    with Image.open(BytesIO(seen.data), formats=[kind]) as image:
        _check_size(image.size, limits)
        _check_layout(image, len(data), limits)
        if kind == "TIFF":
            several = image.is_animated  # counting would read the whole file
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
    """Refuse layouts whose decoding costs far more time or memory than the size in the header suggests."""
    if image.tile and image.tile[0].codec_name == "bmp_rle":
        if image.width * image.height > _RLE_BMP_PIXELS or size > _RLE_BMP_BYTES:
            raise TooManyPixels("{} is a run-length coded BMP; the maximum for those is 2 megapixels and 2 MB.")
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322, 0), tags.get(323, 0)  # of a tile; libtiff holds one in memory
    if not isinstance(width, int) or not isinstance(height, int) or width * height > limits.max_pixels:
        raise Refused("has tiles of an unreasonable size")


def _from_pillow(image: Image.Image, limits: Limits) -> tuple[Image.Image, dict, list[str]]:
    _check_size(image.size, limits)
    if not min(image.size):
        raise EmptyInput("{} has no pixels.")
    pending = isinstance(image, ImageFile.ImageFile) and (image.tile or image._im is None)
    if pending and image.format not in {*MAGIC, "MPO", "WEBP", "AVIF", "HEIF"}:  # loading an EPS would run Ghostscript
        raise UnsupportedFormat(NOT_SUPPORTED)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    bits = _bits(image) if isinstance(image, ImageFile.ImageFile) else 16
    image.load()
    info, orientation = image.info, 1
    if image.format != "TIFF":  # Pillow rotated that one when it loaded it
        exif = info.get("exif") or exif_from_profile(info.get("Raw profile type exif", ""))
        orientation = read_orientation(exif, info.get("xmp") or info.get("XML:com.adobe.xmp"))
    rgb, notes = upright_rgb(image, orientation, bits)
    return rgb, {"format": image.format, "mode": image.mode}, notes


def _from_array(array: np.ndarray, limits: Limits) -> tuple[Image.Image, dict, list[str]]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or array.dtype.kind not in "buif":
        raise UnsupportedFormat("An image array must hold numbers in the shape (H, W) or (H, W, C) with C of 1 to 4.")
    if not array.size:
        raise EmptyInput("{} has no pixels.")
    _check_size((array.shape[1], array.shape[0]), limits)
    array = array[:, :, 0] if array.ndim == 3 and channels == 1 else array
    image = Image.fromarray(to_8_bit(array))
    rgb, notes = upright_rgb(image)
    return rgb, {"format": None, "mode": image.mode}, notes
