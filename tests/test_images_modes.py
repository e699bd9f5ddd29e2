"""Every mode and number type becomes 8-bit RGB: transparency, 16 bit, floats, CMYK, LAB, profiles."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from image_material import (
    PNG,
    array,
    chunk,
    encoded,
    picture,
)
from PIL import Image, ImageCms

from fakedet.images import (
    CorruptImage,
    UnsupportedFormat,
    open_image,
)


def test_transparency_is_put_on_white():
    rgba = picture().convert("RGBA")
    rgba.paste((200, 10, 10, 0), (0, 0, 24, 32))
    loaded = open_image(encoded(rgba, "PNG"))
    pixels = np.asarray(loaded.image)
    assert (pixels[:, :24] == 255).all() and np.array_equal(pixels[:, 24:], np.asarray(picture())[:, 24:])
    assert "Transparent parts were put on white." in loaded.notes


def test_opaque_alpha_changes_nothing_and_is_not_mentioned():
    loaded = open_image(encoded(picture().convert("RGBA"), "PNG"))
    assert np.array_equal(np.asarray(loaded.image), np.asarray(picture())) and loaded.notes == ()


@pytest.mark.parametrize("mode", ["LA", "P", "L", "1", "RGB"])
def test_transparent_colours_of_every_png_mode_become_white(mode):
    image = Image.new("L", (8, 8), 0).convert(mode)
    data = encoded(image, "PNG", **({} if mode == "LA" else {"transparency": (0, 0, 0) if mode == "RGB" else 0}))
    if mode == "LA":
        image.putalpha(0)
        data = encoded(image, "PNG")
    assert (array(data) == 255).all()


def test_sixteen_bit_colour_key_is_compared_at_eight_bits():
    # Pillow keeps the key at 16 bits beside 8-bit pixels; taken as it is, it would never match.
    rows = b"".join(b"\0" + struct.pack(">3H", 0x8080, 0x4040, 0x2020) * 4 for _ in range(4))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    key = chunk(b"tRNS", struct.pack(">3H", 0x8080, 0x4040, 0x2020))
    data = PNG[:8] + head + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    assert (array(data) == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped():
    # Plain convert("L") turns everything above 255 white.
    ramp = np.linspace(0, 65535, 48 * 32).astype(np.uint16).reshape(32, 48)
    for source in (encoded(Image.fromarray(ramp), "PNG"), encoded(Image.fromarray(ramp), "TIFF"), ramp):
        assert np.array_equal(array(source)[:, :, 0], ramp // 256)


def test_whole_numbers_of_32_bits_are_scaled_by_what_they_hold():
    for top, factor in ((255, 1), (65535, 256)):
        values = np.linspace(0, top, 64).astype(np.int32).reshape(8, 8)
        assert np.array_equal(array(encoded(Image.fromarray(values), "TIFF"))[:, :, 0], values // factor)
    wide = array(np.array([[-1000, 0], [1000, 2_000_000]], np.int64))
    assert wide.min() == 0 and wide.max() == 255


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_what_they_hold(top):
    values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    grey = array(encoded(Image.fromarray(values), "TIFF"))[:, :, 0]
    assert np.abs(grey - values / top * 255).max() <= 1


def test_numbers_that_are_not_finite_do_not_spoil_the_rest():
    values = np.full((8, 8), 0.5, np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    assert (array(values)[1:] == 128).all()
    with pytest.raises(CorruptImage):
        open_image(np.full((8, 8), np.nan))


def test_arrays_of_every_layout_are_read():
    rgb = np.asarray(picture())
    assert np.array_equal(array(rgb / 255.0), rgb)
    assert np.array_equal(array(rgb.astype(np.uint16) * 257), rgb)
    assert array(rgb[:, :, :1]).shape == (32, 48, 3) and array(np.ones((4, 5), bool)).max() == 255
    clear = np.dstack([rgb, np.zeros((32, 48), np.uint8)])
    assert (array(clear) == 255).all() and (array(clear[:, :, 2:]) == 255).all()


@pytest.mark.parametrize("shape", [(4,), (3, 8, 8), (8, 8, 5), (1, 8, 8, 3)])
def test_arrays_that_are_no_picture_are_refused_with_the_shape_to_use(shape):
    with pytest.raises(UnsupportedFormat, match=r"\(H, W"):
        open_image(np.zeros(shape, np.uint8))


def test_cmyk_is_read_and_mentioned():
    loaded = open_image(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(np.asarray(loaded.image).astype(int) - np.asarray(picture())).mean() < 5
    assert any("CMYK" in note for note in loaded.notes)


def test_one_bit_and_lab_are_read():
    assert set(np.unique(array(encoded(picture().convert("1"), "TIFF", compression="group4")))) == {0, 255}
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    stored = ImageCms.profileToProfile(picture(), srgb, lab, outputMode="LAB")
    assert np.abs(array(encoded(stored, "TIFF")) - np.asarray(picture())).mean() < 6


@pytest.mark.parametrize(
    "profile", [b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()]
)
def test_a_wrong_colour_profile_neither_fails_nor_changes_pixels(profile):
    assert np.array_equal(array(encoded(picture(), "PNG", icc_profile=profile)), np.asarray(picture()))


def test_large_pictures_are_joined_from_strips_without_a_seam():
    # Conversion goes in strips of 4 megapixels; this one has two.
    tall = Image.fromarray(np.arange(2100 * 2000, dtype=np.uint32).reshape(2100, 2000).astype(np.uint8))
    assert np.array_equal(np.asarray(open_image(tall).image)[:, :, 1], np.asarray(tall))
