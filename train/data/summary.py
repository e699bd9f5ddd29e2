"""What prepare.py reports: counts per split and label, and the names of files that do not open."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from datasets import Dataset

LABELS = ["real", "fake"]


def in_order(out: np.ndarray) -> list[str]:
    """The output splits: train, validation, test, then the others in alphabetical order."""
    order = ["train", "validation", "test"]
    return sorted(set(out) - {""}, key=lambda s: (order.index(s) if s in order else len(order), s))


def summarise(table: dict, reason: np.ndarray, out: np.ndarray, groups: np.ndarray) -> dict:
    """Counts of images read, kept and dropped per input split and label, and of each output split.

    Args:
        table: Of `dedup.fingerprint`.
        reason, groups: Of `dedup.find_duplicates`.
        out: Output split of each image, of `splits.assign_splits`.
    """
    read, result = {}, {}
    for split in dict.fromkeys(table["split"]):
        read[split] = {}
        for label in (0, 1, -1):
            here = (table["split"] == split) & (table["label"] == label)
            if here.any():
                why = Counter(r for r in reason[here] if r)
                moved = why.pop("leaked", 0)
                read[split][LABELS[label] if label >= 0 else "no label"] = {
                    "read": int(here.sum()), "kept": int((reason[here] == "").sum()), "moved_to_leaked": moved,
                    "dropped": dict(why)}  # fmt: skip
    for split in in_order(out):
        result[split] = {LABELS[k]: int(((out == split) & (table["label"] == k)).sum()) for k in (0, 1)}
    train_groups = set(groups[out == "train"])
    shared = {s: len(train_groups & set(groups[out == s])) for s in result if s != "train"}
    bad = np.flatnonzero(reason == "does not open")
    return {"input": read, "output": result, "groups_shared_with_train": shared,
            "unreadable": len(bad)}  # fmt: skip


def print_report(report: dict) -> None:
    """Prints the counts as two small tables."""
    print(f"\n{'read from':<18}{'label':<10}{'read':>8}{'kept':>8}{'moved':>7}{'dropped':>9}  why")
    for split, labels in report["input"].items():
        for label, c in labels.items():
            why = ", ".join(f"{r} {k}" for r, k in c["dropped"].items())
            if c["moved_to_leaked"]:
                why = ", ".join(filter(None, [why, f"moved: identical to a training image {c['moved_to_leaked']}"]))
            dropped = sum(c["dropped"].values())
            print(f"{split:<18}{label:<10}{c['read']:>8}{c['kept']:>8}{c['moved_to_leaked']:>7}{dropped:>9}  {why}")
    print(f"\n{'written to':<18}{'real':>8}{'fake':>8}")
    for split, c in report["output"].items():
        print(f"{split:<18}{c['real']:>8}{c['fake']:>8}")
    for name in report["unreadable_names"]:
        print(f"does not open: {name}")
    for split, k in report["groups_shared_with_train"].items():
        if k and not split.endswith("_leaked"):
            print(f"note: {k} groups of {split} are in train too.")
    if report["duplicates"].get("exact_duplicates_left_inside_held_out_splits"):
        k = report["duplicates"]["exact_duplicates_left_inside_held_out_splits"]
        print(f"note: {k} images repeat inside or between the held-out splits and were left as they are.")


def unreadable_names(splits: dict[str, Dataset], table: dict, reason: np.ndarray, max_names: int = 20) -> list[str]:
    """The first files that do not open, with the reason."""
    names = []
    for k in np.flatnonzero(reason == "does not open")[:max_names]:
        row = splits[table["split"][k]][int(table["row"][k])]
        path = row["image"]["path"] or row.get("file")
        where = "/".join(Path(path).parts[-3:]) if path else f"row {table['row'][k]}"
        names.append(f"{table['split'][k]}: {where} ({table['error'][k]})")
    return names
