"""Stability check: is the answer the same for mildly degraded copies (JPEG, smaller, without colour)?

Uploaded images are often recompressed and scaled down by chat programs and web pages. If such a copy changes the
answer, `Detector.predict(..., stability=True)` answers "unsure".

A copy is scored as if the whole image (inside its borders, where `trim_borders` cuts them off) had been degraded and
then cut by `views.make_views`. Where the views are crops at the image's own resolution, only their surroundings are
degraded: on a 12-megapixel photograph this saves half a second. A test compares the result with the degraded whole
image.

* JPEG works in blocks of 16 x 16 pixels, and its decoder interpolates colour from the neighbouring pixel: a region that
  starts on a block edge and extends at least one block beyond the view gives exactly the same pixels.
* After scaling down, a pixel depends on a few pixels around it: Pillow's `box` reads across the border of a view.

`Settings` defines the copies and what counts as a change (`stability_jpeg`, `stability_resize`, `stability_grey`,
`stability_flip`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops

from fakedet.network.settings import Calibration, Settings
from fakedet.network.views import (
    MAX_ASPECT,
    crop_corners,
    make_views,
    normalise,
    view_limit,
    view_side,
    without_borders,
)

BLOCK = 16  # pixels of a JPEG block whose colour is stored at half the resolution
MIN_SIDE = 16  # pixels of the short side of a smaller copy
GREY = "without colour"  # name of that copy
COLOURLESS = 8  # largest difference between the channels, 0..255, of an image that has no colour to lose


def recheck(
    images: Sequence[Image.Image],
    logits: Sequence[float],
    calibrations: Sequence[Calibration],
    config: Settings,
    score: Callable[[list[np.ndarray]], list[float]],
) -> list[dict | None]:
    """Scores degraded copies of all images that are not "unsure" already, in one call.

    Args:
        images: Upright RGB.
        logits: Raw logit of each image.
        calibrations: Calibration of each image.
        config: Of the checkpoint.
        score: Raw logit of each set of views, float32 (V, 3, S, S).

    Returns:
        Per image {stable, first_verdict, copies: [{copy, p_fake, verdict}]}, or None where nothing was checked.
    """
    checks: list[dict | None] = [None] * len(images)
    verdicts = [own.classify(own.p_fake(logit)) for own, logit in zip(calibrations, logits, strict=True)]
    copies = [
        (index, name, views)
        for index, image in enumerate(images)
        if verdicts[index] != "unsure"
        for name, views in degraded_copies(image, config).items()
    ]
    if not copies:
        return checks
    for (index, name, _), logit in zip(copies, score([views for _, _, views in copies]), strict=True):
        calibration, first = calibrations[index], verdicts[index]
        p_fake = calibration.p_fake(logit)
        check = checks[index] = checks[index] or {"stable": True, "first_verdict": first, "copies": []}
        check["copies"].append({"copy": name, "p_fake": round(p_fake, 6), "verdict": calibration.classify(p_fake)})
        check["stable"] &= not changes_verdict(first, p_fake, calibration, rule_of(name, config))
    return checks


def rule_of(name: str, config: Settings) -> str:
    """What counts as a change for the copy of this name, as `changes_verdict` takes it."""
    return "verdict" if name == GREY else config.stability_flip


def changes_verdict(verdict: str, p_fake: float, calibration: Calibration, rule: str) -> bool:
    """Whether the score of a copy contradicts the verdict on the image.

    Args:
        verdict: "real" or "fake", of the image.
        p_fake: Of the copy, 0..1.
        calibration: Of the image.
        rule: "threshold": the copy lies on the other side of it; "verdict": beyond the unsure band.
    """
    if rule == "verdict":
        return {verdict, calibration.classify(p_fake)} == {"real", "fake"}
    return (p_fake >= calibration.threshold) != (verdict == "fake")


def unstable_note(stability: dict, calibration: Calibration, config: Settings) -> str:
    """One sentence that tells the reader which copies changed the answer.

    Args:
        stability: From `recheck`.
        calibration, config: As given there.
    """
    verdict = stability["first_verdict"]
    changed = [
        f"{copy['copy']}: {copy['p_fake']:.0%} AI-generated".replace("%", " %")
        for copy in stability["copies"]
        if changes_verdict(verdict, copy["p_fake"], calibration, rule_of(copy["copy"], config))
    ]
    first = "AI-generated" if verdict == "fake" else "like a photograph"
    return (
        f"The file itself looks {first}, but a degraded copy of it does not ({'; '.join(changed)}). "
        "The answer is therefore unsure."
    )


def degraded_copies(image: Image.Image, config: Settings) -> dict[str, np.ndarray]:
    """The views of each degraded copy.

    Args:
        image: Upright RGB, any size that `make_views` takes.
        config: Of the checkpoint.

    Returns:
        Name of the degradation -> float32 (V, 3, S, S), normalised. Images whose smaller copy would be below
        `tiny_side` have none: for an icon, scaling down is not a mild change.
    """
    copies, (image, _) = {}, without_borders(image, config)
    if config.stability_jpeg:
        copies[f"JPEG quality {config.stability_jpeg}"] = _jpeg_views(image, config)
    smaller = tuple(round(side * config.stability_resize) for side in image.size)
    # rounding may turn an aspect ratio that `make_views` just accepts into one that it refuses
    too_long = max(smaller) > MAX_ASPECT * min(smaller)
    if config.stability_resize < 1 and min(smaller) >= max(MIN_SIDE, config.tiny_side) and not too_long:
        copies[f"resized to {100 * config.stability_resize:.0f} %"] = _resized_views(image, config, smaller)
    if config.stability_grey and min(image.size) >= config.tiny_side and has_colour(image):
        copies[GREY] = make_views(image.convert("L").convert("RGB"), config).pixels
    return copies


def has_colour(image: Image.Image) -> bool:
    """Whether the channels of an RGB image differ anywhere, apart from what JPEG leaves in a grey one."""
    red, green, blue = image.reduce(max(1, min(image.size) // 64)).split()
    return any(ImageChops.difference(red, other).getextrema()[1] > COLOURLESS for other in (green, blue))


def jpeg_copy(image: Image.Image, quality: int) -> Image.Image:
    """The image after JPEG compression at a quality of 1..95, colour at half the resolution."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def _jpeg_views(image: Image.Image, config: Settings) -> np.ndarray:
    size, quality = view_side(image, config), config.stability_jpeg
    if _scales_down(config) or _is_small(image.size, size):
        return make_views(jpeg_copy(image, quality), config).pixels
    crops = []
    for corner in crop_corners(*image.size, size, view_limit(image.size, size, config)):
        start = [max(0, at // BLOCK - 1) * BLOCK for at in corner]
        end = [min(side, (at + size + 2 * BLOCK - 1) // BLOCK * BLOCK) for at, side in zip(corner, image.size)]
        left, top = (at - from_ for at, from_ in zip(corner, start))
        copy = jpeg_copy(image.crop((*start, *end)), quality)
        crops.append(np.asarray(copy.crop((left, top, left + size, top + size))))
    return normalise(crops, config.image_mean, config.image_std)


def _resized_views(image: Image.Image, config: Settings, smaller: tuple[int, int]) -> np.ndarray:
    size = config.input_size
    if _scales_down(config) or min(smaller) < size or _is_small(smaller, size):
        return make_views(image.resize(smaller, Image.Resampling.BICUBIC), config).pixels
    step_x, step_y = (side / new for side, new in zip(image.size, smaller))
    crops = []
    for left, top in crop_corners(*smaller, size, view_limit(smaller, size, config)):
        box = (left * step_x, top * step_y, (left + size) * step_x, (top + size) * step_y)
        crops.append(np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box)))
    return normalise(crops, config.image_mean, config.image_std)


def _scales_down(config: Settings) -> bool:
    """Whether any view may show the image scaled down, so that the whole image must be degraded."""
    return bool(config.squash or config.whole_views or config.crop_scale)


def _is_small(sides: tuple[int, int], size: int) -> bool:
    """Whether degrading the whole image costs no more than degrading the surroundings of its views."""
    return min(sides) < size or sides[0] * sides[1] <= 9 * (size + 3 * BLOCK) ** 2
