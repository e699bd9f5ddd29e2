"""The form in which a reported picture is kept: its pixels alone, in the size of the training catalogue."""

from __future__ import annotations

import io

from PIL import Image

SHORT_SIDE, LONG_SIDE = 512, 4096  # pixels; the catalogue's pictures have the same short side
JPEG_QUALITY = 95


def pixels_alone(image: Image.Image) -> bytes:
    """A picture as a JPEG file of at most a few megabytes, without any metadata.

    The file is made of the decoded pixels. So nothing of the original file is in it: no GPS position, camera, name,
    comment, colour profile, preview, nor a second picture or a film behind the first.

    Args:
        image: Upright RGB, from `images.open_image` or a decoder of `fakedet.sandbox`.
    """
    scale = min(1.0, SHORT_SIDE / min(image.size), LONG_SIDE / max(image.size))
    if scale < 1:
        size = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    bare = Image.new("RGB", image.size)  # without the `info` of the given picture, which Pillow would write
    bare.paste(image)
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return buffer.getvalue()
