"""Limits hold before pixels are decoded, and hostile files cost little."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from image_material import (
    GIF,
    GIF_HEAD,
    JPEG,
    PNG,
    array,
    chunk,
    encoded,
    picture,
    refusal,
)
from PIL import Image, ImageFile

from fakedet.images import (
    CorruptImage,
    ImageError,
    Limits,
    TooManyBytes,
    TooManyPixels,
    open_image,
)


def test_the_byte_cap_holds_for_every_source_before_decoding(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    for source in (PNG, io.BytesIO(PNG), tmp_path / "a.png"):
        assert isinstance(refusal(source, limits=Limits(max_bytes=len(PNG) - 1)), TooManyBytes)
        open_image(source, Limits(max_bytes=len(PNG)))


def test_an_endless_stream_is_read_no_further_than_the_cap():
    class Endless:
        given = 0

        def read(self, size=-1):
            self.given += size
            return b"\0" * size

    stream = Endless()
    assert isinstance(refusal(stream, limits=Limits(max_bytes=3_000_000)), TooManyBytes)
    assert stream.given == 3_000_001


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("limits", [Limits(max_pixels=48 * 32 - 1), Limits(max_side=47)])
def test_pixel_and_side_ceilings_are_checked_before_pixels_are_decoded(kind, limits, monkeypatch):
    data = encoded(picture(), kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded before the check"))
    assert isinstance(refusal(data, limits=limits), TooManyPixels)


def test_the_ceilings_hold_for_pillow_images_and_arrays():
    for source in (picture(), np.asarray(picture())):
        assert isinstance(refusal(source, limits=Limits(max_pixels=100)), TooManyPixels)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_bomb_warning_is_an_error_here(monkeypatch):
    # Own limits may be raised by a caller; Pillow's ceiling then still refuses instead of warning.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert isinstance(refusal(PNG), TooManyPixels) and isinstance(refusal(encoded(picture(), "TIFF")), TooManyPixels)


def png_of(width: int, height: int, *extra: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return PNG[:8] + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND")


def overlapping_tiff() -> bytes:
    entries = b"".join(struct.pack("<HHII", 300 + i, 7, 1 << 20, 8) for i in range(3000))
    return b"II*\0" + struct.pack("<I", 8 + (1 << 20)) + bytes(1 << 20) + struct.pack("<H", 3000) + entries + bytes(4)


def endless_jpeg() -> bytes:
    data = encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 3000 + b"\xff\xd9"


def rle_bmp() -> bytes:
    head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 1078) + struct.pack(
        "<IIIHH6I", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 256, 0
    )
    return head + bytes(1024) + b"\1\1\0\0" * 8000


BOMBS = {  # each cost Pillow alone from seconds to minutes, or gigabytes
    "PNG header of 10 gigapixels": lambda: png_of(100_000, 100_000),
    "PNG animation over 10 gigapixels": lambda: png_of(
        100_000, 100_000, chunk(b"acTL", bytes([0, 0, 0, 2, 0, 0, 0, 0])), chunk(b"fcTL", bytes(24) + b"\1\0")
    ),
    "PNG of a million empty chunks": lambda: PNG[:33] + chunk(b"abCd") * 1_000_000 + PNG[33:],
    "JPEG of a million empty segments": lambda: JPEG[:2] + b"\xff\xe5\0\2" * 1_000_000 + JPEG[2:],
    "JPEG of 3000 scans": endless_jpeg,
    "GIF of a million tiny blocks": lambda: GIF[:GIF_HEAD] + b"!\xfe" + b"\1a" * 1_000_000 + b"\0" + GIF[GIF_HEAD:],
    "TIFF of 3000 tags over one megabyte": overlapping_tiff,
    "WebP canvas of 268 megapixels": lambda: (
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(50)
    ),
    "WebP whose decoder would take over a gigabyte": lambda: (
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x3f\x1f\0\x3f\x1f\0" + bytes(50)
    ),
    "AVIF full of tag blocks": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"II*\0\x08\0\0\0\0\0" * 100_000,
    "BMP with run lengths": rle_bmp,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_quickly(name):
    data = BOMBS[name]()
    start = time.process_time()
    assert isinstance(refusal(data), CorruptImage | TooManyPixels)
    assert time.process_time() - start < 2


def test_text_bombs_are_dropped_and_the_picture_read():
    # Text is not needed for pixels, so a picture with megabytes of it is answered, not refused.
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20 << 20))) * 20
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20 << 20)))
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * 30_000 + b"\0"
    start = time.process_time()
    assert np.array_equal(array(PNG[:33] + text + profile + PNG[33:]), np.asarray(picture()))
    assert open_image(GIF[:GIF_HEAD] + comment + GIF[GIF_HEAD:]).image.size == (48, 32)
    assert time.process_time() - start < 2


def test_mutated_files_are_read_or_refused_by_type():
    # The same in small as the long fuzz run: any byte may be wrong anywhere.
    rng = np.random.default_rng(0)
    kinds = {"JPEG": {}, "PNG": {}, "GIF": {}, "WEBP": {}, "BMP": {}, "TIFF": {"compression": "tiff_lzw"}, "AVIF": {}}
    for kind, options in kinds.items():
        whole = encoded(picture(), kind, **options)
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), 400), rng.integers(1, 6)):
                data[at] = rng.integers(256)
            try:
                open_image(bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data))
            except ImageError as error:
                assert str(error).endswith(".")


def test_many_threads_get_what_one_gets():
    # Servers decode in threads; nothing here may lean on global warning filters.
    results, jobs = [], [JPEG, PNG, GIF, PNG[:90], b"no"] * 8

    def work(data: bytes) -> None:
        try:
            results.append((data, open_image(data).image.tobytes()))
        except ImageError as error:
            results.append((data, error.code))

    threads = [threading.Thread(target=work, args=(data,)) for data in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40 and len(set(results)) == 5
