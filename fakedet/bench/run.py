"""`python -m fakedet bench`: the speed of fakedet, against common baselines and the limit of the machine.

Everything that is compared runs interleaved on the same number of threads; see `timing`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import torch

from fakedet.detector import Detector
from fakedet.network.runtime import usable_cpus

from .files import bench_files
from .network import bench_network
from .scan import bench_scan
from .startup import bench_startup

PARTS = ("network", "files", "scan", "start")
MAX_QUICK_COUNT = 200  # images of a quick scan


def bench(parts: list[str], quick: bool, images: str | None = None, count: int = 1000) -> dict:
    """Runs the parts of the benchmark.

    Args:
        parts: Names from `PARTS`.
        quick: Run fewer turns.
        images: Source of the scan; by default synthetic crops of 256 pixels.
        count: Maximum number of images of the scan.

    Returns:
        {machine, rows}.
    """
    threads = int(os.environ.get("FAKEDET_THREADS") or usable_cpus())
    torch.set_num_threads(threads)
    detector, rows = Detector.from_pretrained(threads=threads), []
    seconds = 1.5 if quick else 6
    with tempfile.TemporaryDirectory() as folder:
        if "network" in parts:
            rows += bench_network(detector, seconds)
        if "files" in parts:
            rows += bench_files(detector, seconds, Path(folder))
        if "scan" in parts:
            rows += bench_scan(detector, min(count, MAX_QUICK_COUNT) if quick else count, Path(folder), images)
        if "start" in parts:
            rows += bench_startup(Path(folder), 1 if quick else 3)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": threads,
        "torch": torch.__version__,
        "runtime": detector.runtime.name,
        "model": detector.model_facts["sha256"][:12],
    }
    return {"machine": machine, "rows": rows}


def as_table(result: dict) -> str:
    """The result of `bench` as a Markdown table. A ratio above 1 is that many times as long as fakedet's."""
    lines = [", ".join(f"{key} {value}" for key, value in result["machine"].items()), "",
             "| what is measured | what runs | ms | times ours: min / median / max |", "|---|---|---|---|"]  # fmt: skip
    for row in result["rows"]:
        measured = f"{row['ms']:,.2f}" if "ms" in row else f"{row['images_per_s']:,.1f} images/s"
        measured += f", {row['peak_mb']} MB" if "peak_mb" in row else ""
        low, middle, high = row["times_ours"]
        lines.append(f"| {row['part']} | {row['what']} | {measured} | {low:g} / **{middle:g}** / {high:g} |")
    return "\n".join(lines)


def main(args: argparse.Namespace) -> int:
    """Runs the command with the arguments of `fakedet.__main__`; returns the exit code."""
    result = bench(args.only or list(PARTS), args.quick, args.images, args.count)
    print(as_table(result))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0
