"""One picture as people pass it on: smaller, recompressed, cropped, framed, on a screen. Used by consistency.py.

Every variant is a function from an upright RGB picture to another one; None where it would leave the picture as it is.
Framed pictures (letterbox, caption) are saved as JPEG 90 afterwards, as a video or a meme page would; the others change
one thing and stay without loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PIL import Image, ImageDraw, ImageFont, ImageOps

from train.data.augment import encode
from train.evaluation.curves import crop

Variant = Callable[[Image.Image], Image.Image | None]
SCREEN = (1080, 2340)  # pixels of a common phone, upright
CAPTION = "When nobody told you that it was today"


def long_side(image: Image.Image, side: int) -> Image.Image | None:
    """Scaled down to a long side of `side` pixels; None if it is not larger."""
    if max(image.size) <= side:
        return None
    size = tuple(max(1, round(length * side / max(image.size))) for length in image.size)
    return image.resize(size, Image.Resampling.LANCZOS)


def lossy(image: Image.Image, format: str, quality: int) -> Image.Image:
    """After JPEG (colour at half the resolution) or WebP compression."""
    return encode(image, format, quality, **({"subsampling": "4:2:0"} if format == "JPEG" else {}))


def letterbox(image: Image.Image) -> Image.Image:
    """Centred on a black frame of 16:9."""
    width, height = image.size
    frame = max(width, round(height * 16 / 9)), max(height, round(width * 9 / 16))
    return lossy(ImageOps.pad(image, frame, color="black"), "JPEG", 90)


def caption(image: Image.Image) -> Image.Image:
    """Below a white bar with one line of text."""
    bar = max(24, round(0.16 * image.height))
    page = Image.new("RGB", (image.width, image.height + bar), "white")
    page.paste(image, (0, bar))
    size = min(0.45 * bar, 1.8 * image.width / len(CAPTION))
    font = ImageFont.load_default(max(8, size))
    ImageDraw.Draw(page).text((image.width / 2, bar / 2), CAPTION, "black", font, anchor="mm")
    return lossy(page, "JPEG", 90)


def screenshot(image: Image.Image) -> Image.Image:
    """Shown by a phone's viewer: as wide as the screen (or as high as it), on black, under a bar with time and battery.

    The phone is turned for pictures that are wider than high.
    """
    screen = SCREEN[::-1] if image.width > image.height else SCREEN
    page = ImageOps.pad(image, screen, Image.Resampling.BILINEAR, color="black")
    draw, font, (width, _) = ImageDraw.Draw(page), ImageFont.load_default(34), screen
    draw.rectangle((0, 0, width, 76), "black")
    draw.text((48, 38), "12:41", "white", font, anchor="lm")
    draw.text((width - 120, 38), "5G  84 %", "white", font, anchor="rm")
    draw.rounded_rectangle((width - 108, 24, width - 48, 52), 6, "white")
    return page


def grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def upscaled(image: Image.Image) -> Image.Image:
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)


VARIANTS: dict[str, tuple[Variant, str]] = {
    **{f"{side} px": (partial(long_side, side=side), f"long side {side} px") for side in (1280, 640, 320, 160)},
    **{f"JPEG {q}": (partial(lossy, format="JPEG", quality=q), f"JPEG quality {q}, 4:2:0") for q in (90, 60, 40)},
    "WebP 80": (partial(lossy, format="WEBP", quality=80), "WebP quality 80"),
    "crop": (partial(crop, share=0.6), "the middle 60 % of both sides"),
    "letterbox": (letterbox, "black bars to 16:9, JPEG 90"),
    "caption": (caption, "a white bar with text above, JPEG 90"),
    "screenshot": (screenshot, "on a phone's screen with a status bar"),
    "mirrored": (ImageOps.mirror, "left to right"),
    "grey": (grey, "without colour"),
    "upscaled": (upscaled, "twice as large, bicubic"),
}
