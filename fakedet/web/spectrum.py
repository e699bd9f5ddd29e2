"""The picture as frequencies: a log spectrum and its radial profile, beside the band in which camera photographs lie.

Cameras and generators leave different fine structure: upsampling layers leave peaks and bends at high frequencies, a
camera's optics and noise a smooth fall (Durall et al., CVPR 2020; Corvi et al., CVPR Workshops 2023). This is a picture
for curious people; the verdict does not use it. The band is printed by

    python -m fakedet.web.spectrum FOLDER_OF_PHOTOS
"""

from __future__ import annotations

import json
import sys

import numpy as np
from PIL import Image

RINGS = 32  # of the radial profile, evenly spread over 0 to 0.5 cycles a pixel
TILE = 256  # pixels of a side; tiles are cut at native resolution, for resizing would make its own frequencies
SMALLEST = 32
# 5th and 95th percentile over 500 photographs from public collections, 128 to 256 pixels a side. The band of 500
# AI-generated pictures lies almost on top of it: a picture outside is unusual, not fake.
REAL_LOW = (
    2.55,
    1.50,
    1.12,
    0.83,
    0.63,
    0.47,
    0.35,
    0.21,
    0.15,
    0.06,
    -0.04,
    -0.11,
    -0.20,
    -0.29,
    -0.36,
    -0.48,
    -0.57,
    -0.66,
    -0.79,
    -0.90,
    -1.05,
    -1.14,
    -1.24,
    -1.35,
    -1.43,
    -1.48,
    -1.56,
    -1.61,
    -1.66,
    -1.70,
    -1.75,
    -1.78,
)
REAL_HIGH = (
    4.69,
    3.51,
    2.72,
    2.20,
    1.78,
    1.54,
    1.28,
    1.08,
    0.88,
    0.72,
    0.55,
    0.41,
    0.27,
    0.17,
    0.07,
    -0.01,
    -0.09,
    -0.16,
    -0.23,
    -0.28,
    -0.34,
    -0.39,
    -0.43,
    -0.49,
    -0.53,
    -0.59,
    -0.65,
    -0.68,
    -0.74,
    -0.78,
    -0.81,
    -0.81,
)


def power(image: Image.Image, most_tiles: int = 9) -> np.ndarray:
    """Mean power spectrum of square tiles of the luminance, zero frequency in the middle.

    Args:
        image: RGB, at least 32 pixels a side.
        most_tiles: Tiles, spread over the picture.

    Returns:
        float64 (S, S), S = 256 or the short side where that is smaller.

    Raises:
        ValueError: The picture is smaller than 32 pixels.
    """
    size = min(TILE, *image.size)
    if size < SMALLEST:
        raise ValueError(f"The picture is too small for a frequency view: it needs {SMALLEST} pixels a side.")
    steps = int(most_tiles**0.5)
    lefts, tops = (sorted({int(x) for x in np.linspace(0, side - size, steps)}) for side in image.size)
    window = np.outer(np.hanning(size), np.hanning(size))  # without it the tile's edges draw a cross
    total = np.zeros((size, size))
    for left in lefts:
        for top in tops:
            grey = np.asarray(image.crop((left, top, left + size, top + size)).convert("L"), np.float64) / 255
            total += np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
    return total / (len(lefts) * len(tops))


def radial_profile(spectrum: np.ndarray) -> np.ndarray:
    """Mean log10 power in each ring, float64 (32,), minus the mean over all rings: contrast and exposure drop out."""
    size = len(spectrum)
    axis = (np.arange(size) - size // 2) / size
    ring = (np.hypot(*np.meshgrid(axis, axis)) * 2 * RINGS).astype(int)
    inside = ring < RINGS
    level = np.log10(spectrum + 1e-9)
    total = np.bincount(ring[inside], level[inside], RINGS)
    profile = total / np.bincount(ring[inside], minlength=RINGS).clip(1)
    return profile - profile.mean()


def picture(spectrum: np.ndarray, side: int = 384) -> Image.Image:
    """The log spectrum in grey, low frequencies in the middle, bright where there is much."""
    level = np.log10(spectrum + 1e-9)
    low, high = np.percentile(level, [1, 99.8])
    grey = ((level - low) / max(high - low, 1e-9)).clip(0, 1) * 255
    return Image.fromarray(grey.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def outside(profile: np.ndarray) -> int:
    """In how many of the rings the profile leaves the band of camera photographs."""
    return int(((profile < REAL_LOW) | (profile > REAL_HIGH)).sum())


def chart(profile: np.ndarray) -> str:
    """The radial profile over the band, as an SVG that takes the page's text colour."""
    width, height, left, bottom = 620, 260, 52, 40
    low, high = min(*REAL_LOW, *profile) - 0.15, max(*REAL_HIGH, *profile) + 0.15

    def point(ring: int, value: float) -> str:
        x = left + (width - left - 12) * ring / (RINGS - 1)
        return f"{x:.1f},{12 + (height - bottom - 12) * (high - value) / (high - low):.1f}"

    band = " ".join(
        [point(i, v) for i, v in enumerate(REAL_HIGH)] + [point(i, REAL_LOW[i]) for i in reversed(range(RINGS))]
    )
    line = " ".join(point(i, value) for i, value in enumerate(profile))
    base = height - bottom
    return (
        f'<svg class="fd-chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Radial profile: in {outside(profile)} of {RINGS} rings outside the band of photographs">'
        f'<polygon points="{band}" fill="currentColor" opacity=".16"/>'
        f'<polyline points="{line}" fill="none" stroke="#0d9488" stroke-width="2.5"/>'
        f'<path d="M{left} 12V{base}H{width - 12}" fill="none" stroke="currentColor" opacity=".45"/>'
        '<g fill="currentColor" font-size="13">'
        f'<text x="{left}" y="{height - 14}">coarse structure</text>'
        f'<text x="{width - 12}" y="{height - 14}" text-anchor="end">fine structure</text>'
        f'<text x="16" y="{(12 + base) / 2}" text-anchor="middle" transform="rotate(-90 16 {(12 + base) / 2})">'
        "strength (log)</text></g></svg>"
    )


def measure(images) -> tuple[list[float], list[float]]:
    """The band of given photographs: the 5th and 95th percentile of each ring; images too small are left out."""
    profiles = [radial_profile(power(image)) for image in images if min(image.size) >= SMALLEST]
    low, high = np.percentile(profiles, [5, 95], axis=0)
    return [round(float(x), 3) for x in low], [round(float(x), 3) for x in high]


if __name__ == "__main__":
    from fakedet.images import iter_image_files, open_image

    print(json.dumps(measure(open_image(path).image for path in iter_image_files(sys.argv[1]))))
