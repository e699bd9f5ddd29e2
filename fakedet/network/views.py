"""Upright RGB -> the square crops that the network sees -> normalised tensor.

Training, evaluation, app and export all call this code. An image is never squashed: forensic traces live in native
pixels, so large images are cropped in several places at native resolution and small ones are scaled up. Beside those
crops the picture as a whole may be seen, shrunk (`whole_views`), since what is wrong with it can be larger than a crop,
and the crops may be of a size of the picture that is as if people had shared it (`crop_scale`).
(`squash` does what others do instead: it is there to be compared with.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

Box = tuple[int, int, int, int]

# Below so many views' sides a picture's short side is as good as shown by crops: none of the whole then.
WHOLE_FROM = 1.3

# Where crops are put on a 3 x 3 grid, most telling first: centre, corners, edges.
GRID_ORDER = ((1, 1), (0, 0), (2, 2), (2, 0), (0, 2), (1, 0), (1, 2), (0, 1), (2, 1))


@dataclass(frozen=True)
class Views:
    """The crops of one image.

    Attributes:
        pixels: float32 (V, 3, S, S), normalised.
        boxes: V times (left, top, right, bottom) in pixels of the original image.
        mirrored: V times whether that crop is mirrored left to right.
    """

    pixels: torch.Tensor
    boxes: tuple[Box, ...]
    mirrored: tuple[bool, ...]


def scale_up(image: Image.Image, size: int) -> Image.Image:
    """The image, enlarged (bicubic, aspect kept) where its short side is below `size` pixels, else as it is."""
    short = min(image.size)
    if short >= size:
        return image
    width, height = (max(size, round(side * size / short)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def shrunk(image: Image.Image, size: int) -> Image.Image:
    """The image, its aspect kept, made smaller (bicubic) until its short side is `size` pixels, where it is larger.

    The large step of a large picture is an average of whole blocks (Pillow's `reducing_gap`), five times as fast.
    """
    short = min(image.size)
    if short <= size:
        return image
    width, height = (max(size, round(side * size / short)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def squashed(image: Image.Image, size: int) -> Image.Image:
    """The whole image as a square of `size` pixels, its aspect and its native pixels lost."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)


def crop_corners(
    width: int, height: int, size: int, max_views: int, centre_first: bool = True
) -> list[tuple[int, int]]:
    """Left and top of each crop, at most `max_views`, for an image whose sides are at least `size` pixels.

    A side below 1.25 crops gets one centred position; a longer one is cut into three equal cells and gets a crop in the
    middle of each (moved inwards where it would reach over the edge).
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
    """Whether a few crops of `side` pixels show all of a picture of `size`, as `few_views_area` says."""
    return size[0] * size[1] <= getattr(config, "few_views_area", 0) * side**2


def view_limit(size: tuple[int, int], side: int, config) -> int:
    """Most crops of `side` pixels for a picture of `size`: five (centre, corners) where these show all of it."""
    return min(5, config.max_views) if shows_all(size, side, config) else config.max_views


def to_tensor(crops: list[np.ndarray], mean: list[float], std: list[float]) -> torch.Tensor:
    """uint8 crops, V times (S, S, 3), as float32 (V, 3, S, S): value / 255, minus mean, over std."""
    import torch  # here, so that processes which only cut do without

    stacked = np.stack(crops)
    pixels = np.empty((len(stacked), 3, *stacked.shape[1:3]), np.float32)
    for channel in range(3):  # a byte has 256 values: looked up, which is exact and three times as fast
        offset, spread = np.float32(mean[channel]) * np.float32(255), np.float32(std[channel]) * np.float32(255)
        table = (np.arange(256, dtype=np.float32) - offset) / spread
        np.take(table, stacked[..., channel], out=pixels[:, channel], mode="clip")
    return torch.from_numpy(pixels)


def view_side(image: Image.Image, config) -> int:
    """Side in pixels of the square views of this image; tiny images may have smaller ones (`tiny_input_size`)."""
    return (config.tiny_input_size if min(image.size) < config.tiny_side else 0) or config.input_size


def levels(image: Image.Image, size: int, config, max_views: int | None) -> list[tuple[Image.Image, int, bool]]:
    """The sizes of the picture at which crops of `size` pixels are cut.

    Returns:
        For each the picture, how many views there may be when it is done with, and whether its centre comes first.
    """
    squash, whole = getattr(config, "squash", False), getattr(config, "whole_views", 0)
    most_pixels = round(size * getattr(config, "crop_scale", 0)) or min(image.size)
    level = squashed(image, size) if squash else scale_up(shrunk(image, most_pixels), size)
    most = view_limit(level.size, size, config) if max_views is None else max_views
    if squash or not whole or min(level.size) <= WHOLE_FROM * size:
        return [(level, most, True)]
    if shows_all(level.size, size, config):  # the whole, which shows the centre well, and two corners
        return [(shrunk(level, size), 1, True), (level, min(3, most), False)]
    return [(shrunk(level, size), min(whole, most), True), (level, most, True)]


def cut(
    image: Image.Image, config, max_views: int | None = None
) -> tuple[list[np.ndarray], tuple[Box, ...], tuple[bool, ...]]:
    """Cuts an image into the views that its score is made of, as bytes.

    Args:
        image: Upright, mode RGB, any size.
        config: A FakeDetConfig; read are input_size, tiny_side, tiny_input_size, max_views, few_views_area,
            whole_views, crop_scale, mirror_single, squash.
        max_views: In place of the configuration's. The views of the whole come first.

    Returns:
        Crops, uint8 V times (S, S, 3), and `Views.boxes`, `Views.mirrored`.

    Raises:
        ValueError: The image is not RGB, or more elongated than 64 : 1 (scaling it up would need absurd memory).
    """
    if image.mode != "RGB":
        raise ValueError(f"views are made of RGB images, not of mode {image.mode}")
    if max(image.size) > 64 * min(image.size):
        raise ValueError("the image is more than 64 times as long as it is wide")
    size = view_side(image, config)
    crops, boxes, mirrored = [], [], []
    for level, most, centre_first in levels(image, size, config, max_views):
        ratios = [image.size[i] / level.size[i] for i in range(2)]
        for left, top in crop_corners(*level.size, size, most - len(crops), centre_first):
            crops.append(np.asarray(level.crop((left, top, left + size, top + size))))
            edges = [at * ratio for at, ratio in zip((left, top, left + size, top + size), ratios * 2)]
            right, bottom = (min(math.ceil(edges[2 + i]), image.size[i]) for i in range(2))
            boxes.append((math.floor(edges[0]), math.floor(edges[1]), right, bottom))
            mirrored.append(False)
    if len(crops) == 1 and config.mirror_single and most > 1:
        crops.append(crops[0][:, ::-1])
        boxes.append(boxes[0])
        mirrored.append(True)
    return crops, tuple(boxes), tuple(mirrored)


def make_views(image: Image.Image, config, max_views: int | None = None) -> Views:
    """`cut`, normalised by the configuration's image_mean and image_std: what the network takes."""
    crops, boxes, mirrored = cut(image, config, max_views)
    return Views(to_tensor(crops, config.image_mean, config.image_std), boxes, mirrored)
