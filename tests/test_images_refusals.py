"""What cannot be read becomes a typed refusal of one sentence."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zlib

import numpy as np
import pytest
from image_material import (
    JPEG,
    PNG,
    encoded,
    picture,
    refusal,
)
from PIL import Image, ImageFile, PngImagePlugin

from fakedet.images import (
    CorruptImage,
    EmptyInput,
    ImageError,
    NotFound,
    UnsupportedFormat,
    open_image,
)


def test_the_hierarchy_has_stable_codes_and_statuses():
    # REST, CLI and page map these to their own words.
    known = {cls.code: cls.status for cls in ImageError.__subclasses__()}
    assert known == {
        "empty_input": 400,
        "not_found": 404,
        "too_many_bytes": 413,
        "too_many_pixels": 413,
        "unsupported_format": 415,
        "corrupt_image": 422,
    }
    copy = pickle.loads(pickle.dumps(CorruptImage("x is damaged.")))  # it has to cross process boundaries
    assert (str(copy), copy.code, isinstance(copy, ValueError)) == ("x is damaged.", "corrupt_image", True)


def test_what_is_no_file_is_refused_by_type(tmp_path):
    (tmp_path / "empty.png").touch()
    assert isinstance(refusal(tmp_path / "empty.png"), EmptyInput) and isinstance(refusal(b""), EmptyInput)
    assert isinstance(refusal(io.BytesIO()), EmptyInput) and isinstance(refusal(np.zeros((0, 4))), EmptyInput)
    assert isinstance(refusal(tmp_path / "none.png"), NotFound) and isinstance(refusal("a\0b"), NotFound)
    assert isinstance(refusal("x" * 5000), NotFound) and isinstance(refusal("https://example.org/a.png"), NotFound)
    assert isinstance(refusal(tmp_path), UnsupportedFormat)
    for thing in (None, 7, object(), io.StringIO("text"), [PNG]):
        assert isinstance(refusal(thing), UnsupportedFormat), thing


def test_a_pipe_is_refused_at_once(tmp_path):
    # Opening it would wait for a writer for ever.
    os.mkfifo(tmp_path / "pipe.png")
    assert isinstance(refusal(tmp_path / "pipe.png"), UnsupportedFormat)


def test_a_file_object_that_fails_is_a_typed_refusal():
    class Broken:
        def read(self, size=-1):
            raise RuntimeError("/secret/place")

    assert isinstance(refusal(Broken()), NotFound) and "secret" not in str(refusal(Broken()))


def test_refusals_are_one_sentence_without_a_server_path(tmp_path):
    folder = tmp_path / "private" / "upload-83"
    folder.mkdir(parents=True)
    files = {"cut.png": PNG[:90], "cut.jpg": JPEG[:400], "words.txt": b"hello", "none": None, "empty.gif": b""}
    files |= {
        "flip.png": PNG[:60] + b"\xff" + PNG[61:],
        "big.bmp": b"BM" + b"\xff" * 80,
        "t.tif": b"II*\0" + b"\xff" * 9,
    }
    for name, data in files.items():
        if data is not None:
            (folder / name).write_bytes(data)
        for source in (folder / name, f"{folder}\\{name}"):
            text = str(refusal(source))
            assert text.startswith(name) and text.endswith(".") and "\n" not in text
            assert "private" not in text and "upload-83" not in text and "/" not in text.replace(name, "")
    with open(folder / "cut.png", "rb") as file:
        assert str(refusal(file)).startswith("cut.png ")


def test_a_strangers_file_name_cannot_break_the_line():
    text = str(refusal("evil\n\x1b[31m" + "x" * 300))
    assert "\n" not in text and "\x1b" not in text and len(text) < 120


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_cut_file_is_refused_even_where_a_library_allowed_cut_files(kind, monkeypatch):
    # verify() passes a cut JPEG, and LOAD_TRUNCATED_IMAGES would grey the rest; a score on that would mean nothing.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(picture(300, 200), kind)
    for part in (0.2, 0.6, 0.9):
        assert isinstance(refusal(data[: int(len(data) * part)]), CorruptImage)


def test_a_cut_picture_is_told_from_a_damaged_one():
    assert "cut short" in str(refusal(JPEG[: len(JPEG) * 2 // 3]))
    assert "damaged" in str(refusal(PNG[:45] + b"\0\0\0\0" + PNG[49:]))


@pytest.mark.parametrize(
    "raised", [OSError("/secret/x"), SyntaxError, ValueError, struct.error, MemoryError, OverflowError]
)
@pytest.mark.parametrize("more", [zlib.error, KeyError, IndexError, TypeError, AttributeError, SystemError, EOFError])
def test_whatever_a_decoder_raises_is_a_corrupt_image(monkeypatch, raised, more):
    def explode(self, *args):
        raise raised

    def explode_too(*args, **kwargs):
        raise more

    with monkeypatch.context() as patch:
        patch.setattr(PngImagePlugin.PngImageFile, "load_prepare", explode)
        assert isinstance(refusal(PNG), CorruptImage) and "/secret" not in str(refusal(PNG))
        patch.setattr(Image, "open", explode_too)
        assert isinstance(refusal(PNG), CorruptImage)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n%abc",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\xc5\xd0\xd3\xc6" + b"\0" * 60,
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\n <?xml version="1.0"?><svg/>',
        b"<!DOCTYPE html><html></html>",
        b"8BPS\0\1" + b"\0" * 60,
        encoded(picture(), "ICO"),
        encoded(picture(), "PPM"),
        encoded(picture(), "JPEG2000"),
        encoded(picture(), "TGA"),
        b"\0" * 1000,
        b"PK\3\4" + b"\0" * 100,
    ],
)
def test_formats_that_are_not_on_the_list_are_refused(data):
    assert isinstance(refusal(data), UnsupportedFormat)


def test_an_unloaded_postscript_image_is_not_loaded_either():
    # Pillow would run Ghostscript on it.
    eps = Image.open(io.BytesIO(encoded(picture(), "EPS")))
    assert isinstance(refusal(eps), UnsupportedFormat)


def heic(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + b"\0" * 100


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_without_pillow_heif_a_heic_says_what_to_install(monkeypatch, brand):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    error = refusal(heic(brand))
    assert isinstance(error, UnsupportedFormat) and "pip install pillow-heif" in str(error)


def test_heic_is_read_where_pillow_heif_is_installed():
    pytest.importorskip("pillow_heif", reason="the optional package pillow-heif is not installed")
    assert isinstance(refusal(heic(b"heic")), CorruptImage)  # registers the reader
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture(128, 64).transpose(Image.Transpose.ROTATE_90)
    loaded = open_image(encoded(stored, "HEIF", quality=95, exif=exif.tobytes()))
    assert loaded.facts["format"] == "HEIF" and loaded.image.size == (128, 64)
    assert np.abs(np.asarray(loaded.image).astype(int) - np.asarray(picture(128, 64))).mean() < 6
