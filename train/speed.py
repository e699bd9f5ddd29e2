"""Measures training speed on this machine and what changes it: `python train/speed.py --data data/mine`.

Each row is a short run of finetune.py in its own process, from the bundled checkpoint. The images/s are those of its
log and cover loader, augmentation, forward and backward pass, and optimizer. On a GPU the rows differ in precision, on
a CPU in processes, memory allocator and precision.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from ctypes.util import find_library
from dataclasses import dataclass, field
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
TWO_PROCESSES = ROOT / "examples" / "accelerate" / "two_cpu_processes.yaml"
KEEP_MEMORY = "dirty_decay_ms:-1,muzzy_decay_ms:-1"  # jemalloc keeps freed memory for the next batch


@dataclass
class Variant:
    """A row of the table: flags of finetune.py, environment, and whether two processes share the CPUs."""

    name: str
    flags: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    two: bool = False


def variants() -> list[Variant]:
    """The rows that this machine can run."""
    cached = ["--head_epochs", "2", "--finetune_epochs", "0"]
    uncached = [*cached, "--no-cache_features"]
    heads = [
        Variant("head phase, the frozen backbone run once (default)", cached),
        Variant("head phase, the frozen backbone run in every epoch", uncached),
    ]
    if torch.cuda.is_available():
        kinds = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
        return [Variant(f"one GPU, {name}", ["--mixed_precision", kind]) for name, kind in kinds.items()] + heads
    rows = [Variant("one process, all cores"), Variant("one process, bf16", ["--mixed_precision", "bf16"])]
    jemalloc = {"LD_PRELOAD": find_library("jemalloc") or "", "MALLOC_CONF": KEEP_MEMORY}
    if jemalloc["LD_PRELOAD"]:
        rows.append(Variant("one process, jemalloc", env=jemalloc))
    if (os.cpu_count() or 1) > 1:
        rows.append(Variant("two processes", two=True))
        if jemalloc["LD_PRELOAD"]:
            rows.append(Variant("two processes, jemalloc", env=jemalloc, two=True))
    return rows + heads


def run(variant: Variant, args) -> str:
    """Images per second, as text, of one short training.

    Raises:
        RuntimeError: The training failed; the message is its last line of output.
    """
    env = os.environ | variant.env
    start = [sys.executable]
    if variant.two:
        start += ["-m", "accelerate.commands.launch", "--config_file", str(TWO_PROCESSES)]
        env |= {"ACCELERATE_USE_CPU": "true"}
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "init_from": "bundled", "train_dir": args.data, "augment": "degrade", "input_size": args.input_size,
            "head_epochs": 0, "finetune_epochs": 1, "samples_per_epoch": args.samples, "max_eval_samples": 8,
            "num_workers": 1, "per_device_train_batch_size": args.batch // (1 + variant.two), "output_dir": folder,
        }  # fmt: skip
        arguments = [part for key, value in flags.items() for part in (f"--{key}", str(value))]
        command = [*start, str(ROOT / "train" / "finetune.py"), *arguments, *variant.flags]
        done = subprocess.run(command, env=env, capture_output=True, text=True)  # noqa: S603 (constant flags)
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or "no output").splitlines()[-1])
        rows = [json.loads(line) for line in (Path(folder) / "train_log.jsonl").read_text().splitlines()]
    rates = [row["images_per_s"] for row in rows if "images_per_s" in row]
    once = re.search(r"features of \d+ images for the head, ([\d.]+) images/s", done.stderr + done.stdout)
    return (f"{once[1]} once, then " if once else "") + f"{rates[-1]:,.1f}"


def main(argv: list[str] | None = None) -> int:
    """Prints the table; 0 = done, 2 = a training failed."""
    parser = argparse.ArgumentParser(description="Measures training speed on this machine.")
    parser.add_argument("--data", required=True, help="prepared folder (prepare.py)")
    parser.add_argument("--input_size", type=int, default=128, help="side of the crops in pixels (default 128)")
    parser.add_argument("--samples", type=int, default=480, help="images per run (default 480)")
    parser.add_argument("--batch", type=int, default=48, help="images per step, of all processes together (default 48)")
    args = parser.parse_args(argv)
    print(f"| crops of {args.input_size} px, {args.batch} a step | images/s |\n|---|---|")
    for variant in variants():
        try:
            print(f"| {variant.name} | {run(variant, args)} |", flush=True)
        except RuntimeError as error:
            print(f"{variant.name}: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
