"""Heat maps: where in the image the evidence for the answer lies."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .views import Box

# Colour stops of the overlay from weak to strong; dark to bright, so that colour-blind readers can use it.
STOPS = np.array([[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]], np.float32)
DISPLAY_SIDE = 768


def assemble(
    maps: np.ndarray, boxes: tuple[Box, ...], mirrored: tuple[bool, ...], size: tuple[int, int], side: int = 96
) -> np.ndarray:
    """Places the maps of the views at their boxes in the image; overlaps are averaged.

    Args:
        maps: (V, h, w), signed Grad-CAM per view.
        boxes: V times (left, top, right, bottom) in image pixels.
        mirrored: V times whether the view was mirrored.
        size: (width, height) of the image.
        side: Long side of the result in cells.

    Returns:
        float32 (H, W) with the aspect ratio of the image; NaN outside all views.
    """
    scale = min(1.0, side / max(size))
    width, height = (max(1, round(value * scale)) for value in size)
    total, count = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for values, (left, top, right, bottom), flip in zip(maps, boxes, mirrored, strict=True):
        x0, y0 = int(left * scale), int(top * scale)
        x1, y1 = max(x0 + 1, min(width, round(right * scale))), max(y0 + 1, min(height, round(bottom * scale)))
        cell = Image.fromarray(np.ascontiguousarray(values[:, ::-1] if flip else values).astype(np.float32))
        total[y0:y1, x0:x1] += np.asarray(cell.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC))
        count[y0:y1, x0:x1] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def evidence(signed: np.ndarray, for_fake: bool) -> np.ndarray:
    """The part of a signed map that supports "fake" or "real", in 0..1 (Grad-CAM's ReLU, divided by the peak)."""
    part = np.nan_to_num(signed if for_fake else -signed).clip(min=0)
    peak = part.max()
    return part / peak if peak > 0 else part


def overlay(image: Image.Image, strength: np.ndarray, opacity: float = 0.6, side: int = DISPLAY_SIDE) -> Image.Image:
    """Blends a heat map over an image: the stronger the evidence, the less transparent the map.

    Args:
        image: RGB.
        strength: (H, W) in 0..1, any size.
        opacity: Of the strongest place, 0..1.
        side: Maximum long side of the result in pixels; images below 256 pixels are enlarged.

    Returns:
        RGB, with the aspect ratio of `image`.
    """
    base = display(image, side)
    heat = Image.fromarray(strength.astype(np.float32)).resize(base.size, Image.Resampling.BICUBIC)
    steps = (np.asarray(heat).clip(0, 1) * 255).round().astype(np.uint8)  # finer steps are not visible
    level = np.arange(256, dtype=np.float32) / 255
    place = level * (len(STOPS) - 1)
    low = np.minimum(place.astype(int), len(STOPS) - 2)
    colors = STOPS[low] + (STOPS[low + 1] - STOPS[low]) * (place - low)[:, None]
    alpha = 255 * opacity * np.sqrt(level)
    color, mask = (Image.fromarray(table.round().astype(np.uint8)[steps]) for table in (colors, alpha))
    return Image.composite(color, base, mask)


def display(image: Image.Image, side: int = DISPLAY_SIDE) -> Image.Image:
    """The image at display size: at most `side` pixels long; images below 256 pixels are enlarged with hard edges."""
    longest = max(image.size)
    if longest > side:
        # reduce() makes the large step cheap; display only, never for the score
        small = image if longest < 2 * side else image.reduce(longest // side)
        size = tuple(max(1, round(length * side / longest)) for length in image.size)
        return small.resize(size, Image.Resampling.BILINEAR)
    if longest < 256:
        factor = max(1, 256 // longest)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return image
