"""Benchmark from an image file to the verdict, with and without the heat map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from fakedet.detector import Detector

from .baselines import SIDE, HookedGradCam, pipelines
from .images import synthetic_jpeg
from .timing import time_interleaved, timing_rows

SIZES = {"0.3 MP": (640, 480), "2 MP": (1632, 1224), "12 MP": (4000, 3000)}


def bench_files(detector: Detector, seconds: float, folder: Path) -> list[dict]:
    """Times the way from a JPEG file to the verdict.

    Args:
        detector: As loaded.
        seconds: Per size of image, with and without the heat map.
        folder: Where the files are written.

    Returns:
        Rows of `timing_rows`.
    """
    hooked, classifiers, rows = HookedGradCam(), pipelines(), []
    ours = f"fakedet, up to {detector.config.max_views} views of {detector.config.input_size} px"
    for size, (width, height) in SIZES.items():
        path = folder / f"{width}.jpg"
        path.write_bytes(synthetic_jpeg(width, height))
        for heatmap in (False, True):
            functions: dict[str, Callable] = {
                ours: lambda p=path, h=heatmap: _predict(detector, p, h),
                "decoding alone (Pillow open, load)": lambda p=path: _decode(p),
                f"EfficientNet-B0 at {SIDE}, eager{', hooks' * heatmap}": (
                    lambda p=path, h=heatmap: hooked.score_file(p, h)
                ),
            }
            if not heatmap:
                for name, classify in classifiers.items():
                    functions[f"{name} at {SIDE}"] = lambda p=path, c=classify: c(str(p))
            part = f"file of {size}, {'with heat map' if heatmap else 'score alone'}"
            rows += timing_rows(part, time_interleaved(functions, seconds), ours)
    return rows


def _predict(detector: Detector, path: Path, heatmap: bool) -> None:
    verdict = detector.predict(path, heatmap=heatmap)
    if heatmap:
        verdict.overlay()


def _decode(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
