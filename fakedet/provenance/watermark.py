"""The invisible watermark of Stable Diffusion and FLUX reference code, searched for in images that may be unedited.

Stable Diffusion 1 and 2 scripts, the SDXL pipeline of diffusers and FLUX's reference code call a public library
(invisible-watermark, method "dwtDct") that hides a fixed message: one level of the Haar wavelet of the U channel, cut
into blocks of 4x4; in block k, bit k modulo the message's length decides in which half of a step of 36 the largest
coefficient (except the first one) lies. Blocks vote on each bit, and the votes are compared with each message.

Resizing, cropping off the 8-pixel grid and JPEG with halved chroma destroy it, so its absence proves nothing.

Thresholds (`Message.allowed`), measured with the public encoder's and this module's decoder: of 3,260 real crops of
256x256 (3,395 crops of all sizes) none differed in fewer than 51 of 136, 7 of 32, 13 of 48 and 13 of 46 bits, against
the allowed 30, 3, 7 and 7: no false alarm, so fewer than 1 in 1,000 images at 95 % confidence (rule of three).
Of 90 pictures of 512x512 marked by the public encoder and stored as PNG, 84 %, 62 %, 86 % and 88 % are found; as JPEG
of quality 95 with full chroma 90 %, 70 %, 92 % and 92 %; with halved chroma 8 % and less, so those files are
not searched.

Sources: CompVis/stable-diffusion scripts ("StableDiffusionV1", 136 bits; version 2: "SDV2", 32 bits), diffusers
StableDiffusionXLPipeline (48 bits), black-forest-labs/flux (48 bits, of which the two leading zeros are not written).
The code here is written from the description of the method, in numpy; a Haar step is a sum of four pixels, so no
wavelet library is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

STEP = 36.0
MIN_SIDE = 256  # the embedders refuse images below 256 x 256 pixels
MAX_PIXELS = 2_500_000  # these models make at most 2 megapixels; larger pictures were enlarged, or are photos


@dataclass(frozen=True)
class Message:
    """One known message and the pixel format of its embedder.

    Attributes:
        bits: The message as 0s and 1s.
        allowed: Maximum number of differing bits.
        offset: What the embedder adds to U: 128 for bytes, 0.5 for floats (as OpenCV does).
        swapped: The embedder swaps red and blue.
    """

    name: str
    bits: tuple[int, ...]
    allowed: int
    offset: float
    swapped: bool = False


def _text_bits(text: str) -> tuple[int, ...]:
    return tuple(int(bit) for byte in text.encode() for bit in f"{byte:08b}")


_SDXL = tuple(map(int, f"{0b101100111110110010010000011110111011000110011110:b}"))
_FLUX = tuple(map(int, f"{0b001010101111111010000111100111001111010100101110:b}"))
MESSAGES = (
    Message("Stable Diffusion 1", _text_bits("StableDiffusionV1"), 30, 128.0),
    Message("Stable Diffusion 2", _text_bits("SDV2"), 3, 128.0),
    Message("Stable Diffusion XL", _SDXL, 7, 0.5),
    Message("Stable Diffusion XL", _SDXL, 7, 0.5, swapped=True),  # diffusers before it turned RGB into BGR
    Message("FLUX", _FLUX, 7, 0.5),
)


def worth_looking(size: tuple[int, int]) -> bool:
    """Return whether an image of this width and height in pixels can carry the watermark intact.

    Sides of at least 256, multiples of 8 as these models make them, and 2.5 megapixels at most.
    """
    width, height = size
    return min(size) >= MIN_SIDE and width % 8 == 0 == height % 8 and width * height <= MAX_PIXELS


def find_watermark(image: Image.Image) -> dict[str, Any] | None:
    """Search for the known messages.

    Args:
        image: The picture in its own pixels, RGB; not resized, not rotated.

    Returns:
        {name, bits (length of the message), distance (bits that differ), threshold} of the best match, or None.
    """
    hits = [
        {"name": message.name, "bits": len(message.bits), "distance": distance, "threshold": message.allowed}
        for message, distance in zip(MESSAGES, distances(image), strict=True)
        if distance <= message.allowed
    ]
    return min(hits, key=lambda hit: hit["distance"] / hit["bits"], default=None)


def distances(image: Image.Image) -> list[int]:
    """Return how many bits of each message in `MESSAGES` differ from what the image holds."""
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    rows, columns = pixels.shape[0] // 8 * 8, pixels.shape[1] // 8 * 8
    pixels = pixels[:rows, :columns]
    tall = pixels[0::2].astype(np.int16) + pixels[1::2]
    quad = [np.float32(tall[:, 0::2, c] + tall[:, 1::2, c]) for c in range(3)]
    votes: dict[tuple[float, bool], np.ndarray] = {}
    differing = []
    for message in MESSAGES:
        key = (message.offset, message.swapped)
        if key not in votes:
            red, green, blue = (quad[2], quad[1], quad[0]) if message.swapped else quad
            # Haar's low band is half the sum of four pixels; Y and U as in BT.601 with OpenCV's factors.
            luma = 0.299 * red + 0.587 * green + 0.114 * blue
            votes[key] = _votes((0.492 / 2) * (blue - luma) + 2 * message.offset)
        differing.append(_distance(votes[key], message.bits))
    return differing


def _votes(band: np.ndarray) -> np.ndarray:
    """Return one bit per 4x4 block of the low band, row by row."""
    size = np.abs(band)
    size[::4, ::4] = 0  # a block's first coefficient is never used
    rows = np.maximum(np.maximum(size[0::4], size[1::4]), np.maximum(size[2::4], size[3::4]))
    largest = np.maximum(np.maximum(rows[:, 0::4], rows[:, 1::4]), np.maximum(rows[:, 2::4], rows[:, 3::4]))
    return (largest % STEP > STEP / 2).ravel()


def _distance(votes: np.ndarray, bits: tuple[int, ...]) -> int:
    length = len(bits)
    if len(votes) < length:
        return length
    place = np.arange(len(votes)) % length
    share = np.bincount(place, weights=votes, minlength=length) / np.bincount(place, minlength=length)
    return int(((share > 0.5) != np.array(bits, bool)).sum())
