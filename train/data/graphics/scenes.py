"""Drawn and rendered scenes: flat landscapes, pixel art, tiles of a game, ray-cast spheres, brush strokes, comics."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from train.data.graphics.documents import Photo, font
from train.data.graphics.words import colour, sentence


def hills(rng: Random, photo: Photo) -> Image.Image:
    """Layers of hills in flat colours under a sun, as in a flat illustration."""
    width, height = rng.choice(((800, 600), (1200, 700), (640, 900)))
    image = Image.new("RGB", (width, height), colour(rng, (0.6, 0.9)))
    draw, x = ImageDraw.Draw(image), np.linspace(0, width, 120)
    sun, reach = (rng.uniform(0.2, 0.8) * width, rng.uniform(0.1, 0.4) * height), rng.uniform(0.04, 0.12) * width
    draw.ellipse((sun[0] - reach, sun[1] - reach, sun[0] + reach, sun[1] + reach), colour(rng, (0.7, 0.95)))
    for layer in range(rng.randint(3, 7)):
        base, rough = height * (0.35 + 0.1 * layer), rng.uniform(10, 80)
        y = base + rough * np.sin(x / rng.uniform(40, 200) + 6 * rng.random()) + 8 * np.sin(x / rng.uniform(8, 30))
        draw.polygon([(0, height), *zip(x, y, strict=True), (width, height)], colour(rng, (0.15, 0.7)))
    return image


def sprites(rng: Random, photo: Photo) -> Image.Image:
    """Pixel art: mirrored random sprites, enlarged without smoothing."""
    noise, count, side = np.random.default_rng(rng.getrandbits(32)), rng.randint(1, 5), rng.choice((8, 12, 16, 24))
    palette = noise.integers(0, 256, (rng.randint(3, 8), 3), np.uint8)
    sheet = np.empty((count * side, count * side, 3), np.uint8)
    for row, column in np.ndindex(count, count):
        half = noise.integers(0, len(palette), (side, side // 2)) * (noise.random((side, side // 2)) < 0.6)
        place = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        sheet[place] = palette[np.hstack([half, half[:, ::-1]])]
    return Image.fromarray(sheet).resize((rng.randint(400, 900),) * 2, Image.Resampling.NEAREST)


def tiles(rng: Random, photo: Photo) -> Image.Image:
    """A frame of a platform game: sky, textured tiles, figures, a score."""
    noise, size = np.random.default_rng(rng.getrandbits(32)), rng.choice((24, 32, 48))
    columns, rows = rng.randint(16, 30), rng.randint(10, 18)
    image = Image.new("RGB", (columns * size, rows * size), colour(rng, (0.3, 0.85)))
    base = noise.integers(60, 200, 3)
    tile = (base + noise.integers(-30, 30, (size // 4, size // 4, 1))).clip(0, 255).astype(np.uint8)
    block = Image.fromarray(tile).resize((size, size), Image.Resampling.NEAREST)
    draw, ground = ImageDraw.Draw(image), rows - 2
    for column in range(columns):
        ground = min(rows - 1, max(rows // 2, ground + rng.choice((-1, 0, 0, 0, 1))))
        for row in range(ground, rows):
            image.paste(block, (column * size, row * size))
        if rng.random() < 0.12:
            figure = (column * size + 4, (ground - 1) * size, (column + 1) * size - 4, ground * size)
            draw.rounded_rectangle(figure, 6, colour(rng), "black", 2)
    draw.text((12, 8), f"SCORE {rng.randint(0, 99999):05d}   x{rng.randint(1, 9)}", "white", font(rng, size // 2 + 6))
    return image


def spheres(rng: Random, photo: Photo) -> Image.Image:
    """Shaded spheres over a checkered floor, as simple renderers draw them (Phong shading, no camera noise)."""
    width, height = rng.choice(((640, 480), (800, 800), (960, 540)))
    noise = np.random.default_rng(rng.getrandbits(32))
    x, y = np.meshgrid(np.linspace(-width / height, width / height, width), np.linspace(1, -1, height))
    ray = np.stack([x, y, np.full_like(x, -1.6)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    light, nearest = np.array([0.5, 0.7, 0.5]) / 0.995, np.full(x.shape, 1e9)
    picture = 0.5 * noise.random(3) + 0.5 * (1 - y[..., None] * noise.random(3)).clip(0, 1)
    floor = np.where(ray[..., 1] < -1e-3, -1.0 / np.minimum(ray[..., 1], -1e-3), 1e9)
    spot, first, second = floor[..., None] * ray, noise.random(3), noise.random(3)
    squares = ((np.floor(spot[..., 0]) + np.floor(spot[..., 2])) % 2 == 0)[..., None]
    hit = floor < 30
    picture[hit], nearest[hit] = np.where(squares, first, second)[hit], floor[hit]
    for _ in range(rng.randint(1, 8)):
        centre, radius = noise.uniform([-2, -0.7, -7], [2, 0.8, -3]), noise.uniform(0.3, 1)
        half = ray @ centre
        inside = half**2 - centre @ centre + radius**2
        depth = half - np.sqrt(np.maximum(inside, 0))
        hit = (inside > 0) & (depth < nearest) & (depth > 0)
        normal = (depth[..., None] * ray - centre) / radius
        bright = (normal @ light).clip(0.08, 1)[..., None]
        shine = ((2 * (normal @ light)[..., None] * normal - light) * -ray).sum(-1, keepdims=True).clip(0, 1) ** 40
        picture[hit], nearest[hit] = (bright * noise.random(3) + 0.7 * shine)[hit], depth[hit]
    return Image.fromarray((255 * picture.clip(0, 1)).astype(np.uint8))


def strokes(rng: Random, photo: Photo) -> Image.Image:
    """A painting: brush strokes along the contours of a photograph, from broad to fine."""
    own = photo()
    if own is None:
        return hills(rng, photo)
    picture = ImageOps.contain(own.convert("RGB"), (700, 700))
    soft = picture.filter(ImageFilter.GaussianBlur(4))
    grey = np.asarray(soft.convert("L"), np.float32)
    slope_y, slope_x = np.gradient(grey)
    image = picture.filter(ImageFilter.GaussianBlur(25))
    draw, (width, height) = ImageDraw.Draw(image), image.size
    for breadth, count in ((rng.randint(14, 24), 900), (rng.randint(7, 11), 2500), (rng.randint(3, 6), 4500)):
        for _ in range(count):
            x, y = rng.randrange(width), rng.randrange(height)
            angle = np.arctan2(slope_y[y, x], slope_x[y, x]) + np.pi / 2 + rng.gauss(0, 0.25)
            fill = tuple(max(0, min(255, value + rng.randint(-18, 18))) for value in soft.getpixel((x, y)))
            reach = breadth * rng.uniform(1, 2.5)
            dx, dy = reach * np.cos(angle), reach * np.sin(angle)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill, breadth)
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0, 7), (height, width, 1))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def comic(rng: Random, photo: Photo) -> Image.Image:
    """A page of panels with outlined figures, flat colours and speech balloons."""
    width, height = rng.choice(((800, 1100), (1000, 400), (900, 900)))
    image = Image.new("RGB", (width, height), "white")
    draw, columns, rows = ImageDraw.Draw(image), rng.randint(1, 3), rng.randint(1, 4)
    letters, wide, high = font(rng, rng.randint(12, 20)), width // columns, height // rows
    for row, column in np.ndindex(rows, columns):
        left, top = column * wide + 8, row * high + 8
        right, bottom = left + wide - 16, top + high - 16
        draw.rectangle((left, top, right, bottom), colour(rng, (0.6, 0.97)), "black", 3)
        for _ in range(rng.randint(1, 3)):
            x, y, head = rng.randint(left + 40, max(left + 41, right - 40)), bottom - high // 3, rng.randint(14, 34)
            draw.line((x, y, x, bottom - 6), "black", rng.randint(2, 6))
            draw.ellipse((x - head, y - head, x + head, y + head), colour(rng, (0.6, 0.95)), "black", rng.randint(2, 4))
            for eye in (-head // 3, head // 3):
                draw.ellipse((x + eye - 2, y - 4, x + eye + 2, y), "black")
        draw.ellipse((left + 10, top + 8, right - 10, top + high // 3), "white", "black", 2)
        draw.text(((left + right) / 2, top + high // 6), sentence(rng, 1, 4), "black", letters, anchor="mm")
    return image


STYLES: dict[str, Callable[[Random, Photo], Image.Image]] = {
    own.__name__: own for own in (hills, sprites, tiles, spheres, strokes, comic)
}
CONTENT = {"hills": "illustration", "sprites": "game", "tiles": "game", "spheres": "render"}
CONTENT |= {"strokes": "painting", "comic": "comic"}
