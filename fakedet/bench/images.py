"""Synthetic JPEG files for the benchmark."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def synthetic_jpeg(width: int, height: int, seed: int = 0) -> bytes:
    """A JPEG file with soft shapes and sensor-like noise, about as large as a photograph's."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (max(2, height // 80), max(2, width // 80), 3), dtype=np.uint8))
    base = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-8, 9, (height, width, 1), np.int16)
    out = io.BytesIO()
    Image.fromarray((base + noise).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()
