"""Documents, logos and memes, drawn by Pillow; scans get the noise of paper and of a scanner."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from train.data.graphics.words import FONTS, colour, name, number, paragraph, sentence, word

Photo = Callable[[], Image.Image | None]


@cache
def font_files() -> list[str]:
    """Files of the DejaVu fonts, which come with matplotlib, and of the Liberation fonts where they are installed."""
    from matplotlib.font_manager import fontManager

    return sorted(entry.fname for entry in fontManager.ttflist if entry.name in FONTS)


def font(rng: Random, size: int) -> ImageFont.FreeTypeFont:
    """A random installed font."""
    return ImageFont.truetype(rng.choice(font_files()), size)


def write(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], text: str, style, fill, leading=1.3) -> int:
    """Writes text into a box (left, top, right, bottom), broken into lines; returns the y below it."""
    left, top, right, bottom = box
    line = ""
    for part in [*text.split(), None]:
        longer = f"{line} {part}".strip()
        if part is None or draw.textlength(longer, style) > right - left:
            if top + style.size > bottom:
                break
            draw.text((left, top), line, fill, style)
            top, line = top + round(leading * style.size), part or ""
        else:
            line = longer
    return top


def scanned(rng: Random, image: Image.Image) -> Image.Image:
    """The same page as a scanner gives it: a little turned, uneven paper, noise, at times without colour."""
    noise = np.random.default_rng(rng.getrandbits(32))
    paper = tuple(255 - rng.randint(0, 30) for _ in range(3))
    image = image.rotate(rng.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor=paper)
    pixels = np.asarray(image, np.float32) * (np.array(paper) / 255)
    ramp = np.linspace(1, rng.uniform(0.85, 1), pixels.shape[1])[None, :, None]
    pixels = pixels * ramp + noise.normal(0, rng.uniform(1, 9), pixels.shape)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9)))
    return ImageOps.grayscale(image).convert("RGB") if rng.random() < 0.4 else image


def letter(rng: Random, photo: Photo) -> Image.Image:
    """A letter or a page of a report."""
    width, height = rng.choice(((850, 1200), (620, 877), (1000, 1300)))
    image = Image.new("RGB", (width, height), "white")
    draw, body, at = ImageDraw.Draw(image), font(rng, width // rng.randint(38, 60)), height // 12
    margin = width // 10
    at = write(draw, (margin, at, width - margin, height), sentence(rng), font(rng, width // 28), "black") + 20
    while at < 0.85 * height:
        at = write(draw, (margin, at, width - margin, round(0.92 * height)), paragraph(rng, 5), body, "#222") + 14
    return scanned(rng, image) if rng.random() < 0.6 else image


def receipt(rng: Random, photo: Photo) -> Image.Image:
    """A receipt of a shop."""
    width, height = rng.randint(380, 560), rng.randint(800, 1200)
    image = Image.new("RGB", (width, height), "white")
    draw, body = ImageDraw.Draw(image), ImageFont.truetype(next(f for f in font_files() if "Mono" in f), width // 22)
    draw.text((width // 2, 40), name(rng).upper(), "black", body, anchor="mm")
    for at in range(90, height - 40, round(1.6 * body.size)):
        draw.text((24, at), word(rng), "black", body)
        draw.text((width - 24, at), f"{rng.uniform(0, 99):.2f}", "black", body, anchor="ra")
    return scanned(rng, image)


def questionnaire(rng: Random, photo: Photo) -> Image.Image:
    """A printed form with lines, boxes and a stamp."""
    width, height = 900, rng.randint(900, 1250)
    image = Image.new("RGB", (width, height), "white")
    draw, body = ImageDraw.Draw(image), font(rng, 22)
    for at in range(60, height - 80, rng.randint(44, 80)):
        draw.text((60, at), sentence(rng, 1, 4), "black", body)
        if rng.random() < 0.5:
            draw.rectangle((520, at - 6, 840, at + 26), outline="black")
        else:
            draw.line((480, at + 26, 840, at + 26), "black")
    x, y = rng.randint(500, 700), rng.randint(500, height - 200)
    draw.ellipse((x, y, x + 150, y + 150), outline=colour(rng), width=5)
    return scanned(rng, image)


def logo(rng: Random, photo: Photo) -> Image.Image:
    """A logo: shapes and a name."""
    side = rng.randint(256, 900)
    back = "white" if rng.random() < 0.6 else colour(rng, (0.05, 0.95))
    image = Image.new("RGB", (side, round(side * rng.uniform(0.5, 1))), back)
    draw, (width, height) = ImageDraw.Draw(image), image.size
    for _ in range(rng.randint(1, 4)):
        x, y, reach = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.6) * height, rng.uniform(0.08, 0.3) * side
        shape, fill = rng.randint(0, 3), colour(rng)
        if shape == 0:
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill)
        elif shape == 1:
            draw.rounded_rectangle((x - reach, y - reach, x + reach, y + reach), reach / 4, fill)
        else:
            draw.regular_polygon((x, y, reach), rng.randint(3, 8), rng.randint(0, 90), fill)
    draw.text((width / 2, 0.85 * height), name(rng), colour(rng, (0.1, 0.9)), font(rng, side // 9), anchor="mm")
    return image


def backdrop(rng: Random, photo: Photo, size: tuple[int, int]) -> Image.Image:
    """A photograph of this size, or a plain colour where there is none."""
    own = photo()
    return Image.new("RGB", size, colour(rng)) if own is None else ImageOps.fit(own.convert("RGB"), size)


def caption(rng: Random, photo: Photo) -> Image.Image:
    """A meme: outlined capitals over a photograph, above and below."""
    width, height = rng.choice(((600, 600), (800, 600), (640, 800), (500, 400)))
    image = backdrop(rng, photo, (width, height))
    draw, letters = ImageDraw.Draw(image), font(rng, width // rng.randint(10, 15))
    outline = {"stroke_width": max(2, width // 200), "stroke_fill": "black"}
    for y, anchor in ((10, "ma"), (height - 10, "md")):
        draw.text((width / 2, y), sentence(rng, 2, 5).upper(), "white", letters, anchor=anchor, **outline)
    return image


def panels(rng: Random, photo: Photo) -> Image.Image:
    """A meme of photographs with text beside or above each."""
    rows, width, height = rng.randint(2, 4), rng.randint(500, 900), rng.randint(160, 260)
    image = Image.new("RGB", (width, rows * height), "white")
    draw, letters = ImageDraw.Draw(image), font(rng, width // 22)
    for row in range(rows):
        top, box = row * height, (width // 2 + 15, row * height + 20, width - 10, (row + 1) * height)
        image.paste(backdrop(rng, photo, (width // 2, height)), (0, top))
        write(draw, box, sentence(rng), letters, "black")
    return image


def quote(rng: Random, photo: Photo) -> Image.Image:
    """A card with a quotation on a colour or a darkened photograph."""
    side = rng.randint(500, 1080)
    back = backdrop(rng, photo, (side, side)).filter(ImageFilter.GaussianBlur(side / 60))
    back = back.point(lambda value: value // 2)
    image = back if rng.random() < 0.3 else Image.new("RGB", (side, side), colour(rng, (0.1, 0.9)))
    box, fill = (side // 8, side // 4, 7 * side // 8, side), "white" if np.asarray(image).mean() < 128 else "#111"
    write(ImageDraw.Draw(image), box, paragraph(rng, 2), font(rng, side // rng.randint(12, 20)), fill)
    return image


def poster(rng: Random, photo: Photo) -> Image.Image:
    """A flyer: a headline, coloured blocks, a small photograph and a price."""
    width, height = rng.choice(((600, 850), (1080, 1080), (1280, 720)))
    image = Image.new("RGB", (width, height), colour(rng, (0.1, 0.95)))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, rng.randint(height // 2, height), width, height), colour(rng))
    image.paste(backdrop(rng, photo, (width // 3, height // 3)), (rng.randint(0, width // 2), height // 3))
    fill = colour(rng, (0.7, 1)) if np.asarray(image)[: height // 3].mean() < 128 else colour(rng, (0, 0.3))
    write(draw, (30, 30, width - 30, height // 3), sentence(rng, 2, 6).upper(), font(rng, width // 12), fill, 1.1)
    draw.text((width - 40, height - 40), number(rng), "white", font(rng, width // 14), anchor="rd")
    return image


STYLES: dict[str, Callable[[Random, Photo], Image.Image]] = {
    own.__name__: own for own in (letter, receipt, questionnaire, logo, caption, panels, quote, poster)
}
CONTENT = {"letter": "document", "receipt": "document", "questionnaire": "document", "logo": "logo"}  # else memes
