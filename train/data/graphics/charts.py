"""Charts, diagrams and maps, drawn by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from random import Random

import numpy as np
from PIL import Image

from train.data.graphics.words import name, sentence, word

SHEETS = ("default", "ggplot", "bmh", "dark_background", "fivethirtyeight", "grayscale", "seaborn-v0_8-whitegrid")
MAPS = ("viridis", "plasma", "coolwarm", "Blues", "terrain", "Set2", "tab10", "cubehelix")


def bars(rng: Random, noise: np.random.Generator, axes) -> None:
    """Bars, upright or lying."""
    names = [word(rng) for _ in range(rng.randint(3, 12))]
    draw = axes.bar if rng.random() < 0.6 else axes.barh
    draw(names, noise.random(len(names)), color=None if rng.random() < 0.5 else rng.choice("rgbcmk"))


def lines(rng: Random, noise: np.random.Generator, axes) -> None:
    """Curves with a legend."""
    for _ in range(rng.randint(1, 6)):
        axes.plot(noise.normal(0.1, 1, rng.randint(10, 200)).cumsum(), label=word(rng), lw=rng.uniform(0.7, 3))
    axes.legend()


def points(rng: Random, noise: np.random.Generator, axes) -> None:
    """A scatter plot."""
    count = rng.randint(20, 600)
    x = noise.normal(size=count)
    axes.scatter(x, x * noise.normal() + noise.normal(size=count), noise.uniform(5, 60), noise.random(count), alpha=0.7)


def areas(rng: Random, noise: np.random.Generator, axes) -> None:
    """Stacked areas."""
    values = noise.random((rng.randint(2, 6), 40)).cumsum(1)
    axes.stackplot(range(40), values, labels=[word(rng) for _ in values])
    axes.legend(loc="upper left")


def histogram(rng: Random, noise: np.random.Generator, axes) -> None:
    """One or two histograms."""
    for _ in range(rng.randint(1, 3)):
        axes.hist(noise.normal(noise.normal(), 1, 500), bins=rng.randint(8, 60), alpha=0.6, label=word(rng))
    axes.legend()


def pie(rng: Random, noise: np.random.Generator, axes) -> None:
    """A pie or a ring."""
    values = noise.random(rng.randint(2, 8)) + 0.1
    ring = {"wedgeprops": {"width": 0.4}} if rng.random() < 0.4 else {}
    axes.pie(values, labels=[word(rng) for _ in values], autopct="%d %%", **ring)


def heat(rng: Random, noise: np.random.Generator, axes) -> None:
    """A matrix with numbers, such as a confusion matrix."""
    values = noise.random((rng.randint(3, 9), rng.randint(3, 9)))
    axes.imshow(values, cmap=rng.choice(MAPS), aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7)


def boxes(rng: Random, noise: np.random.Generator, axes) -> None:
    """Box plots or violins."""
    values = [noise.normal(noise.normal(), noise.uniform(0.5, 2), 80) for _ in range(rng.randint(2, 8))]
    (axes.violinplot if rng.random() < 0.5 else axes.boxplot)(values)


def contours(rng: Random, noise: np.random.Generator, axes) -> None:
    """A filled contour map."""
    x, y = np.meshgrid(np.linspace(-3, 3, 80), np.linspace(-3, 3, 80))
    z = sum(noise.normal() * np.exp(-((x - noise.normal()) ** 2 + (y - noise.normal()) ** 2)) for _ in range(6))
    axes.contourf(x, y, z, rng.randint(5, 25), cmap=rng.choice(MAPS))


def flow(rng: Random, noise: np.random.Generator, axes) -> None:
    """A diagram of boxes and arrows."""
    axes.axis("off")
    places = [(noise.uniform(0, 1), 1 - row / 7) for row in range(rng.randint(4, 8))]
    for start, end in pairwise(places):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": rng.uniform(0.8, 2.5)})
    for x, y in places:
        shape, fill = rng.choice(("round", "square", "sawtooth", "circle")), rng.choice(("w", "lightblue", "wheat"))
        look = {"boxstyle": shape, "fc": fill}
        axes.text(x, y, name(rng), ha="center", va="center", bbox=look, fontsize=rng.randint(7, 13), color="k")


def regions(rng: Random, noise: np.random.Generator, axes) -> None:
    """A map of coloured regions with names."""
    axes.axis("off")
    sites = noise.random((rng.randint(12, 50), 2))
    x, y = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300))
    warped = (x + 0.03 * np.sin(23 * y + noise.normal()), y + 0.03 * np.sin(19 * x + noise.normal()))
    nearest = ((warped[0][..., None] - sites[:, 0]) ** 2 + (warped[1][..., None] - sites[:, 1]) ** 2).argmin(-1)
    axes.imshow(noise.random(len(sites))[nearest], cmap=rng.choice(MAPS))
    axes.contour(nearest, levels=np.arange(len(sites)) + 0.5, colors="w", linewidths=0.5)
    for px, py in sites[:12]:
        axes.text(300 * px, 300 * py, name(rng), fontsize=6, ha="center")


STYLES: dict[str, Callable] = {
    own.__name__: own for own in (bars, lines, points, areas, histogram, pie, heat, boxes, contours, flow, regions)
}
CONTENT = {"flow": "diagram", "regions": "map"}  # all others are charts


def draw(style: str, rng: Random) -> Image.Image:
    """One chart of a style: RGB, 400 to 1,400 pixels wide."""
    from matplotlib import style as sheets
    from matplotlib.figure import Figure

    noise = np.random.default_rng(rng.getrandbits(32))
    with sheets.context(rng.choice(SHEETS)):
        count = 1 if rng.random() < 0.75 or style in ("flow", "regions") else 2
        figure = Figure(figsize=(rng.uniform(4, 9), rng.uniform(3, 6)), dpi=rng.choice((100, 120, 150)), layout="tight")
        for axes in np.ravel(figure.subplots(1, count)):
            STYLES[style](rng, noise, axes)
            axes.set_title(sentence(rng, 2, 6), fontsize=9)
            if style not in ("pie", "flow", "regions"):
                axes.set_xlabel(word(rng))
                axes.set_ylabel(word(rng))
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")
