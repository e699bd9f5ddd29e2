"""Borders of one colour: what is cut off, what is not, and that score, map and note follow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, photo_like
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fakedet import Detector
from fakedet.network.borders import content_box
from fakedet.network.settings import Settings
from fakedet.network.views import make_views
from fakedet.stability import degraded_copies

PHOTO = photo_like(600, 400)


def jpeg(image: Image.Image, quality: int = 70) -> Image.Image:
    """The image as a JPEG, with its noise around edges."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def framed(size: tuple[int, int], at: tuple[int, int], colour="black", picture: Image.Image = PHOTO) -> Image.Image:
    page = Image.new("RGB", size, colour)
    page.paste(picture, at)
    return page


def captioned() -> Image.Image:
    page = framed((600, 480), (0, 80), "white")
    font = ImageFont.load_default(34)
    ImageDraw.Draw(page).text((300, 40), "WHEN NOBODY TOLD YOU", "black", font, anchor="mm")
    return page


FRAMES = {
    "letterbox": (framed((600, 700), (0, 150)), (0, 150, 600, 550)),
    "pillarbox": (framed((900, 400), (150, 0)), (150, 0, 750, 400)),
    "passepartout": (framed((700, 500), (60, 40), "ivory"), (60, 40, 660, 440)),
    "caption": (captioned(), (0, 80, 600, 480)),
    "one side": (framed((640, 400), (0, 0), (20, 60, 160)), (0, 0, 600, 400)),
    "frame in a frame": (
        framed((760, 560), (40, 40), "white", framed((680, 480), (40, 40), "navy")),
        (80, 80, 680, 480),
    ),
}


@pytest.mark.parametrize("quality", [None, 70, 40])
@pytest.mark.parametrize("name", FRAMES)
def test_borders_of_one_colour_are_found_in_spite_of_jpeg_noise(name, quality):
    image, expected = FRAMES[name]
    box = content_box(image if quality is None else jpeg(image, quality), 0.75)
    assert box is not None
    assert np.abs(np.subtract(box, expected)).max() <= (0 if quality is None else 3)


def night_sky() -> Image.Image:
    sky = np.random.default_rng(0).normal(4, 1, (500, 700, 1)).clip(0, 255) * np.ones(3)
    image = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x, y in np.random.default_rng(1).integers(0, (700, 350), (40, 2)):
        draw.ellipse((x, y, x + 2, y + 2), "white")
    draw.polygon([(0, 500), (0, 470), (200, 420), (350, 460), (500, 400), (700, 480), (700, 500)], (60, 50, 40))
    return image


def product_on_white() -> Image.Image:
    image = Image.new("RGB", (600, 600), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((180, 120, 420, 520), (120, 40, 30))
    draw.rectangle((270, 60, 330, 140), (40, 40, 40))
    return image.filter(ImageFilter.GaussianBlur(1))


NO_BORDERS = {
    "photograph": PHOTO,
    "night sky": night_sky(),
    "product on white": product_on_white(),
    "one colour": Image.new("RGB", (400, 300), "white"),
    "more border than is allowed": framed((2400, 1600), (900, 600)),
    "little would remain": framed((200, 100), (0, 40), "black", PHOTO.resize((200, 20))),
    "next to nothing inside": framed((300, 200), (0, 100), "black", PHOTO.resize((300, 5))),
    "hairline": framed((600, 402), (0, 2)),
}


@pytest.mark.parametrize("quality", [None, 70])
@pytest.mark.parametrize("name", NO_BORDERS)
def test_what_is_no_border_stays(name, quality):
    # A sky and the white around a product belong to the picture, and a border may not be most of it.
    image = NO_BORDERS[name]
    assert content_box(image if quality is None else jpeg(image, quality), 0.75) is None


def test_a_picture_in_a_frame_gets_the_views_of_the_picture():
    config = Settings(input_size=64, whole_views=2, crop_scale=2.0, trim_borders=0.75)
    inside, outside = (make_views(image, config) for image in (PHOTO, FRAMES["passepartout"][0]))
    np.testing.assert_array_equal(inside.pixels, outside.pixels)
    assert (inside.kept, outside.kept) == (None, (60, 40, 660, 440))
    shifted = [tuple(np.add(box, (60, 40, 60, 40))) for box in inside.boxes]
    assert list(outside.boxes) == shifted, "boxes are places in the picture as it is shown"


def test_borders_stay_unless_the_checkpoint_says_otherwise():
    # Scores of checkpoints that were made before must not change.
    image = FRAMES["letterbox"][0]
    assert Settings().trim_borders == 0
    assert make_views(image, Settings(input_size=64)).kept is None


def test_tiny_images_keep_their_borders():
    # They have a network and a calibration of their own, chosen by the size of the file.
    icon = framed((40, 40), (0, 10), "black", PHOTO.resize((40, 20)))
    assert make_views(icon, Settings(input_size=64, tiny_side=48, trim_borders=0.75)).kept is None


@pytest.mark.parametrize("whole", [0, 3])
def test_copies_for_the_stability_check_have_no_borders_either(whole):
    config = Settings(input_size=128, whole_views=whole, trim_borders=0.75)
    inside, outside = (degraded_copies(image, config) for image in (PHOTO, FRAMES["pillarbox"][0]))
    for name, views in inside.items():
        np.testing.assert_array_equal(views, outside[name])


@pytest.fixture(scope="module")
def trimming(detector) -> Detector:
    """The bundled network, told to cut borders off."""
    checkpoint = detector.checkpoint
    return Detector(replace(checkpoint, settings=replace(checkpoint.settings, trim_borders=0.75)))


def test_the_answer_is_that_of_the_picture_and_says_what_was_cut(trimming):
    plain, boxed = (trimming.predict(image, heatmap=True) for image in (PHOTO, FRAMES["letterbox"][0]))
    assert boxed.p_fake == pytest.approx(plain.p_fake, abs=1e-6)
    assert [note for note in boxed.notes if note not in plain.notes] == [
        "Borders of one colour were cut off before scoring: 600 x 400 of 600 x 700 pixels remained."
    ]
    assert (boxed.image["width"], boxed.image["height"]) == (600, 700)
    rows = np.isfinite(boxed.signed_map).any(axis=1)
    place = np.flatnonzero(rows)[[0, -1]] / len(rows)
    assert place == pytest.approx([150 / 700, 550 / 700], abs=0.03), "the map lies over the picture, not the bars"
    assert boxed.overlay().size[1] > boxed.overlay().size[0]


@pytest.mark.integration
def test_scan_and_the_command_line_cut_alike(trimming, tmp_path):
    from fakedet.hub import save_checkpoint

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    FRAMES["caption"][0].save(pictures / "caption.png")
    model = save_checkpoint(trimming.checkpoint.model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"trim_borders": 0.75}))
    expected = trimming.predict(pictures / "caption.png")

    def command(*args: str) -> str:
        line = [sys.executable, "-m", "fakedet", *args, "--model", str(model)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout

    row = json.loads(command("predict", str(pictures / "caption.png"), "--json"))
    command("scan", str(pictures), "--output", str(tmp_path / "table.jsonl"), "--workers", "1")
    scanned = json.loads((tmp_path / "table.jsonl").read_text())
    for other in (row, scanned):
        assert other["p_fake"] == pytest.approx(expected.p_fake, abs=1e-3)
    assert "600 x 400 of 600 x 480" in str(row["notes"])
    assert "600 x 400 of 600 x 480" in str(scanned["notes"])
