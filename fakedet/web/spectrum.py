"""The frequency view: a log spectrum and its radial profile, beside the band in which camera photographs lie.

Cameras and generators leave different fine structure: upsampling layers leave peaks and bends at high frequencies, a
camera's optics and noise a smooth fall (Durall et al., CVPR 2020; Corvi et al., CVPR Workshops 2023). The verdict does
not use this view. The band is printed by

    python -m fakedet.web.spectrum FOLDER_OF_PHOTOS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import numpy as np
from PIL import Image

RINGS = 32  # of the radial profile, evenly spread over 0 to 0.5 cycles a pixel
TILE = 256  # pixels of a side; cut at native resolution, because resizing adds frequencies of its own
MIN_SIDE = 32  # pixels
MAX_TILES = 9
CHART_WIDTH, CHART_HEIGHT, CHART_LEFT, CHART_BOTTOM, CHART_MARGIN = 620, 260, 52, 40, 12
# 5th and 95th percentile over 500 photographs from public collections, 128 to 256 pixels a side. The band of 500
# AI-generated pictures lies almost on top of it: a picture outside is unusual, not fake.
REAL_LOW = (
    2.55, 1.50, 1.12, 0.83, 0.63, 0.47, 0.35, 0.21, 0.15, 0.06, -0.04, -0.11, -0.20, -0.29, -0.36, -0.48,
    -0.57, -0.66, -0.79, -0.90, -1.05, -1.14, -1.24, -1.35, -1.43, -1.48, -1.56, -1.61, -1.66, -1.70, -1.75, -1.78,
)  # fmt: skip
REAL_HIGH = (
    4.69, 3.51, 2.72, 2.20, 1.78, 1.54, 1.28, 1.08, 0.88, 0.72, 0.55, 0.41, 0.27, 0.17, 0.07, -0.01,
    -0.09, -0.16, -0.23, -0.28, -0.34, -0.39, -0.43, -0.49, -0.53, -0.59, -0.65, -0.68, -0.74, -0.78, -0.81, -0.81,
)  # fmt: skip


def power(image: Image.Image, max_tiles: int = MAX_TILES) -> np.ndarray:
    """Mean power spectrum of square tiles of the luminance, zero frequency in the middle.

    Args:
        image: RGB, at least 32 pixels a side.
        max_tiles: Tiles at most, spread over the picture.

    Returns:
        float64 (S, S), S = 256 or the short side where that is smaller.

    Raises:
        ValueError: The picture is smaller than 32 pixels.
    """
    size = min(TILE, *image.size)
    if size < MIN_SIDE:
        raise ValueError(f"The picture is too small for a frequency view: it needs {MIN_SIDE} pixels a side.")
    steps = int(max_tiles**0.5)
    lefts, tops = (sorted({int(x) for x in np.linspace(0, side - size, steps)}) for side in image.size)
    window = np.outer(np.hanning(size), np.hanning(size))  # without a window the tile's edges show as a cross
    total = np.zeros((size, size))
    for left in lefts:
        for top in tops:
            grey = np.asarray(image.crop((left, top, left + size, top + size)).convert("L"), np.float64) / 255
            total += np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
    return total / (len(lefts) * len(tops))


def radial_profile(spectrum: np.ndarray) -> np.ndarray:
    """Mean log10 power in each ring, minus the mean over all rings, so that contrast and exposure cancel out.

    Args:
        spectrum: From `power`, (S, S).

    Returns:
        float64 (32,).
    """
    size = len(spectrum)
    axis = (np.arange(size) - size // 2) / size
    ring = (np.hypot(*np.meshgrid(axis, axis)) * 2 * RINGS).astype(int)
    inside = ring < RINGS
    level = np.log10(spectrum + 1e-9)
    total = np.bincount(ring[inside], level[inside], RINGS)
    profile = total / np.bincount(ring[inside], minlength=RINGS).clip(1)
    return profile - profile.mean()


def picture(spectrum: np.ndarray, side: int = 384) -> Image.Image:
    """The log spectrum in grey, low frequencies in the middle, bright where the power is high."""
    level = np.log10(spectrum + 1e-9)
    low, high = np.percentile(level, [1, 99.8])
    grey = ((level - low) / max(high - low, 1e-9)).clip(0, 1) * 255
    return Image.fromarray(grey.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def outside(profile: np.ndarray) -> int:
    """Number of rings in which the profile leaves the band of camera photographs."""
    return int(((profile < REAL_LOW) | (profile > REAL_HIGH)).sum())


def chart(profile: np.ndarray) -> dict[str, float | str]:
    """The radial profile over the band as coordinates of an SVG.

    Args:
        profile: From `radial_profile`, (32,).

    Returns:
        Size and axes in SVG units; `line` and `band` as lists of points; `outside` of `rings` leave the band.
    """
    low, high = min(*REAL_LOW, *profile) - 0.15, max(*REAL_HIGH, *profile) + 0.15
    left, right, top, base = CHART_LEFT, CHART_WIDTH - CHART_MARGIN, CHART_MARGIN, CHART_HEIGHT - CHART_BOTTOM

    def point(ring: int, value: float) -> str:
        x = left + (right - left) * ring / (RINGS - 1)
        y = top + (base - top) * (high - value) / (high - low)
        return f"{x:.1f},{y:.1f}"

    upper = [point(ring, value) for ring, value in enumerate(REAL_HIGH)]
    lower = [point(ring, value) for ring, value in enumerate(REAL_LOW)]
    return {
        "width": CHART_WIDTH,
        "height": CHART_HEIGHT,
        "left": left,
        "right": right,
        "top": top,
        "base": base,
        "middle": (top + base) / 2,
        "band": " ".join([*upper, *reversed(lower)]),
        "line": " ".join(point(ring, value) for ring, value in enumerate(profile)),
        "outside": outside(profile),
        "rings": RINGS,
    }


def measure(images: Iterable[Image.Image]) -> tuple[list[float], list[float]]:
    """The 5th and 95th percentile of each ring over the given photographs; images too small are left out."""
    profiles = [radial_profile(power(image)) for image in images if min(image.size) >= MIN_SIDE]
    low, high = np.percentile(profiles, [5, 95], axis=0)
    return [round(float(x), 3) for x in low], [round(float(x), 3) for x in high]


if __name__ == "__main__":
    from fakedet.images import iter_image_files, open_image

    print(json.dumps(measure(open_image(path).image for path in iter_image_files(sys.argv[1]))))
