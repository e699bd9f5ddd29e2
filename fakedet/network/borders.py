"""Finds borders of one colour around a picture: bars of a video frame, a frame, a caption bar, the page around it.

A border begins at an edge, and its rows (or columns) have one colour throughout, within a tolerance for JPEG noise;
between such rows there may be lines of text. It ends at a straight edge across the picture, where most of the row has
another colour. A night sky and the white around a product are therefore no borders: what lies in them begins little by
little.

This file travels with the checkpoint to the Hub, see model.py, and imports nothing else of fakedet.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]

TOLERANCE = 10  # levels of 255, per channel, between a pixel and the border's colour
PLAIN = 0.985  # share of a row that has the border's colour, from which the row is plain
MAX_TEXT = 0.15  # of the side: rows of text inside a border
OTHER = 0.6  # share of the picture's first row that has another colour
BLUR = 6  # rows at most from the last plain row to that one: scaling and JPEG blur the edge
MIN_BORDER = 0.01  # of the side: thinner borders stay
MIN_SIDE = 32  # pixels of the short side that must remain
MAX_LENGTH = 8  # long side over short side of what remains
ROUNDS = 3  # borders inside borders
SAMPLES = 512  # pixels of a row that are looked at, evenly spaced
_STEP = 32  # rows read at a time
_EDGES = ("top", "bottom", "left", "right")


def content_box(image: Image.Image, max_share: float, min_side: int = 0) -> Box | None:
    """The part of a picture inside its borders, (left, top, right, bottom) in pixels; None if nothing is to be cut.

    Args:
        image: RGB.
        max_share: Share of the area, 0..1, that borders may take. With more, nothing is cut.
        min_side: Short side in pixels that must remain, at least `MIN_SIDE`.
    """
    box = whole = (0, 0, *image.size)
    for number in range(ROUNDS):
        before = box
        for edge in _EDGES:
            box = _without(image, box, edge, BLUR if number else 0)
        if box == before:
            break
    width, height = box[2] - box[0], box[3] - box[1]
    large = min(width, height) >= max(MIN_SIDE, min_side, max(width, height) / MAX_LENGTH)
    enough = width * height >= (1 - max_share) * image.width * image.height
    return box if box != whole and large and enough else None


def _without(image: Image.Image, box: Box, edge: str, skip: int) -> Box:
    """The box without the border at one of its edges."""
    depth = _depth(image, box, edge, skip)
    left, top, right, bottom = box
    return {
        "top": (left, top + depth, right, bottom),
        "bottom": (left, top, right, bottom - depth),
        "left": (left + depth, top, right, bottom),
        "right": (left, top, right - depth, bottom),
    }[edge]


def _depth(image: Image.Image, box: Box, edge: str, skip: int) -> int:
    """Rows (columns at the sides) of the border at one edge of the box; 0 if there is none.

    The first `skip` rows are not looked at: they may be the blurred end of another border.
    """
    side = box[3] - box[1] if edge in ("top", "bottom") else box[2] - box[0]
    if side <= skip:
        return 0
    first = _rows(image, box, edge, skip, skip + 1)
    colour = np.median(first[0], axis=0)
    if _shares(first, colour)[0] < PLAIN:
        return 0
    last_plain, text, end = skip, 0, 0
    for start in range(skip, side, _STEP):
        rows = _rows(image, box, edge, start, min(start + _STEP, side))
        for row, share in enumerate(_shares(rows, colour), start):
            if share >= PLAIN:  # what came before was text
                last_plain, end = row, 0
                continue
            if not end and share <= 1 - OTHER and row - last_plain <= BLUR:
                end = row
            text += 1
        if text > MAX_TEXT * side:
            break
    return end if end >= max(2, MIN_BORDER * side) else 0


def _shares(rows: np.ndarray, colour: np.ndarray) -> list[float]:
    """The share of each row's samples that have the colour, uint8 (3,)."""
    low, high = colour.astype(np.int16) - TOLERANCE, colour.astype(np.int16) + TOLERANCE
    low, high = low.clip(0).astype(np.uint8), high.clip(max=255).astype(np.uint8)
    same = [(rows[..., i] >= low[i]) & (rows[..., i] <= high[i]) for i in range(3)]
    return (same[0] & same[1] & same[2]).mean(axis=1).tolist()


def _rows(image: Image.Image, box: Box, edge: str, start: int, end: int) -> np.ndarray:
    """The rows start..end of the box, counted from the edge inwards: uint8 (rows, samples, 3)."""
    left, top, right, bottom = box
    strip = {
        "top": (left, top + start, right, top + end),
        "bottom": (left, bottom - end, right, bottom - start),
        "left": (left + start, top, left + end, bottom),
        "right": (right - end, top, right - start, bottom),
    }[edge]
    across = edge in ("top", "bottom")
    samples = min(SAMPLES, right - left if across else bottom - top)
    size = (samples, end - start) if across else (end - start, samples)
    pixels = np.asarray(image.resize(size, Image.Resampling.NEAREST, box=strip))
    rows = pixels if across else pixels.swapaxes(0, 1)
    return rows if edge in ("top", "left") else rows[::-1]
