"""Augmentation and degradation for training. Real and fake images go through the same code with the same odds.

A numpy Generator is the only source of randomness. Seeded by (seed, epoch, position), it makes a sample independent of
the worker or process that computes it, so that resumed and multi-process runs are exact.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from pydantic import ConfigDict, Field

KERNELS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BOX)
Preset = Literal["none", "flip", "light", "degrade"]
Odds = Annotated[float, Field(strict=True, ge=0, le=1)]
Scale = Annotated[float, Field(strict=True, gt=0, le=10)]
Quality = Annotated[int, Field(strict=True, ge=1, le=100)]


@dataclass(frozen=True)
class Augment:
    """Odds (0..1) and ranges of each step. A training config may give them as a mapping, which pydantic checks.

    Args:
        untouched: Share of images that are only flipped; the others go through every step at its own odds.
        rescale: Odds of resizing by a factor from `scale_range` (log-uniform) with a random kernel.
        blur: Odds of a Gaussian blur of 0.2 to 1.5 pixels.
        sharpen: Odds of an unsharp mask of 1 to 3 pixels and up to 150 %, as web sites apply to smaller copies.
        noise: Odds of Gaussian noise of 1 to 8 grey levels.
        jpeg: Odds of one round of JPEG or WebP at `quality_range`; a second round follows half as often.
        rotate: Odds of a rotation by up to 8 degrees.
        color: Odds of brightness and contrast changes by up to 20 %.
        saturation: Odds of another saturation: none (a grey picture) half of the time, else 0 to 1.5 times. Without it
            a network takes pictures without colour for photographs.
        flip: Odds of mirroring left to right.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    untouched: Odds = 0.0
    rescale: Odds = 0.0
    scale_range: tuple[Scale, Scale] = (0.4, 1.3)
    blur: Odds = 0.0
    sharpen: Odds = 0.0
    noise: Odds = 0.0
    jpeg: Odds = 0.0
    quality_range: tuple[Quality, Quality] = (30, 98)
    rotate: Odds = 0.0
    color: Odds = 0.0
    saturation: Odds = 0.0
    flip: Odds = 0.5

    def __post_init__(self):
        for name in ("scale_range", "quality_range"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be [low, high]")


PRESETS: dict[Preset, Augment] = {
    "none": Augment(flip=0.0),
    "flip": Augment(),
    "light": Augment(untouched=0.5, jpeg=0.2, quality_range=(60, 98), rotate=0.1, color=0.3),
    "degrade": Augment(untouched=0.2, rescale=0.5, blur=0.1, noise=0.1, jpeg=0.6, rotate=0.05, color=0.2),
}


def encode(image: Image.Image, format: str, quality: int, **options) -> Image.Image:
    """The image after one round of lossy compression, decoded again."""
    buffer = io.BytesIO()
    image.save(buffer, format, quality=quality, **options)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def recompress(image: Image.Image, rng: np.random.Generator, quality_range: tuple[int, int]) -> Image.Image:
    """One round of JPEG (odds 3 in 4; 4:2:0 or 4:4:4) or WebP at a random quality."""
    quality = int(rng.integers(quality_range[0], quality_range[1] + 1))
    if rng.random() < 0.75:
        return encode(image, "JPEG", quality, subsampling=int(rng.choice((2, 2, 0))))
    return encode(image, "WEBP", quality, method=2)


def augment(image: Image.Image, rng: np.random.Generator, settings: Augment) -> Image.Image:
    """A random variant of an RGB image; its size changes only by `rescale`."""
    if rng.random() < settings.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if settings.saturation and rng.random() < settings.saturation:  # also of images that are untouched otherwise
        image = ImageEnhance.Color(image).enhance(rng.choice((0.0, rng.uniform(0, 1.5))))
    if rng.random() < settings.untouched:
        return image
    if rng.random() < settings.rotate:
        image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    if rng.random() < settings.rescale:
        factor = float(np.exp(rng.uniform(*np.log(settings.scale_range))))
        size = tuple(max(16, round(side * factor)) for side in image.size)
        image = image.resize(size, KERNELS[rng.integers(len(KERNELS))])
    if rng.random() < settings.color:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.2))
        image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.8, 1.2))
    if rng.random() < settings.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.5)))
    if settings.sharpen and rng.random() < settings.sharpen:
        image = image.filter(ImageFilter.UnsharpMask(rng.uniform(1, 3), int(rng.uniform(40, 150)), 2))
    if rng.random() < settings.noise:
        pixels = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(1, 8), (*image.size[::-1], 3))
        image = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
    if rng.random() < settings.jpeg:
        image = recompress(image, rng, settings.quality_range)
        if rng.random() < 0.5:
            image = recompress(image, rng, settings.quality_range)
    return image


def random_crop(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """A square crop of `size` pixels anywhere in an image at least as large."""
    left, top = (int(rng.integers(side - size + 1)) for side in image.size)
    return image.crop((left, top, left + size, top + size))
