"""Turns any labelled image collection into leak-free train, validation and test splits.

    python train/prepare.py --data SOURCE --output_dir OUT
    python train/prepare.py catalogue --help
    python train/prepare.py feedback --help

SOURCE is a Hub data set id, a folder with class folders, parquet, or a list of reviewed reports; see train/README.md.
Image bytes are never re-encoded: compression traces are part of what a detector sees.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Image, concatenate_datasets

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.dedup import find_duplicates, fingerprint
from train.data.sources import KEPT_COLUMNS, PrepareError, read_sources
from train.data.splits import assign_splits, sample_per_class
from train.data.summary import LABELS, in_order, print_report, summarise, unreadable_names
from train.publishing.push import PublishError, claim, sentence


def build(splits: dict[str, Dataset], table: dict, out: np.ndarray, source: str | None) -> DatasetDict:
    """The images of each output split, in input order, with a ClassLabel and the kept text columns.

    Args:
        out: Output split of each image; empty where it is dropped.
        source: Value of the column `source`, if it is to be overwritten.
    """
    ready = {}
    for origin, ds in splits.items():
        if source:
            ds = ds.remove_columns("source") if "source" in ds.column_names else ds
            ds = ds.add_column("source", [source] * len(ds))
        ds = ds.select_columns(["image", "label", *[c for c in KEPT_COLUMNS if c in ds.column_names]])
        ready[origin] = ds.cast_column("label", ClassLabel(names=LABELS)).cast_column("image", Image())
    result = {}
    for name in in_order(out):
        rows = {origin: table["row"][(out == name) & (table["split"] == origin)] for origin in ready}
        parts = [ready[origin].select(r) for origin, r in rows.items() if len(r)]
        result[name] = concatenate_datasets(parts) if len(parts) > 1 else parts[0]
    return DatasetDict(result)


def save(result: DatasetDict, report: dict, output_dir: Path) -> None:
    """Writes the data set under another name and renames it, so that a stopped run leaves no half data set."""
    partial = output_dir.with_name(output_dir.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    result.save_to_disk(partial)
    (partial / "prepare.json").write_text(json.dumps(report, indent=2) + "\n")
    if output_dir.exists():
        shutil.rmtree(output_dir)
    partial.rename(output_dir)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage text."""

    def error(self, message: str) -> None:
        """Raises PrepareError instead of leaving the program."""
        raise PrepareError(f"{message} (see --help).")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("--data", nargs="+", required=True, metavar="SOURCE", help="Hub id, folder, parquet, or SPLIT=PATH items")
    add("--output_dir", required=True, type=Path)
    add("--config_name", help="configuration of a Hub data set")
    add("--image_column", default="image")
    add("--label_column", default="label")
    add("--group_column", help="images with the same value stay in one split (default: `group`, if it exists)")
    add("--label_map", nargs="+", default=[], metavar="NAME=real|fake", help="what the labels mean")
    add("--fake_label", help="the label that means fake; all others mean real")
    add("--source", help="write this name into the column `source`")
    add("--val_fraction", type=float, help="default 0.15 of an unsplit set, 0.05 of an official train split")
    add("--test_fraction", type=float, help="default 0.15 of an unsplit set")
    add("--max_per_class", type=int, help="at most this many images of each class from each split")
    add("--near_duplicates", choices=["drop", "group", "ignore"], default="drop",
        help="drop: remove training images that look like held-out ones; group: keep them")  # fmt: skip
    add("--phash_distance", type=int, default=10, help="maximum differing bits of 64 (pixels decide)")
    add("--max_bad_fraction", type=float, default=0.01, help="stop when a larger share of images does not open")
    add("--num_workers", type=int, default=1)
    add("--seed", type=int, default=0)
    add("--push_to_hub", metavar="REPO", help="publish the result as this data set (owner/name; token from HF_TOKEN)")
    add("--private", action="store_true", help="make that data set private if it is new")
    return p.parse_args(argv)


def read_label_map(args) -> dict[str, int]:
    """--label_map and --fake_label as a mapping of lower-case names to 0 or 1; "*" stands for any other name.

    Raises:
        PrepareError: An item is not NAME=real or NAME=fake.
    """
    mapping = {"*": 0, args.fake_label.lower(): 1} if args.fake_label is not None else {}
    for item in args.label_map:
        name, _, meaning = item.rpartition("=")
        if not name or meaning.lower() not in LABELS:
            raise PrepareError(f"--label_map takes NAME=real or NAME=fake, not {item}.")
        mapping[name.lower()] = LABELS.index(meaning.lower())
    return mapping


def check_args(args) -> None:
    """Checks the values of the arguments.

    Raises:
        PrepareError: A value is out of range, or the output folder belongs to something else.
    """
    for name in ("val_fraction", "test_fraction", "max_bad_fraction"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < 1:
            raise PrepareError(f"--{name} must be at least 0 and below 1, not {value:g}.")
    if (args.val_fraction or 0) + (args.test_fraction or 0) >= 1:
        raise PrepareError("--val_fraction and --test_fraction leave nothing for training.")
    if args.max_per_class is not None and args.max_per_class < 1:
        raise PrepareError("--max_per_class must be at least 1.")
    if not 0 <= args.phash_distance <= 20:
        raise PrepareError("--phash_distance must be 0 to 20.")
    out = args.output_dir
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "prepare.json").exists())):
        raise PrepareError(f"{out} exists and was not written by this command: name another --output_dir.")


def prepare(args, cache_dir: str) -> dict:
    """Reads, checks, splits and saves; returns the report.

    Raises:
        PrepareError: Too many images do not open, or the input cannot be used.
    """
    splits = read_sources(args.data, args.image_column, args.label_column, args.group_column, read_label_map(args),
                          args.config_name, cache_dir)  # fmt: skip
    if args.max_per_class:
        splits = sample_per_class(splits, args.max_per_class, args.seed)
    table = fingerprint(splits, args.num_workers)
    reason, groups, counts = find_duplicates(table, args.near_duplicates, args.phash_distance)
    bad = unreadable_names(splits, table, reason)
    total = int((reason == "does not open").sum())
    if total > args.max_bad_fraction * len(reason):
        raise PrepareError(
            f"{total} of {len(reason)} images do not open, more than --max_bad_fraction {args.max_bad_fraction:g}:\n  "
            + "\n  ".join(bad)
        )
    out = assign_splits(table, reason, groups, args)
    report = {**summarise(table, reason, out, groups), "unreadable_names": bad, "duplicates": counts,
              "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}}  # fmt: skip
    result = build(splits, table, out, args.source)
    save(result, report, args.output_dir)
    return report


def run(args) -> dict:
    """Runs the whole command and returns the report.

    Raises:
        PrepareError: The arguments or the input cannot be used, or the result cannot be pushed.
    """
    check_args(args)
    repo = None
    if args.push_to_hub:  # a missing right to write is better known before the reading
        try:
            repo = claim(args.push_to_hub, "dataset", args.private)
        except PublishError as e:
            raise PrepareError(f"--push_to_hub: {e}") from e
    args.output_dir.parent.mkdir(parents=True, exist_ok=True)
    # Parquet is unpacked to be read, on the output's disk, which has room for a copy.
    with tempfile.TemporaryDirectory(dir=args.output_dir.parent, prefix=".prepare-", ignore_cleanup_errors=True) as tmp:
        report = prepare(args, tmp)
    print_report(report)
    if args.push_to_hub:
        try:
            DatasetDict.load_from_disk(args.output_dir).push_to_hub(repo, private=args.private or None)
        except Exception as e:  # the Hub client raises a dozen types
            raise PrepareError(f"Saved in {args.output_dir}, but not pushed: {sentence(e, repo)}") from e
        print(f"pushed to {repo}")
    return report


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 = done, 2 = the input or the arguments cannot be used."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["catalogue"]:
        from train.data.catalogue import main as build_catalogue

        return build_catalogue(argv[1:])
    if argv[:1] == ["feedback"]:
        from train.data.feedback import main as list_feedback

        return list_feedback(argv[1:])
    try:
        run(parse_args(argv))
    except PrepareError as e:
        print(f"prepare: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
