"""Shortcut probes: AUC of simple image statistics that should not separate real from fake in a data set.

A detector that scores no better may have learned such a statistic. Probes read the files without degradation.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fakedet.images import ImageError, open_image
from train.evaluation.dataset import prefetch

FOLDS = 5
THUMBNAIL = 4
LOSSLESS = 101.0
# Sum of the 64 steps of the luminance table that Annex K.1 of the JPEG standard (ITU-T T.81) gives as an example and
# that libjpeg scales by quality.
ANNEX_K_SUM = 3688

PROBES = {
    "pixels": "width x height",
    "bytes_per_pixel": "bytes per pixel of the file",
    "jpeg_quality": "JPEG quality estimated from the luminance table (101 where the file is no JPEG)",
    "brightness": "mean brightness",
    "sharpness": "mean absolute Laplacian of the brightness",
    "thumbnail": f"logistic regression on a {THUMBNAIL} x {THUMBNAIL} thumbnail in colour, {FOLDS}-fold",
}


def jpeg_quality(encoded: bytes | str) -> float:
    """Estimates the quality of a JPEG, 1..100 on libjpeg's scale; 101 for other formats.

    Only the header is read. libjpeg scales the standard's table by s percent, s = 5000 / q below quality 50 and
    200 - 2 q from there; the table's sum gives s. Camera tables are not scaled copies, so their quality is approximate.
    """
    with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
        tables = getattr(image, "quantization", None)
    if not tables:
        return LOSSLESS
    scale = 100 * sum(tables[min(tables)]) / ANNEX_K_SUM
    return float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))


def probe_features(encoded: bytes | str) -> dict | None:
    """Returns the statistics of one image and its thumbnail (48,), or None where it cannot be read."""
    try:
        loaded = open_image(encoded)
        quality = jpeg_quality(encoded)
    except (ImageError, OSError):
        return None
    image, pixels = loaded.image, loaded.facts["width"] * loaded.facts["height"]
    width, height = image.size
    left, top = max(0, (width - 512) // 2), max(0, (height - 512) // 2)  # bounds the cost
    grey = np.asarray(image.crop((left, top, min(width, left + 512), min(height, top + 512))).convert("L"), np.float32)
    inner = grey[1:-1, 1:-1]
    laplacian = 4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    thumbnail = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32).reshape(-1)
    return {
        "pixels": float(pixels),
        "bytes_per_pixel": loaded.facts["bytes"] / pixels,
        "jpeg_quality": quality,
        "brightness": float(thumbnail.reshape(-1, 3) @ (0.299, 0.587, 0.114) @ np.full(THUMBNAIL**2, THUMBNAIL**-2)),
        "sharpness": float(np.abs(laplacian).mean()) if laplacian.size else 0.0,
        "thumbnail": thumbnail,
    }


def probe_table(
    encoded: Iterable[bytes | str], labels, groups=None, workers: int = 0, progress: Callable = lambda items: items
) -> list[dict]:
    """Measures every probe on a data set.

    Args:
        encoded: N images, as bytes or paths; unreadable images are left out.
        labels: (N,) 0 = real, 1 = fake.
        groups: (N,) values that must not be split between folds, or None.
        workers: number of threads that read images.
        progress: wraps the iterator over the images, such as tqdm.

    Returns:
        One row per probe: `probe`, `words` (its description), `auc` (of the statistic as a score for fake; None where
        a class is missing), `strength` (max(auc, 1 - auc), the AUC in the better direction), `n`.
    """
    rows = list(progress(prefetch(probe_features, encoded, workers)))
    kept = np.array([row is not None for row in rows], dtype=bool)
    rows, labels = [row for row in rows if row is not None], np.asarray(labels)[kept]
    groups = None if groups is None else np.asarray(groups)[kept]
    both = len(set(labels.tolist())) == 2
    table = []
    for name, description in PROBES.items():
        auc = None
        if both:
            values = np.array([row[name] for row in rows])
            auc = thumbnail_auc(values, labels, groups) if name == "thumbnail" else float(roc_auc_score(labels, values))
        strength = None if auc is None else max(auc, 1 - auc)
        table.append({"probe": name, "words": description, "auc": auc, "strength": strength, "n": len(rows)})
    return table


def thumbnail_auc(thumbnails: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> float | None:
    """Cross-validated AUC of a logistic regression on (N, 48) thumbnails; None with too few images or groups."""
    units = [len(set(groups[labels == k].tolist())) if groups is not None else int((labels == k).sum()) for k in (0, 1)]
    if min(units) < FOLDS:
        return None
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = splitter(FOLDS, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    scores = cross_val_predict(model, thumbnails, labels, groups=groups, cv=folds, method="predict_proba")
    return float(roc_auc_score(labels, scores[:, 1]))
