"""Any of Pillow's modes, and any array, to upright 8-bit RGB, in strips to save memory.

Colour values stay as stored: an ICC profile is never applied. Forensic traces are in the stored values, a conversion
would blur them, its result would depend on the version of the colour library, and a broken profile could make a good
picture unreadable. CMYK is converted to RGB by Pillow's fixed formula for the same reason.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from .errors import Refused

BACKGROUND = (255, 255, 255)  # behind transparent pixels: the white of a page
_STRIP_PIXELS = 4_000_000  # pixels converted at a time
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_rgb(
    image: Image.Image, orientation: int = 1, bits: int = 16, depth: int = 8, owned: bool = False
) -> tuple[Image.Image, list[str]]:
    """Convert a loaded image of any mode to upright RGB without metadata.

    Args:
        image: Loaded; it is not changed.
        orientation: EXIF orientation, 1 to 8.
        bits: Used bits of a 16-bit pixel (12 in some TIFF files).
        depth: Bits per sample of a PNG, in which its transparent colour is given.
        owned: Nobody else holds `image`, so the result may share its pixels.

    Returns:
        A new image, and sentences on what was changed.
    """
    notes, key = [], _transparent_colour(image, depth)
    if image.mode == "CMYK":
        notes.append("Print colours (CMYK) were converted to RGB without their profile.")
    clear = False
    if image.mode.startswith("I") or image.mode == "F":
        notes.append("More than 8 bits a pixel: scaled to 8.")
        deep = np.asarray(image)
        grey = to_8_bit(deep, bits)
        if isinstance(key, int) and image.mode.startswith("I;16"):
            see_through = deep == key
            clear = bool(see_through.any())
            grey[see_through] = BACKGROUND[0]
        image, key = Image.fromarray(grey), None
    has_alpha = key is not None or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    if image.mode == "RGB" and not has_alpha:  # nothing to convert: at most one copy of the pixels
        plain = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image if owned else image.copy()
        plain = plain._new(plain.im)  # of class Image, whatever plugin read it
        plain.info = {}
        return plain, notes
    rgb = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = image.crop(box)
        strip.info = {} if key is None else {"transparency": key}
        if has_alpha:
            strip = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
            clear = clear or strip.getextrema()[3][0] < 255
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, (*BACKGROUND, 255)), strip)
        rgb.paste(_lab_to_rgb(strip) if strip.mode == "LAB" else strip.convert("RGB"), box)
    if clear:
        notes.append("Transparent parts were put on white.")
    return (rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb), notes


def _transparent_colour(image: Image.Image, depth: int) -> int | tuple | bytes | None:
    """Return the colour or palette entries that are transparent, in the 8 bits that Pillow scaled the pixels to."""
    key = image.info.get("transparency")
    if image.mode == "P" and isinstance(key, bytes):
        return key[:256]
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        key = tuple(v >> 8 for v in key) if depth == 16 else key
        return key if max(key) <= 255 else None
    if image.mode == "L" and isinstance(key, int):
        key *= 255 // (2**depth - 1) if depth in (2, 4) else 1
    max_key = 65_535 if image.mode.startswith("I;16") else 255
    usable = image.mode in ("1", "L", "P") or image.mode.startswith("I;16")
    return key if usable and isinstance(key, int) and 0 <= key <= max_key else None


def _lab_to_rgb(strip: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(strip, lab, srgb, outputMode="RGB")


def to_8_bit(array: np.ndarray, bits: int = 16) -> np.ndarray:
    """Scale numbers of any type to 0..255 without clipping.

    8 bit is unchanged. 16 bit loses its low byte, as in Pillow's 16-bit colour (12 bit loses four bits). The range of
    wider integers and floats decides whether they are read as 0..255, 0..65535 or (floats) 0..1; numbers outside these
    ranges are stretched from their minimum to their maximum.

    Args:
        array: (H, W) or (H, W, C).
        bits: Used bits of a 16-bit number.

    Returns:
        uint8 array of the same shape.

    Raises:
        Refused: No number is finite.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    rows = max(1, _STRIP_PIXELS // max(1, array[0].size))
    strips = [array[top : top + rows] for top in range(0, len(array), rows)]
    low, high, kind = 0.0, 1.0, array.dtype.kind
    if kind != "b":
        known = [part for strip in strips if (part := strip[np.isfinite(strip)]).size]
        if not known:
            raise Refused("holds no finite number")
        low, high = min(float(part.min()) for part in known), max(float(part.max()) for part in known)
    if array.dtype.itemsize == 2 and kind == "u":
        low, step = 0.0, 2.0 ** (bits - 8)
    elif kind == "b" or (kind == "f" and low >= 0 and high <= 1):
        low, step = 0.0, 1 / 255
    elif low >= 0 and high <= 65_535:
        low, step = 0.0, 1.0 if high <= 255 else 256.0
    else:
        step = (high - low) / 255 or 1.0
    top = low + 255 * step if step < 256 else high
    result = np.empty(array.shape, np.uint8)
    for strip, out in zip(strips, np.split(result, range(rows, len(array), rows)), strict=True):
        values = np.nan_to_num(strip.astype(np.float64), nan=low, posinf=top, neginf=low)
        values = (values - low) / step
        out[...] = np.clip(values if step >= 2 else np.rint(values), 0, 255)
    return result
