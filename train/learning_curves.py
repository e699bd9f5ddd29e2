"""Learning curves: the AUC on a collection that is not in the training data, over more collections and more images.

    python train/learning_curves.py --data data/wild_taught --output_dir reports/transfer \\
        --collections game=teenbiscuits_game animals=surya_animals paintings=laboratoriet_hist,laboratoriet_game

Each collection is left out in turn, and a linear probe (a logistic regression on the column `teacher` of
distill_features.py) is tested on it. The first curve adds the other collections one by one to the rows of no
collection, the second uses all of them with a share of their images. If the first curve rises and the second is flat,
more collections help and more images do not. The result is transfer.md, transfer.json and transfer.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import chain, combinations
from pathlib import Path
from statistics import mean

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.filters import parse_where
from train.data.loading import load_split
from train.data.sampling import sample_weights
from train.evaluation.comparison_plots import transfer_curves
from train.results import grid, plain

SHARES = (0.1, 0.25, 0.5)  # and all of them


class LinearProbe:
    """A logistic regression on the features (N, T) of a data set, fitted on some rows and tested on others."""

    def __init__(self, data, column: str, balance: list[str], match: str, unmatched: float):
        self.data, self.weighting = data, (balance, 4.0, match, unmatched)
        self.features = np.array(data["teacher"], np.float32)
        self.labels, self.values = np.asarray(data["label"]), np.asarray([str(value) for value in data[column]])

    def rows(self, values: list[str]) -> np.ndarray:
        """Numbers of the rows with one of the values."""
        return np.flatnonzero(np.isin(self.values, values))

    def auc(self, train: np.ndarray, test: np.ndarray) -> float:
        """AUC on the rows `test` of a fit on the rows `train`, which are weighted as training samples them."""
        weights = sample_weights(self.data.select(train), *self.weighting) * len(train)
        model = LogisticRegression(C=0.01, max_iter=200).fit(self.features[train], self.labels[train], weights)
        return float(roc_auc_score(self.labels[test], model.decision_function(self.features[test])))


def by_collections(probe: LinearProbe, collections: dict[str, list[str]]) -> list[dict[str, float]]:
    """AUC by collection left out, for training on 0, 1, ... all of the others; mean over all choices of them."""
    rest = np.flatnonzero(~np.isin(probe.values, [*chain(*collections.values())]))
    steps: list[dict[str, float]] = []
    for count in range(len(collections)):
        steps.append({})
        for name, values in collections.items():
            others = [other for other in collections if other != name]
            choices = [[*chain(*(collections[other] for other in some))] for some in combinations(others, count)]
            rows = [np.concatenate((rest, probe.rows(some))) for some in choices]
            steps[-1][name] = float(np.mean([probe.auc(some, probe.rows(values)) for some in rows]))
    return steps


def by_images(probe: LinearProbe, collections: dict[str, list[str]], repeats: int, seed: int) -> list[dict[str, float]]:
    """AUC by collection left out, for each of SHARES of the other images; mean over `repeats` random choices."""
    rng, steps = np.random.default_rng(seed), []
    for share in SHARES:
        steps.append({})
        for name, values in collections.items():
            test = probe.rows(values)
            others = np.setdiff1d(np.arange(len(probe.values)), test)
            choices = [rng.permutation(others)[: round(share * len(others))] for _ in range(repeats)]
            steps[-1][name] = float(np.mean([probe.auc(some, test) for some in choices]))
    return steps


def table(first: str, steps: list, aucs: list[dict[str, float]]) -> str:
    """A markdown table with one row per step, one column per collection, and their mean."""
    names = list(aucs[0])
    rows = [[str(step), *(plain(row[name], 3) for name in names), plain(mean(row.values()), 3)]
            for step, row in zip(steps, aucs, strict=True)]  # fmt: skip
    return grid([first, *names, "mean"], rows)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="learning_curves.py", description="Learning curves over collections and images.")
    a = p.add_argument
    a("--data", required=True, help="prepared folder with the column `teacher` (distill_features.py)")
    a("--split", default="train")
    a("--collections", nargs="+", required=True, metavar="NAME=VALUE,...", help="two or more, both classes in each")
    a("--column", default="source", help="the column of those values")
    a("--balance", nargs="*", default=["source", "generator"], help="as `balance` of a data source")
    a("--match", default="source", help="as `match` of a data source")
    a("--unmatched", type=float, default=0.35, help="as `unmatched` of a data source")
    a("--repeats", type=int, default=5, help="random choices per share of the images")
    a("--seed", type=int, default=0)
    a("--output_dir", required=True)
    return p


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    p = parser()
    args = p.parse_args(argv)
    data = load_split(args.data, args.split)
    try:
        collections = parse_where(args.collections)
    except ValueError as error:
        p.error(f"--collections: {error}")
    if data is None or {"teacher", args.column} - set(data.column_names):
        p.error(
            f"{args.data} has no split {args.split} with the columns teacher and {args.column}: "
            "see train/distill_features.py"
        )
    probe = LinearProbe(data, args.column, args.balance, args.match, args.unmatched)
    for name, values in collections.items():
        if len(set(probe.labels[probe.rows(values)])) < 2:
            p.error(f"--collections: {name} has not both classes")
    if len(collections) < 2:
        p.error("--collections: two at least, because each is tested on the others")
    collected = by_collections(probe, collections)
    shares, shared = [*SHARES, 1.0], [*by_images(probe, collections, args.repeats, args.seed), collected[-1]]
    output = Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    steps = list(range(len(collected)))
    percent = [f"{share:.0%}" for share in shares]
    text = f"{table('others learned', steps, collected)}\n\n{table('share of the images', percent, shared)}\n"
    (output / "transfer.md").write_text(text)
    numbers = {"data": args.data, "split": args.split, "collections": collections, "others": collected,
               "shares": dict(zip(map(str, shares), shared, strict=True))}  # fmt: skip
    (output / "transfer.json").write_text(json.dumps(numbers, indent=1))
    transfer_curves(collected, shares, shared, output / "transfer.png")
    print(text)


if __name__ == "__main__":
    main()
