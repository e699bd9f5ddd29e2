"""Cuts an upright RGB image into the square views that the network sees, and normalises them.

Training, evaluation, app and export all call this code. `Settings` decides what the views show:

* crops in several places; small images are scaled up first, large ones keep their resolution, where forensic traces
  are, unless `crop_scale` scales them down to a size at which images are shared;
* up to `whole_views` views of the whole image, scaled down with its aspect ratio kept, since a flaw may be larger than
  a crop;
* with `squash`, for comparison, one view of the whole image resized to a square;
* with `trim_borders`, only what lies inside the image's borders of one colour: then "the whole image" is that part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .borders import Box, content_box

# The fields of Settings that `cut` reads.
CUT_KEYS = (
    "input_size",
    "tiny_side",
    "tiny_input_size",
    "max_views",
    "few_views_area",
    "whole_views",
    "crop_scale",
    "mirror_single",
    "squash",
    "trim_borders",
)

MAX_ASPECT = 64  # long side over short side; scaling a longer image up would need absurd memory

# Crops cover an image whose short side is at most this many view sides, so it gets no views of the whole.
WHOLE_FROM = 1.3

# Order in which the crops of a 3 x 3 grid, (column, row), are taken: centre, corners, edges.
GRID_ORDER = ((1, 1), (0, 0), (2, 2), (2, 0), (0, 2), (1, 0), (1, 2), (0, 1), (2, 1))


@dataclass(frozen=True)
class Views:
    """The views of one image.

    Attributes:
        pixels: float32 (V, 3, S, S), normalised.
        boxes: V times (left, top, right, bottom) in pixels of the original image.
        mirrored: V times whether that view is mirrored left to right.
        kept: The part of the image inside its borders, (left, top, right, bottom); None where nothing was cut off.
    """

    pixels: np.ndarray
    boxes: tuple[Box, ...]
    mirrored: tuple[bool, ...]
    kept: Box | None = None


def without_borders(image: Image.Image, config) -> tuple[Image.Image, Box | None]:
    """The part of an image inside its borders of one colour, and its box, None if that is all (see `borders`)."""
    if not config.trim_borders or min(image.size) < config.tiny_side:
        return image, None
    box = content_box(image, config.trim_borders, config.tiny_side)
    return (image.crop(box), box) if box else (image, None)


def scale_up(image: Image.Image, size: int) -> Image.Image:
    """Scales an image up (bicubic, aspect ratio kept) until its short side is at least `size` pixels."""
    short = min(image.size)
    if short >= size:
        return image
    width, height = (max(size, round(side * size / short)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def shrunk(image: Image.Image, size: int) -> Image.Image:
    """Scales an image down (bicubic, aspect ratio kept) until its short side is at most `size` pixels.

    Pillow's `reducing_gap` averages whole blocks first, which is five times as fast on large images. 1.5 in place of
    the usual 2 saves 7 ms more of 12 megapixels, and moves the logit of such photographs by 0.01.
    """
    short = min(image.size)
    if short <= size:
        return image
    width, height = (max(size, round(side * size / short)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=1.5)


def squashed(image: Image.Image, size: int) -> Image.Image:
    """Resizes the whole image to a square of `size` pixels; its aspect ratio is lost."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)


def crop_corners(
    width: int, height: int, size: int, max_views: int, centre_first: bool = True
) -> list[tuple[int, int]]:
    """Left and top of each crop, at most `max_views`, for an image whose sides are at least `size` pixels.

    A side below 1.25 crops gets one centred position. A longer one is divided into three equal cells, each with a crop
    at its centre, moved inwards where it would cross the edge.
    """

    def positions(side: int) -> tuple[int, ...]:
        room = side - size
        if side < 1.25 * size:
            return (room // 2,) * 3
        return tuple(min(max(round(side * (2 * cell + 1) / 6 - size / 2), 0), room) for cell in range(3))

    xs, ys = positions(width), positions(height)
    order = GRID_ORDER if centre_first else GRID_ORDER[1:] + GRID_ORDER[:1]
    corners = list(dict.fromkeys((xs[column], ys[row]) for column, row in order))
    return corners[:max_views]


def shows_all(size: tuple[int, int], side: int, config) -> bool:
    """Whether five crops of `side` pixels cover an image of `size`, by `few_views_area`."""
    return size[0] * size[1] <= config.few_views_area * side**2


def view_limit(size: tuple[int, int], side: int, config) -> int:
    """Maximum number of crops of `side` pixels for an image of `size`: five (centre, corners) where they cover it."""
    return min(5, config.max_views) if shows_all(size, side, config) else config.max_views


def normalise(crops: list[np.ndarray], mean: list[float], std: list[float]) -> np.ndarray:
    """uint8 crops, V times (S, S, 3), as float32 (V, 3, S, S): value / 255, minus mean, over std."""
    stacked = np.stack(crops)
    pixels = np.empty((len(stacked), 3, *stacked.shape[1:3]), np.float32)
    for channel in range(3):  # a table of the 256 values of a byte is exact and three times as fast
        offset, spread = np.float32(mean[channel]) * np.float32(255), np.float32(std[channel]) * np.float32(255)
        table = (np.arange(256, dtype=np.float32) - offset) / spread
        np.take(table, stacked[..., channel], out=pixels[:, channel], mode="clip")
    return pixels


def view_side(image: Image.Image, config) -> int:
    """Side in pixels of the views of this image; those of tiny images may be smaller (`tiny_input_size`)."""
    return (config.tiny_input_size if min(image.size) < config.tiny_side else 0) or config.input_size


def levels(image: Image.Image, size: int, config, max_views: int | None) -> list[tuple[Image.Image, int, bool]]:
    """The scaled versions of the image from which views of `size` pixels are cut, in order.

    Returns:
        For each the image, the total number of views up to and including it, and whether its centre comes first.
    """
    max_side = round(size * config.crop_scale) or min(image.size)
    level = squashed(image, size) if config.squash else scale_up(shrunk(image, max_side), size)
    limit = view_limit(level.size, size, config) if max_views is None else max_views
    if config.squash or not config.whole_views or min(level.size) <= WHOLE_FROM * size:
        return [(level, limit, True)]
    if shows_all(level.size, size, config):  # one view of the whole, which shows the centre, and two corners
        return [(shrunk(level, size), 1, True), (level, min(3, limit), False)]
    return [(shrunk(level, size), min(config.whole_views, limit), True), (level, limit, True)]


def cut(
    image: Image.Image, config, max_views: int | None = None
) -> tuple[list[np.ndarray], tuple[Box, ...], tuple[bool, ...], Box | None]:
    """Cuts an image into its views, not yet normalised.

    Args:
        image: Upright, mode RGB, any size.
        config: Settings, or an object with the attributes `CUT_KEYS`.
        max_views: In place of the configuration's. Views of the whole image come first.

    Returns:
        Views, uint8 V times (S, S, 3), and `Views.boxes`, `Views.mirrored`, `Views.kept`.

    Raises:
        ValueError: The image is not RGB, or longer than `MAX_ASPECT` times its width.
    """
    if image.mode != "RGB":
        raise ValueError(f"views are cut from RGB images, not from mode {image.mode}")
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ValueError(f"the image is more than {MAX_ASPECT} times as long as it is wide")
    image, kept = without_borders(image, config)
    offset = kept[:2] if kept else (0, 0)
    size = view_side(image, config)
    crops, boxes, mirrored = [], [], []
    for level, limit, centre_first in levels(image, size, config, max_views):
        ratios = [image.size[i] / level.size[i] for i in range(2)]
        for left, top in crop_corners(*level.size, size, limit - len(crops), centre_first):
            crops.append(np.asarray(level.crop((left, top, left + size, top + size))))
            edges = [at * ratio for at, ratio in zip((left, top, left + size, top + size), ratios * 2)]
            right, bottom = (min(math.ceil(edges[2 + i]), image.size[i]) for i in range(2))
            box = (math.floor(edges[0]), math.floor(edges[1]), right, bottom)
            boxes.append(tuple(at + start for at, start in zip(box, offset * 2)))
            mirrored.append(False)
    if len(crops) == 1 and config.mirror_single and limit > 1:
        crops.append(crops[0][:, ::-1])
        boxes.append(boxes[0])
        mirrored.append(True)
    return crops, tuple(boxes), tuple(mirrored), kept


def make_views(image: Image.Image, config, max_views: int | None = None) -> Views:
    """Cuts an image and normalises its views by image_mean and image_std; arguments and errors as of `cut`."""
    crops, boxes, mirrored, kept = cut(image, config, max_views)
    return Views(normalise(crops, config.image_mean, config.image_std), boxes, mirrored, kept)
