"""Does the answer survive the copy? The score of mildly worn copies: compressed as JPEG, and made smaller.

What people upload is seldom the original: chat programs and web pages compress pictures and make them smaller. An
answer that such a copy turns round is not one to give, so `Detector.predict(..., stability=True)` answers "unsure".

A copy is scored as if the whole picture had been worn and `views.make_views` had cut it, but only the places where its
views lie are made, since a photograph of twelve megapixels would cost half a second more (but for a network that sees
the picture made smaller, too: see `whole_views`, `crop_scale`):

* JPEG works in blocks of 16 x 16 pixels, and its decoder looks one pixel of colour into the next: a neighbourhood that
  begins on a block's edge and reaches at least one block further than the view gives the very same pixels.
* Made smaller, each pixel depends on a few around it: Pillow's `box` reads across the border of a view.

A test compares both with the copy of a whole picture. Which copies are made, and what counts as turned round, stands in
`FakeDetConfig` (`stability_jpeg`, `stability_resize`, `stability_flip`).
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from fakedet.network.views import crop_corners, make_views, to_tensor, view_limit, view_side

BLOCK = 16  # pixels of a JPEG block whose colour is stored at half the resolution


def degraded_copies(image: Image.Image, config) -> dict[str, torch.Tensor]:
    """The views of each copy.

    Args:
        image: Upright RGB, any size that `make_views` takes.
        config: A FakeDetConfig.

    Returns:
        What was done to the copy -> float32 (V, 3, S, S), normalised. Pictures below `tiny_side` are not made smaller:
        for an icon that is not a mild change.
    """
    found = {}
    if config.stability_jpeg:
        found[f"JPEG quality {config.stability_jpeg}"] = _jpeg_views(image, config)
    smaller = tuple(round(side * config.stability_resize) for side in image.size)
    wide = max(smaller) > 64 * min(smaller)  # rounding may take the longest of all beyond what `make_views` takes
    if config.stability_resize < 1 and min(smaller) >= max(16, config.tiny_side) and not wide:
        found[f"resized to {100 * config.stability_resize:.0f} %"] = _resized_views(image, config, smaller)
    return found


def flips(verdict: str, p_fake: float, threshold: float, other: str, how: str) -> bool:
    """Whether a copy's answer turns a picture's answer round.

    Args:
        verdict: "real" or "fake", of the picture.
        p_fake: Of the copy, 0..1.
        threshold: Where "fake" begins.
        other: The copy's verdict.
        how: "threshold": the copy lies on the other side of it; "verdict": beyond the whole unsure band.
    """
    if how == "verdict":
        return {verdict, other} == {"real", "fake"}
    return ("fake" if p_fake >= threshold else "real") != verdict


def unstable_note(stability: dict, threshold: float) -> str:
    """One sentence for the reader of an answer that a copy turned round."""
    kinds = ("look like a photograph", "look AI-generated")
    first = kinds[stability["first_verdict"] == "fake"]
    told = [
        f"{copy['copy']}: {copy['p_fake']:.0%} AI-generated".replace("%", " %")
        for copy in stability["copies"]
        if (copy["p_fake"] >= threshold) != (stability["first_verdict"] == "fake")
    ]
    return (
        f"The file as it is would {first}, but a copy of it as people share it would not ({'; '.join(told)}). An "
        "answer that changes with the copy is none."
    )


def jpeg_copy(image: Image.Image, quality: int) -> Image.Image:
    """The picture after JPEG at a quality of 1..95, colour at half the resolution."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def _jpeg_views(image: Image.Image, config) -> torch.Tensor:
    size, quality = view_side(image, config), config.stability_jpeg
    if _shows_whole(config) or _small(image.size, size):
        return make_views(jpeg_copy(image, quality), config).pixels
    crops = []
    for corner in crop_corners(*image.size, size, view_limit(image.size, size, config)):
        start = [max(0, at // BLOCK - 1) * BLOCK for at in corner]
        end = [min(side, (at + size + 2 * BLOCK - 1) // BLOCK * BLOCK) for at, side in zip(corner, image.size)]
        left, top = (at - from_ for at, from_ in zip(corner, start))
        copy = jpeg_copy(image.crop((*start, *end)), quality)
        crops.append(np.asarray(copy.crop((left, top, left + size, top + size))))
    return to_tensor(crops, config.image_mean, config.image_std)


def _resized_views(image: Image.Image, config, smaller: tuple[int, int]) -> torch.Tensor:
    size = config.input_size
    if _shows_whole(config) or min(smaller) < size or _small(smaller, size):
        return make_views(image.resize(smaller, Image.Resampling.BICUBIC), config).pixels
    step_x, step_y = (side / new for side, new in zip(image.size, smaller))
    crops = []
    for left, top in crop_corners(*smaller, size, view_limit(smaller, size, config)):
        box = (left * step_x, top * step_y, (left + size) * step_x, (top + size) * step_y)
        crops.append(np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box)))
    return to_tensor(crops, config.image_mean, config.image_std)


def _shows_whole(config) -> bool:
    """Whether views are also, or all, of the picture made smaller: then a copy of all of it is needed."""
    return bool(config.squash or config.whole_views or config.crop_scale)


def _small(sides: tuple[int, int], size: int) -> bool:
    """Whether the whole picture costs no more than the places of its views."""
    return min(sides) < size or sides[0] * sides[1] <= 9 * (size + 3 * BLOCK) ** 2
