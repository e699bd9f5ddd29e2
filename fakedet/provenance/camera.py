"""Evidence for a camera (EXIF fields, a matching embedded preview, JPEG tables) and for an editor."""

from __future__ import annotations

import io
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from fakedet.images import open_guarded

from .containers import kind_of, read_parts
from .parts import Parts
from .record import clean

MAX_DECODE_PIXELS = 2_000_000  # larger JPEGs are not decoded only to check a preview
PREVIEW = 32  # side of the two small pictures that are compared
PREVIEW_MATCH = 0.6  # minimum correlation of a preview that shows the same picture
EDITORS = re.compile(
    r"photoshop|lightroom|gimp|snapseed|affinity|canva\b|picsart|pixelmator|capture one|luminar|topaz|paint\.net"
    r"|pixlr|facetune|remini|meitu|vsco|darktable|rawtherapee|photoroom|faceapp|acdsee|inkscape|krita|procreate",
    re.I,
)


def read_camera(exif: dict[str, Any], parts: Parts, data: bytes, image: Image.Image | None) -> dict[str, Any] | None:
    """Collect the camera fields.

    Args:
        exif: The fields of `fakedet.provenance.exif.read_exif`.
        parts: The file's blocks.
        data: The file's bytes, decoded where that is cheap and `image` is None.
        image: The decoded image, upright or as stored, or None.

    Returns:
        The `camera` object of `Provenance`, or None where the file has none of its fields.
    """
    make, model = exif.get("Make"), exif.get("Model")
    if str(make).startswith("workflow:") or str(model).startswith("prompt:"):  # written by ComfyUI, not by a camera
        make = model = None
    camera = {
        "make": clean(make, 80),
        "model": clean(model, 80),
        "lens": clean(exif.get("LensModel"), 120),
        "taken": clean(exif.get("DateTimeOriginal"), 40),
        "exposure": {
            "time": _exposure_time(exif.get("ExposureTime")),
            "f_number": _number(exif.get("FNumber")),
            "iso": _number(exif.get("ISO")),
            "focal_length_mm": _number(exif.get("FocalLength")),
        },
        "gps_present": bool(exif.get("gps")),
        "maker_note": len(exif.get("MakerNote") or b"") > 16,
        "thumbnail_consistent": _preview_fits(exif, parts, data, image),
        "software": clean(exif.get("Software"), 120),
    }
    if not any(camera["exposure"].values()):
        camera["exposure"] = None
    empty = (None, False)
    return None if all(value in empty for key, value in camera.items() if key != "thumbnail_consistent") else camera


def _number(value: Any) -> float | None:
    return round(float(value), 3) if isinstance(value, int | float) and 0 < value < 1e7 else None


def _exposure_time(value: Any) -> str | None:
    seconds = value if isinstance(value, float) and 0 < value < 1e5 else None
    if seconds is None:
        return None
    return f"1/{round(1 / seconds)} s" if seconds < 0.4 else f"{seconds:.3g} s"


def is_editor(software: str | None) -> bool:
    """Return whether a Software or CreatorTool text names a picture editor."""
    return bool(EDITORS.search(software or ""))


def _preview_fits(exif: dict[str, Any], parts: Parts, data: bytes, image: Image.Image | None) -> bool | None:
    """Compare the embedded preview with the picture; None where one of them is missing."""
    raw = exif.get("thumbnail")
    if not raw or kind_of(raw) != "jpeg":
        return None
    cheap = parts.kind == "jpeg" and parts.size is not None and parts.size[0] * parts.size[1] <= MAX_DECODE_PIXELS
    if image is None and not cheap:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_guarded(raw, "JPEG") as small:
                if small.width * small.height > MAX_DECODE_PIXELS:
                    return None
                preview = small.convert("L")
            if image is None:
                with open_guarded(data, "JPEG") as whole:
                    whole.draft("L", (160, 160))
                    image = whole.convert("L")
    except Exception:  # a broken preview is no evidence
        return None
    picture = _small(image)
    turns = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return max(_alike(_small(_trim(preview, image, turn)), picture) for turn in turns) >= PREVIEW_MATCH


def _trim(preview: Image.Image, image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """Rotate a preview, and crop the black bars that cameras add where the picture has another aspect."""
    preview = preview.transpose(turn) if turn is not None else preview
    aspect, width, height = image.width / image.height, *preview.size
    if width / height > aspect * 1.03:
        margin = (width - height * aspect) / 2
        return preview.crop((round(margin), 0, round(width - margin), height))
    if width / height < aspect / 1.03:
        margin = (height - width / aspect) / 2
        return preview.crop((0, round(margin), width, round(height - margin)))
    return preview


def _small(image: Image.Image) -> np.ndarray:
    # Nearest neighbour first: averaging all of a 12-megapixel picture would cost as much as all other steps.
    if image.width * image.height > 512 * 512:
        image = image.resize((8 * PREVIEW, 8 * PREVIEW), Image.Resampling.NEAREST)
    return np.asarray(image.convert("L").resize((PREVIEW, PREVIEW), Image.Resampling.BOX), dtype=np.float32)


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # Two nearly flat pictures cannot be distinguished and count as alike.
    return float((a * b).sum()) / norm if norm > 4 * PREVIEW * PREVIEW else 1.0


@lru_cache(maxsize=1)
def _standard_table() -> tuple[int, ...]:
    """The luminance table of T.81 annex K, which libjpeg uses unscaled at quality 50."""
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG", quality=50)
    return read_parts(out.getvalue()).tables[0]


@lru_cache(maxsize=1)
def _scaled_tables() -> np.ndarray:
    """The standard luminance table at qualities 1 to 100, as libjpeg scales it: int (100, 64)."""
    base = np.array(_standard_table())
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    return np.clip((base * scale + 50) // 100, 1, 255)


def read_tables(parts: Parts) -> dict[str, Any] | None:
    """Estimate the quality and the family of a JPEG's quantisation tables.

    Returns:
        {quality: 1..100 (of the standard table nearest in the sum of absolute differences), tables_family}, or None
        for a file that is no JPEG.
    """
    luma = parts.tables.get(0)
    if parts.kind != "jpeg" or not luma:
        return None
    away = np.abs(_scaled_tables() - np.array(luma)).sum(axis=1)
    quality = int(away.argmin()) + 1
    if away.min() == 0:
        family = "standard (libjpeg: most software, web services and some phones)"
    elif parts.photoshop:
        family = "Adobe Photoshop or Lightroom"
    else:
        family = "its own (camera or editor)"
    return {"quality": quality, "tables_family": family}
