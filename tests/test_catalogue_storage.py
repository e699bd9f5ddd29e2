"""train/prepare.py catalogue: how a picture is stored, whatever its class."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from tiny_repositories import catalogue, commit, encode, line, one, reasons, rows, run


def stored(tmp_path: Path, data: bytes, *flags: str, path: str = "a.png", **values) -> Image.Image:
    one(tmp_path, data, path, **values)
    run(tmp_path, *flags)
    return Image.open(io.BytesIO(rows(tmp_path)[0]["image"]["bytes"]))


@pytest.mark.integration
def test_both_classes_get_the_same_storage(tmp_path):
    data = {"a_png": encode(1), "b_jpg": encode(2, (900, 700), "JPEG", quality=60), "c_webp": encode(3, kind="WEBP")}
    at = commit(tmp_path / "mirror" / "ann+one" / "repo", **data)
    labels = {"a.png": "fake", "b.jpg": "real", "c.webp": "fake"}
    files = zip(labels.items(), data.values(), strict=True)
    catalogue(tmp_path, *(line("ann/one", at, path, content, label) for (path, label), content in files))
    run(tmp_path)
    images = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows(tmp_path)]
    assert {(image.format, str(image.quantization), image.layer[0][1:3]) for image in images} == {
        ("JPEG", str(images[0].quantization), (1, 1))
    }


@pytest.mark.integration
def test_the_short_side_is_limited(tmp_path):
    assert stored(tmp_path, encode(1, (900, 600)), "--side", "200").size == (300, 200)


@pytest.mark.integration
def test_a_small_picture_keeps_its_size(tmp_path):
    assert stored(tmp_path, encode(1, (96, 64))).size == (96, 64)


@pytest.mark.integration
def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = stored(tmp_path, encode(1, (96, 64), "JPEG", exif=exif), path="a.jpg")
    assert image.size == (64, 96)
    assert not image.getexif()


@pytest.mark.integration
def test_transparency_is_put_on_white(tmp_path):
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out, "PNG")
    assert stored(tmp_path, out.getvalue()).getpixel((20, 20)) == (255, 255, 255)


@pytest.mark.integration
def test_a_cut_keeps_the_named_fractions(tmp_path):
    image = Image.new("RGB", (100, 80), "red")
    image.paste("blue", (50, 0, 100, 40))
    out = io.BytesIO()
    image.save(out, "PNG")
    kept = stored(tmp_path, out.getvalue(), cut="0.5,0,1,0.5")
    assert kept.size == (50, 40)
    assert kept.getpixel((2, 37))[2] > 240


@pytest.mark.integration
def test_side_0_keeps_the_original_bytes(tmp_path):
    one(tmp_path, encode(1, (900, 700)))
    run(tmp_path, "--side", "0")
    assert rows(tmp_path)[0]["image"]["bytes"] == encode(1, (900, 700))


@pytest.mark.integration
def test_side_0_with_a_cut_keeps_the_scale(tmp_path):
    image = stored(tmp_path, encode(1, (900, 700)), "--side", "0", cut="0,0,1,0.9")
    assert (image.format, image.size) == ("JPEG", (900, 630))


@pytest.mark.integration
@pytest.mark.parametrize("data", [b"<svg xmlns='x'/>", encode(1)[:-200], b"no picture"], ids=["svg", "cut", "text"])
def test_a_file_that_the_detector_refuses_is_unreadable(tmp_path, data):
    one(tmp_path, data)
    run(tmp_path, status=2)
    assert reasons(tmp_path) == {"a.png": "unreadable"}
