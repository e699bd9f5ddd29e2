"""`python -m fakedet bench`: how fast, beside what people would pick instead and what the machine could do.

What is compared runs in turns in one process on the same number of threads, so that whatever else the machine does
meets all alike; each ratio is taken within a turn, and its smallest, middle and largest are told.
"""

from __future__ import annotations

import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fakedet.detector import Detector
from fakedet.network.runtime import usable_cpus
from fakedet.scan.readers import DecodePool
from fakedet.scan.run import CUT_KEYS, score_rows
from fakedet.scan.sources import find_source

from .network import network
from .rivals import SIDE, Hooked, pipelines
from .turns import in_turns, rows_of, spread

MEGAPIXELS = {"0.3 MP": (640, 480), "2 MP": (1632, 1224), "12 MP": (4000, 3000)}
PARTS = ("network", "files", "scan", "process")


def picture(width: int, height: int, seed: int = 0) -> bytes:
    """A JPEG with soft shapes and sensor-like noise, about as large as a photograph's."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (max(2, height // 80), max(2, width // 80), 3), dtype=np.uint8))
    base = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-8, 9, (height, width, 1), np.int16)
    out = io.BytesIO()
    Image.fromarray((base + noise).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def files(detector: Detector, seconds: float, folder: Path) -> list[dict]:
    """From a JPEG file to the answer, with and without the heat map."""
    rows, hooked, others = [], Hooked(), pipelines()
    size = detector.config.input_size
    for title, (width, height) in MEGAPIXELS.items():
        path = folder / f"{width}.jpg"
        path.write_bytes(picture(width, height))

        def decode(path=path) -> None:
            with Image.open(path) as image:
                image.load()

        for heatmap in (False, True):
            ours = f"fakedet, up to {detector.config.max_views} views of {size} px"
            runs = {
                ours: lambda p=path, h=heatmap: _answer(detector, p, h),
                "decoding alone (Pillow open, load)": decode,
                f"EfficientNet-B0 at {SIDE}, eager{', hooks' * heatmap}": lambda p=path, h=heatmap: hooked.file(p, h),
            }
            if not heatmap:
                runs |= {f"{name} at {SIDE}": lambda p=path, o=other: o(str(p)) for name, other in others.items()}
            part = f"file of {title}, {'with heat map' if heatmap else 'score alone'}"
            rows += rows_of(part, in_turns(runs, seconds), ours)
    return rows


def _answer(detector: Detector, path: Path, heatmap: bool) -> None:
    verdict = detector.predict(path, heatmap=heatmap)
    if heatmap:
        verdict.overlay()


def scanning(detector: Detector, count: int, folder: Path, images: str | None) -> list[dict]:
    """Images a second of a scan, in turns with the rivals in a loop, and what its parts would allow alone."""
    if images is None:
        images = str(folder / "crops")
        Path(images).mkdir()
        for number in range(count):
            (Path(images) / f"{number:05d}.jpg").write_bytes(picture(256, 256, number))
    source = find_source(images)
    count = min(count, source.count)
    config = {key: getattr(detector.config, key) for key in CUT_KEYS}

    class Silent:
        def update(self, done: int) -> None:
            pass

    def read():
        readers = DecodePool(usable_cpus(), config, detector.limits, True, prefetch=128)
        return readers.read(source.items(lambda number: number < count))

    paths = [item[0] for _, item in source.items(lambda number: number < 24)]
    one = np.zeros((9 * 32, 3, detector.config.input_size, detector.config.input_size), np.float32)
    hooked, others = Hooked(), pipelines()
    few = max(4, count // 100)
    speeds: dict[str, list[float]] = {}

    def timed(name: str, number: int, run: Callable) -> None:
        start = time.perf_counter()
        run()
        speeds.setdefault(name, []).append(number / (time.perf_counter() - start))

    ours = f"fakedet scan, up to {detector.config.max_views} views of {detector.config.input_size} px"
    views = detector.predict(paths[0]).views
    for _ in range(3):
        timed(ours, count, lambda: sum(1 for _ in score_rows(detector, read(), 32, Silent())))
        timed("its decoding processes alone", count, lambda: sum(1 for _ in read()))
        timed("its network alone", 32 * 9 / views, lambda: detector.runtime(one))
        rivals = {f"EfficientNet-B0 at {SIDE}, eager, hooks, loop": lambda p: hooked.file(p, True)}
        rivals |= {f"{name} at {SIDE}, loop": other for name, other in others.items()}
        for name, run in rivals.items():
            timed(name, few, lambda r=run: [r(path) for path in (paths * few)[:few]])
    part = f"scan of {count} files"
    return [
        {"part": part, "what": name, "images_per_s": round(statistics.median(values), 1), "turns": len(values)}
        | spread(own / value for value, own in zip(values, speeds[ours], strict=True))
        for name, values in speeds.items()
    ]


START = {
    "fakedet": "from fakedet import Detector; Detector.from_pretrained().predict(PATH)",
    f"EfficientNet-B0 at {SIDE}, eager": (
        "import timm, torch, numpy as np; from PIL import Image; m = timm.create_model('efficientnet_b0').eval(); "
        "x = np.asarray(Image.open(PATH).convert('RGB').resize((224, 224)), np.float32); "
        "m(torch.from_numpy(x).permute(2, 0, 1)[None])"
    ),
    f"ViT-B/16 pipeline at {SIDE}": (
        "import transformers as tf; c = tf.ViTConfig(num_labels=2); "
        "p = tf.pipeline('image-classification', model=tf.ViTForImageClassification(c), "
        "image_processor=tf.ViTImageProcessor(), device='cpu'); p(PATH)"
    ),
}  # fmt: skip


def process(folder: Path, turns: int) -> list[dict]:
    """A fresh process up to its first answer: seconds, and the most memory it held."""
    path = folder / "start.jpg"
    path.write_bytes(picture(640, 480))
    # not getrusage: it would count this process's memory, from before the new program began
    tail = "; print(*[l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')])"
    tail = tail if Path("/proc/self/status").exists() else "; print(0)"
    taken, held = {name: [] for name in START}, {}
    for _ in range(turns):
        for name, code in START.items():
            start = time.perf_counter()
            command = [sys.executable, "-c", code.replace("PATH", repr(str(path))) + tail]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (our own words)
            taken[name].append(1000 * (time.perf_counter() - start))
            held[name] = int(done.stdout.split()[-1]) / 1024  # kB on Linux
    rows = rows_of("fresh process to first answer", taken, "fakedet")
    return [row | {"peak_mb": round(held[row["what"]])} for row in rows]


def bench(parts: list[str], quick: bool, images: str | None = None, count: int = 1000) -> dict:
    """Runs the parts.

    Returns:
        {machine, rows}.
    """
    threads = int(os.environ.get("FAKEDET_THREADS") or usable_cpus())
    torch.set_num_threads(threads)
    detector, rows = Detector.from_pretrained(threads=threads), []
    seconds = 1.5 if quick else 6
    with tempfile.TemporaryDirectory() as folder:
        if "network" in parts:
            rows += network(detector, seconds)
        if "files" in parts:
            rows += files(detector, seconds, Path(folder))
        if "scan" in parts:
            rows += scanning(detector, min(count, 200) if quick else count, Path(folder), images)
        if "process" in parts:
            rows += process(Path(folder), 1 if quick else 3)
    machine = {"processor": platform.processor() or platform.machine(), "threads": threads, "torch": torch.__version__,
               "runtime": detector.runtime.name, "model": detector.model_facts["sha256"][:12]}  # fmt: skip
    return {"machine": machine, "rows": rows}


def as_table(result: dict) -> str:
    """The rows as a Markdown table. A ratio above 1 is that many times as long as ours."""
    lines = [", ".join(f"{key} {value}" for key, value in result["machine"].items()), "",
             "| what is measured | what runs | ms | times ours: min / median / max |", "|---|---|---|---|"]  # fmt: skip
    for row in result["rows"]:
        took = f"{row['ms']:,.2f}" if "ms" in row else f"{row['images_per_s']:,.1f} images/s"
        took += f", {row['peak_mb']} MB" if "peak_mb" in row else ""
        low, middle, high = row["times_ours"]
        lines.append(f"| {row['part']} | {row['what']} | {took} | {low:g} / **{middle:g}** / {high:g} |")
    return "\n".join(lines)


def main(args) -> int:
    """`python -m fakedet bench`."""
    result = bench(args.only or list(PARTS), args.quick, args.images, args.count)
    print(as_table(result))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0
