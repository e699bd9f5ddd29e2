"""Command line of `train/evaluate.py`."""

from __future__ import annotations

import argparse

from train.data.filters import parse_where
from train.evaluation.dataset import TIERS


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="train/evaluate.py", description="Score labelled images and write a report.")
    add = parser.add_argument
    add("--model", default="bundled", help="Hub id (owner/name[@revision]), checkpoint folder, or bundled")
    add("--data", required=True, help="prepared folder, folder with real/ and fake/, parquet, or Hub id")
    add("--split", help="default: test, or the only split there is")
    add("--output_dir", required=True)
    add(
        "--tiers",
        nargs="+",
        choices=list(TIERS),
        default=["clean"],
        help="levels of degradation, alike for both classes",
    )
    add("--batch_size", type=int, default=32)
    add("--num_workers", type=int, default=2, help="threads that read and degrade images")
    add("--where", nargs="+", default=[], metavar="COLUMN=VALUE,...", help="score only rows with these values")
    add("--where_not", nargs="+", default=[], metavar="COLUMN=VALUE,...", help="leave out rows with these values")
    add("--max_samples", type=int, help="score a random sample of this size")
    add("--mistakes", type=int, default=24, help="images on the contact sheet; 0 draws none")
    add("--probe_samples", type=int, default=5000, help="images for the shortcut probes; 0 skips them")
    add(
        "--curve_samples",
        type=int,
        default=0,
        help="images for the robustness curves; 0 draws none",
    )
    add(
        "--consistency",
        type=int,
        nargs="?",
        const=400,
        default=0,
        metavar="N",
        help="score N images (400) in all variants of consistency.py, classes and sources in balance",
    )
    add("--seed", type=int, default=0, help="of the random samples")
    args = parser.parse_args(argv)
    for name, low in (("batch_size", 1), ("num_workers", 0), ("max_samples", 1), ("consistency", 0)):
        value = getattr(args, name)
        if value is not None and value < low:
            parser.error(f"--{name} must be at least {low}")
    args.tiers = list(dict.fromkeys(args.tiers))
    try:
        args.where, args.where_not = parse_where(args.where), parse_where(args.where_not)
    except ValueError as error:
        parser.error(str(error))
    return args
