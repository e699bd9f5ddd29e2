"""Benchmark of a scan, against the baselines in a loop and against the parts of the scan alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fakedet.detector import Detector
from fakedet.network.runtime import usable_cpus
from fakedet.network.views import CUT_KEYS
from fakedet.scan.readers import DecodePool
from fakedet.scan.run import score_rows
from fakedet.scan.sources import Source, find_source

from .baselines import SIDE, HookedGradCam, pipelines
from .images import synthetic_jpeg
from .timing import ratio_summary

TURNS = 3
BATCH_IMAGES, BATCH_VIEWS = 32, 9 * 32
SAMPLE_FILES = 24  # files that the baselines score


def bench_scan(detector: Detector, count: int, folder: Path, images: str | None) -> list[dict]:
    """Measures images per second of a scan, in turns with everything that it is compared with.

    Args:
        detector: As loaded.
        count: Maximum number of images.
        folder: Where synthetic crops of 256 pixels are written if `images` is None.
        images: Source of the scan, see `fakedet.scan.sources.find_source`.

    Returns:
        Rows {part, what, images_per_s, turns, times_ours}.
    """
    source = find_source(images or _write_crops(folder / "crops", count))
    count = min(count, source.count)
    paths = [item[0] for _, item in source.items(lambda number: number < SAMPLE_FILES)]
    side = detector.config.input_size
    pixels = np.zeros((BATCH_VIEWS, 3, side, side), np.float32)
    ours = f"fakedet scan, up to {detector.config.max_views} views of {side} px"

    def read() -> Iterator[tuple]:
        return _decoded(detector, source, count)

    # name -> (images of one run, run)
    runs: dict[str, tuple[float, Callable]] = {
        ours: (count, lambda: _consume(score_rows(detector, read(), BATCH_IMAGES, lambda done: None))),
        "its decoding processes alone": (count, lambda: _consume(read())),
        "its network alone": (BATCH_VIEWS / detector.predict(paths[0]).views, lambda: detector.runtime(pixels)),
    }
    few = max(4, count // 100)
    repeated = (paths * few)[:few]
    for name, classify in _baselines().items():
        runs[name] = (few, lambda classify=classify: [classify(path) for path in repeated])
    speeds = _images_per_second(runs)
    return [
        {"part": f"scan of {count} files", "what": name, "images_per_s": round(statistics.median(values), 1)}
        | {"turns": len(values)}
        | ratio_summary(own / value for value, own in zip(values, speeds[ours], strict=True))
        for name, values in speeds.items()
    ]


def _write_crops(folder: Path, count: int) -> str:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(synthetic_jpeg(256, 256, number))
    return str(folder)


def _decoded(detector: Detector, source: Source, count: int) -> Iterator[tuple]:
    """The first `count` images, decoded and cut by processes as in a scan."""
    config = {key: getattr(detector.config, key) for key in CUT_KEYS}
    pool = DecodePool(usable_cpus(), config, detector.limits, True, prefetch=4 * BATCH_IMAGES)
    with pool:
        yield from pool.read(source.items(lambda number: number < count))


def _consume(items: Iterator) -> None:
    for _ in items:
        pass


def _baselines() -> dict[str, Callable]:
    hooked = HookedGradCam()
    baselines: dict[str, Callable] = {
        f"EfficientNet-B0 at {SIDE}, eager, hooks, loop": lambda path: hooked.score_file(path, True)
    }
    return baselines | {f"{name} at {SIDE}, loop": classify for name, classify in pipelines().items()}


def _images_per_second(runs: dict[str, tuple[float, Callable]]) -> dict[str, list[float]]:
    """Speed of each run per turn."""
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, (count, run) in runs.items():
            start = time.perf_counter()
            run()
            speeds[name].append(count / (time.perf_counter() - start))
    return speeds
