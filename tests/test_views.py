"""The views that the network sees of an image."""

import numpy as np
import pytest
from PIL import Image

from fakedet.network.settings import Settings
from fakedet.network.views import make_views


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def channels_first(picture: Image.Image) -> np.ndarray:
    """The pixels, 0..1, as float32 (3, H, W)."""
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("size", [(32, 32), (20, 90), (64, 64), (70, 70), (300, 64), (200, 500), (1000, 700)])
def test_views_are_square_inside_the_image_and_never_squashed(size):
    config = Settings(input_size=64, max_views=9)
    views = make_views(image(*size), config)
    assert views.pixels.shape == (len(views.boxes), 3, 64, 64)
    assert 1 <= len(views.boxes) <= 9
    for left, top, right, bottom in views.boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        assert abs((right - left) - (bottom - top)) <= 2
        if min(size) >= 64:
            assert right - left == 64


def test_without_scaling_crops_have_native_pixels():
    # Forensic traces are in the pixels: a crop must hold the image's own values, not resampled ones.
    picture = image(500, 400)
    config = Settings(input_size=64, image_mean=(0, 0, 0), image_std=(1, 1, 1))
    views = make_views(picture, config)
    for pixels, box in zip(views.pixels, views.boxes, strict=True):
        np.testing.assert_allclose(pixels, channels_first(picture.crop(box)), atol=1e-6)


def test_a_small_image_gets_no_repeated_views():
    config = Settings(input_size=128, few_views_area=5.0)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    few = make_views(Image.fromarray(pixels), config)
    assert len(few.boxes) == 5
    seen = np.zeros((256, 256), bool)
    for left, top, right, bottom in few.boxes:
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert len(make_views(Image.fromarray(pixels).resize((300, 300)), config).boxes) == 9


def test_views_of_the_whole_image_come_before_crops():
    # A flaw may be larger than a crop: centre and ends of the scaled image come first, then native crops.
    picture = image(900, 300)
    config = Settings(input_size=64, whole_views=3, image_mean=(0,) * 3, image_std=(1,) * 3)
    views = make_views(picture, config)
    assert len(views.boxes) == 9
    assert views.boxes[:3] == ((300, 0, 600, 300), (0, 0, 300, 300), (600, 0, 900, 300))
    small = picture.resize((192, 64), Image.Resampling.BICUBIC, reducing_gap=1.5).crop((64, 0, 128, 64))
    np.testing.assert_allclose(views.pixels[0], channels_first(small), atol=1e-6)
    np.testing.assert_allclose(views.pixels[3], channels_first(picture.crop(views.boxes[3])), atol=1e-6)
    assert make_views(picture, config, max_views=1).boxes == views.boxes[:1]
    shared = Settings(input_size=64, whole_views=1, crop_scale=2.0)  # crops of the picture as if it had been shared
    boxes = make_views(picture, shared).boxes
    assert boxes[0] == (300, 0, 600, 300)
    assert {right - left for left, _, right, _ in boxes[1:]} <= {150, 151}
    few = Settings(input_size=64, whole_views=3, few_views_area=3.0)  # small: the whole and two opposite corners
    assert make_views(image(110, 104), few).boxes == ((3, 0, 107, 104), (0, 0, 64, 64), (46, 40, 110, 104))
    # where crops cover nearly all of the image, none of the views show the whole
    assert all(right - left == 64 for left, _, right, _ in make_views(image(100, 80), config).boxes)


def test_squashing_shows_the_whole_image_in_one_view():
    picture, config = image(500, 300), Settings(input_size=64, squash=True)
    views = make_views(picture, config)
    assert views.boxes == ((0, 0, 500, 300),) * 2
    assert views.mirrored == (False, True)
    whole = make_views(picture.resize((64, 64), Image.Resampling.BICUBIC), config)
    np.testing.assert_array_equal(views.pixels, whole.pixels)


def test_an_image_that_fits_one_view_gets_a_mirrored_one():
    views = make_views(image(64, 64), Settings(input_size=64))
    assert views.mirrored == (False, True)
    np.testing.assert_array_equal(views.pixels[0][..., ::-1], views.pixels[1])
