"""Pictures, files and helpers that the tests of `fakedet.images` share."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakedet.images import (
    ImageError,
    open_image,
)

SHARED = Path(os.environ.get("FAKEDET_SHARED") or Path(__file__).parents[2] / "shared") / "data" / "bad_images"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of bad images (FAKEDET_SHARED) is not here")


STORED_AS = {  # how an upright picture has to be stored for its tag to bring it back (EXIF 2.3, tag 0x0112)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


def picture(width: int = 48, height: int = 32) -> Image.Image:
    """A smooth picture without symmetry, so that every turn of it looks different and JPEG keeps it."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) * 2], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def array(source, **options) -> np.ndarray:
    return np.asarray(open_image(source, **options).image).astype(int)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
GIF = encoded(picture().quantize(8), "GIF")
GIF_HEAD = 13 + (3 << ((GIF[10] & 7) + 1))  # end of the colour table


def refusal(source, **options) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    return caught.value
