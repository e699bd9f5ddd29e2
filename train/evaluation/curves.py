"""Robustness curves: AUC over the strength of one kind of degradation, applied identically to both classes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from sklearn.metrics import roc_auc_score

from fakedet.images import ImageError, open_image

MARGIN = 0.06  # of a screenshot's width: page around the picture


def _resized(image: Image.Image, factor: float, kernel: Image.Resampling) -> Image.Image:
    return image.resize(tuple(max(16, round(side * factor)) for side in image.size), kernel)


def downscale(image: Image.Image, factor: float) -> Image.Image:
    return _resized(image, factor, Image.Resampling.LANCZOS)


def blur(image: Image.Image, sigma: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def noise(image: Image.Image, sigma: float) -> Image.Image:
    """Adds Gaussian noise of `sigma` grey levels; the seed is fixed, so that runs agree."""
    pixels = np.asarray(image, np.float32)
    pixels = pixels + np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def crop(image: Image.Image, share: float) -> Image.Image:
    """Cuts out the middle with `share` of each side."""
    width, height = (max(16, round(side * share)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def screenshot(image: Image.Image, factor: float) -> Image.Image:
    """Draws the picture at `factor` of its size (bilinear) on a white page below a grey bar, like a browser."""
    drawn = _resized(image, factor, Image.Resampling.BILINEAR)
    margin = round(MARGIN * drawn.width)
    page = Image.new("RGB", (drawn.width + 2 * margin, drawn.height + 3 * margin), "white")
    page.paste((222, 225, 230), (0, 0, page.width, margin))
    page.paste(drawn, (margin, 2 * margin))
    return page


KINDS: dict[str, tuple[Callable | None, tuple[float, ...], str]] = {
    "jpeg": (None, (95, 80, 60, 40, 20), "JPEG quality"),
    "downscale": (downscale, (0.75, 0.5, 0.35, 0.25), "size left (factor)"),
    "blur": (blur, (0.5, 1.0, 1.5, 2.5), "blur (sigma in pixels)"),
    "noise": (noise, (2, 5, 10, 20), "noise (sigma in grey levels)"),
    "crop": (crop, (0.8, 0.6, 0.4, 0.25), "side kept by a crop in the middle"),
    "screenshot": (screenshot, (1.25, 1.0, 0.8, 0.6), "redrawn as on a screen (factor)"),
}


@dataclass(frozen=True)
class Degradation:
    """One kind of degradation at one level; `apply` has the interface of `dataset.Tier.apply`."""

    kind: str
    level: float

    @property
    def name(self) -> str:
        return f"{self.kind} {self.level:g}"

    def apply(self, encoded: bytes | str) -> bytes | str:
        """Returns the degraded image, as JPEG for the kind "jpeg", else as PNG; an unreadable image unchanged."""
        try:
            image = open_image(encoded).image
        except ImageError:
            return encoded
        change, buffer = KINDS[self.kind][0], io.BytesIO()
        if change is None:
            image.save(buffer, "JPEG", quality=int(self.level), subsampling="4:2:0")
        else:
            change(image, self.level).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def curve_rows(score: Callable, clean, kinds=tuple(KINDS)) -> list[dict]:
    """Scores images under every degradation.

    Args:
        score: Degradation -> score table (see summary.py) of the same images.
        clean: Score table of the images without degradation.
        kinds: Which of KINDS.

    Returns:
        Rows with `kind`, `words` (its description), `level`, `n`, `auc` (None with one class), `auc_clean` of
        the same images without degradation, `mean_abs_p` (mean absolute change of p_fake), and
        `false_alarms` (share of reals answered "fake").
    """
    rows = []
    for kind in kinds:
        for level in KINDS[kind][1]:
            degraded = score(Degradation(kind, level))
            both = clean.merge(degraded[["index", "p_fake", "verdict"]], on="index", suffixes=("", "_degraded"))
            reals, two = both[both["label"] == 0], both["label"].nunique() == 2
            rows.append({
                "kind": kind, "words": KINDS[kind][2], "level": float(level), "n": len(both),
                "auc": float(roc_auc_score(both["label"], both["p_fake_degraded"])) if two else None,
                "auc_clean": float(roc_auc_score(both["label"], both["p_fake"])) if two else None,
                "mean_abs_p": float((both["p_fake_degraded"] - both["p_fake"]).abs().mean()) if len(both) else None,
                "false_alarms": float((reals["verdict_degraded"] == "fake").mean()) if len(reals) else None,
            })  # fmt: skip
    return rows
