"""The invisible watermark: found where an embedder put it, not found elsewhere, not looked for in vain."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fakedet.provenance import read_provenance, watermark
from fakedet.provenance.watermark import MESSAGES, STEP, distances

IDS = [f"{m.name}{' swapped' if m.swapped else ''}" for m in MESSAGES]


def scene(width=512, height=512, seed=0):
    """A nearly grey picture with some grain, as many photographs are: strong colours drown the watermark."""
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 200, (8, 8, 1)) + rng.integers(-6, 7, (8, 8, 3))
    smooth = Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth, np.float32) + rng.normal(0, 3, (height, width, 1)), 0, 255).astype(np.uint8)


def embed(pixels, message):
    """Embed a message as the public encoder's description says (bytes or floats by the message's offset)."""
    colour = pixels.astype(np.float64)[..., :: -1 if message.swapped else 1]
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    u = 0.492 * (blue - luma) + message.offset
    low = (u[0::2, 0::2] + u[0::2, 1::2] + u[1::2, 0::2] + u[1::2, 1::2]) / 2
    rows, columns = low.shape[0] // 4, low.shape[1] // 4
    change = np.zeros_like(low)
    for k in range(rows * columns):
        top, left = 4 * (k // columns), 4 * (k % columns)
        block = low[top : top + 4, left : left + 4].ravel()
        i = 1 + int(np.abs(block[1:]).argmax())
        target = (abs(block[i]) // STEP + 0.25 + 0.5 * message.bits[k % len(message.bits)]) * STEP
        change[top + i // 4, left + i % 4] = np.copysign(target, block[i]) - block[i]
    u_new = u + np.kron(change, np.ones((2, 2))) / 2
    out_blue = luma + (u_new - message.offset) / 0.492
    out_green = (luma - 0.299 * red - 0.114 * out_blue) / 0.587
    out = np.stack([red, out_green, out_blue], -1)[..., :: -1 if message.swapped else 1]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def save(pixels, fmt="PNG", **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, fmt, **({"compress_level": 1} if fmt == "PNG" else {}), **options)
    return out.getvalue()


@pytest.mark.parametrize("message", MESSAGES, ids=IDS)
def test_every_known_message_is_found_in_a_png(message):
    # The file as the generator's script saved it.
    result = read_provenance(save(embed(scene(), message)))
    assert result.watermark["name"] == message.name
    assert any(item.direction == "ai" and "watermark" in item.sentence for item in result.evidence)


@pytest.mark.parametrize("options", [
    {"fmt": "JPEG", "quality": 95, "subsampling": 0}, {"fmt": "WEBP", "lossless": True, "method": 0},
])  # fmt: skip
def test_it_is_found_where_colour_is_kept(options):
    # Full chroma keeps it; that is how untouched files may also be stored.
    assert read_provenance(save(embed(scene(), MESSAGES[2]), **options)).watermark["bits"] == 48


@pytest.mark.parametrize("seed", range(6))
def test_pictures_without_a_watermark_stay_clear(seed):
    # No message comes near its threshold by chance.
    image = Image.fromarray(scene(seed=seed))
    assert all(distance > m.allowed for m, distance in zip(MESSAGES, distances(image), strict=True))


@pytest.mark.parametrize("pixels", [
    np.zeros((512, 512, 3), np.uint8), np.full((512, 512, 3), 255, np.uint8),
    np.full((512, 512, 3), (200, 30, 90), np.uint8),
    np.tile(np.arange(512, dtype=np.uint8)[None, :, None], (512, 1, 3)),
    np.kron(np.indices((64, 64)).sum(0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)[..., None].repeat(3, 2),
], ids=["black", "white", "one colour", "gradient", "chessboard"])  # fmt: skip
def test_flat_and_regular_pictures_stay_clear(pixels):
    # Every block votes alike here, which no message does.
    assert read_provenance(save(pixels)).watermark is None


@pytest.mark.parametrize("size", [(255, 512), (513, 512), (4000, 3000), (1600, 1600)])
def test_sizes_no_generator_saves_are_not_looked_at(size, monkeypatch):
    # The search is the one costly step: off the 8-pixel grid or above 2.5 megapixels it cannot succeed.
    monkeypatch.setattr(watermark, "find_watermark", lambda image: pytest.fail("looked"))
    assert read_provenance(save(np.zeros((size[1], size[0], 3), np.uint8))).watermark is None


def test_common_jpegs_are_not_looked_at(monkeypatch):
    # Halved chroma destroys it.
    monkeypatch.setattr(watermark, "find_watermark", lambda image: pytest.fail("looked"))
    assert read_provenance(save(scene(), "JPEG", quality=95, subsampling=2)).watermark is None


def test_a_turned_image_of_the_caller_is_not_used():
    # The detector hands over the picture upright; the watermark lies in the stored pixels.
    pixels = embed(scene(), MESSAGES[2])
    upright = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_provenance(save(pixels, exif=exif.tobytes()), image=upright).watermark is not None
