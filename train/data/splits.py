"""Assigns images to splits: by whole groups, with equal shares of both labels, reproducibly by seed."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from train.data.sources import PrepareError


def sample_per_class(splits: dict[str, Dataset], n: int, seed: int) -> dict[str, Dataset]:
    """At most n images of each class in each split, chosen at random."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, ds in splits.items():
        labels = np.array(ds["label"])
        chosen = [rng.permutation(np.flatnonzero(labels == k))[:n] for k in (0, 1)]
        out[name] = ds.select(np.sort(np.concatenate(chosen)))
    return out


def group_stratified_split(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Chooses whole groups that together hold a fraction of each label.

    Groups are visited in random order; one is taken if it brings the counts nearer to the target. (sklearn's
    StratifiedGroupKFold only makes equal folds and needs minutes for 100,000 groups.)

    Args:
        labels: (N,) 0 or 1.
        groups: (N,) group numbers.
        fraction: 0..1 of the images of each label.

    Returns:
        (N,) bool, True where chosen.
    """
    _, groups = np.unique(groups, return_inverse=True)
    sizes = np.zeros((groups.max(initial=-1) + 1, 2), np.int64)
    np.add.at(sizes, (groups, labels), 1)
    target, have = np.bincount(labels, minlength=2) * fraction, np.zeros(2)
    chosen = np.zeros(len(sizes), bool)
    for g in np.random.default_rng(seed).permutation(len(sizes)):
        if np.abs(target - have - sizes[g]).sum() < np.abs(target - have).sum():
            chosen[g] = True
            have += sizes[g]
    return chosen[groups]


def assign_splits(table: dict, reason: np.ndarray, groups: np.ndarray, args) -> np.ndarray:
    """Output split (N,) of each image, empty where it is dropped; makes the splits that the input lacks.

    Args:
        table: Of `dedup.fingerprint`.
        reason, groups: Of `dedup.find_duplicates`.
        args: Has `val_fraction`, `test_fraction` and `seed`.

    Raises:
        PrepareError: There are too few images or groups for a split.
    """
    out = np.where(reason == "", table["split"], "").astype(object)
    moved = reason == "leaked"
    out[moved] = [f"{s}_leaked" for s in table["split"][moved]]
    given = set(table["split"])
    if "train" not in given:
        return out
    alone = given == {"train"}
    wanted = {
        "test": (args.test_fraction if args.test_fraction is not None else 0.15) if alone else 0.0,
        "validation": 0.0,
    }
    if "validation" not in given:
        wanted["validation"] = args.val_fraction if args.val_fraction is not None else (0.15 if alone else 0.05)
    total = (out == "train").sum()
    for step, (name, fraction) in enumerate(wanted.items()):
        rows = np.flatnonzero(out == "train")
        if fraction <= 0 or not len(rows):
            continue
        chosen = group_stratified_split(
            table["label"][rows], groups[rows], fraction * total / len(rows), args.seed + step
        )
        if not chosen.any() or chosen.all():
            raise PrepareError(f"There are too few images or groups in train for a {name} split.")
        out[rows[chosen]] = name
    return out
