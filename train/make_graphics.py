"""Makes graphics: pictures that are neither photographs nor AI-generated, in many styles, without end.

    python train/make_graphics.py --output_dir data/graphics_made --count 1500 --photos data/catalogue/train.parquet
    python train/make_graphics.py --output_dir data/graphics_made --split test --count 300

Chromium renders pages, chats, terminals and slides; matplotlib draws charts, diagrams and maps; Pillow draws documents,
logos, memes, comics, game frames, renders and paintings. The styles of the split `test` never appear in `train`.
Writes SPLIT.parquet with the columns image, label (-1), content, source (the style) and generator ("made"), which
train/kinds.py reads. The same seed gives the same pictures, up to the versions of Chromium, matplotlib and the fonts.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image
from tqdm import tqdm

from train.data.graphics import charts, documents, pages, scenes

# Styles of the split `test`, of each content at least one.
HELD_OUT = {"dashboard", "phone_feed", "code", "slide_columns", "boxes", "heat", "receipt", "quote", "tiles", "comic"}
CONTENT = charts.CONTENT | documents.CONTENT | scenes.CONTENT | pages.CONTENT
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def content_of(style: str) -> str:
    """What a style shows, in the terms of the catalogue: chart, screenshot, document, meme, ..."""
    if style in CONTENT:
        return CONTENT[style]
    return "chart" if style in charts.STYLES else "screenshot" if style in pages.STYLES else "meme"


def styles(split: str) -> list[str]:
    """The styles of a split, in a fixed order."""
    every = [*pages.STYLES, *charts.STYLES, *documents.STYLES, *scenes.STYLES]
    return [style for style in every if (style in HELD_OUT) == (split == "test")]


class Photographs:
    """Photographs to lay under memes and into pages.

    Args:
        path: A parquet file with the columns `image` and `label`, of which the photographs (0) are taken; or None.

    Raises:
        SystemExit: There is no such file, or no photograph in it.
    """

    def __init__(self, path: str | None):
        self.rows = None
        if path:
            if not Path(path).is_file():
                raise SystemExit(f"make_graphics: there is no file at {path}")
            import datasets

            table = datasets.Dataset.from_parquet(path).cast_column("image", datasets.Image())
            keep = [at for at, label in enumerate(table["label"]) if label == 0]
            if not keep:
                raise SystemExit(f"make_graphics: {path} holds no photograph (label 0)")
            self.rows = table.select(keep)

    def draw(self, rng: Random) -> Image.Image | None:
        """A random photograph, RGB, at most 800 pixels wide and high."""
        if self.rows is None:
            return None
        image = self.rows[rng.randrange(len(self.rows))]["image"].convert("RGB")
        image.thumbnail((800, 800))
        return image

    def address(self, rng: Random) -> str:
        """A random photograph as a data URL; "" where there is none."""
        image, file = self.draw(rng), io.BytesIO()
        if image is None:
            return ""
        image.save(file, "JPEG", quality=rng.randint(60, 92))
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


@contextmanager
def browser() -> Iterator[Callable[[str, tuple[int, int], float], Image.Image]]:
    """Gives a function that renders HTML in a window (width, height) at a scale of the screen.

    Raises:
        SystemExit: Playwright or Chromium is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("make_graphics: pages need playwright: pip install 'fakedet[train]'") from None
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])

        def render(html: str, size: tuple[int, int], scale: float) -> Image.Image:
            page = chromium.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
            page.set_content(html)
            image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            page.close()
            return image

        yield render
        chromium.close()


def make(style: str, rng: Random, photos: Photographs, render: Callable) -> Image.Image:
    """One picture of a style."""
    if style in pages.STYLES:
        html = pages.STYLES[style](rng, lambda: photos.address(rng))
        return render(html, pages.window(style, rng), rng.choice((1, 1, 1.5)))
    if style in charts.STYLES:
        return charts.draw(style, rng)
    own = documents.STYLES.get(style) or scenes.STYLES[style]
    return own(rng, lambda: photos.draw(rng))


def rows(split: str, count: int, seed: int, photos: Photographs) -> Iterator[dict]:
    """`count` rows, the styles in turn."""
    own = styles(split)
    with browser() as render:
        for number in tqdm(range(count), desc=f"Graphics of {split}", unit="images"):
            style, file = own[number % len(own)], io.BytesIO()
            image = make(style, Random(f"{seed} {split} {number}"), photos, render)  # noqa: S311 # nosec B311
            image.save(file, "JPEG", quality=95, subsampling=0)  # as the catalogue stores its pictures
            facts = {"content": content_of(style), "source": f"made_{style}", "generator": "made", "label": -1}
            yield {"image": {"bytes": file.getvalue(), "path": f"{style}_{number}.jpg"}, **facts}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0."""
    parser = argparse.ArgumentParser(
        prog="train/make_graphics.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output_dir", required=True, help="SPLIT.parquet is written here")
    add("--split", choices=("train", "test"), default="train", help="styles to use")
    add("--count", type=int, default=1500, help="number of pictures")
    add("--photos", metavar="FILE.parquet", help="photographs for memes, pages and paintings; none by default")
    add("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error("--count must be at least 1")
    import datasets

    photos = Photographs(args.photos)
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("content", "source", "generator")}
        | {"label": datasets.Value("int64"), "image": datasets.Image()}
    )
    made = datasets.Dataset.from_list(list(rows(args.split, args.count, args.seed, photos)), features=features)
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    made.to_parquet(Path(args.output_dir, f"{args.split}.parquet"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
