"""What more data would bring: how a teacher's numbers tell the classes in a collection of which no image was learned.

    python train/learning_curves.py --data data/wild_taught --output_dir reports/transfer \\
        --collections game=teenbiscuits_game animals=surya_animals paintings=laboratoriet_hist,laboratoriet_game

Each collection is left out in turn; a logistic regression on the others' numbers is asked about it. Once it learns all
that is in none of them and so many of the others, from none to all; and once all of them, but only a share of the
images. If the first curve rises and the second is flat, collections are wanted, not images. Needs no training: the
column `teacher` of distill_features.py is enough. The result is transfer.md, transfer.json and transfer.png.
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
    """A data set's numbers (N, T), and what is learned of some rows and asked of others."""

    def __init__(self, data, column: str, balance: list[str], match: str, unmatched: float):
        self.data, self.how = data, (balance, 4.0, match, unmatched)
        self.said = np.array(data["teacher"], np.float32)
        self.labels, self.values = np.asarray(data["label"]), np.asarray([str(value) for value in data[column]])

    def rows(self, values: list[str]) -> np.ndarray:
        return np.flatnonzero(np.isin(self.values, values))

    def auc(self, learned: np.ndarray, asked: np.ndarray) -> float:
        """AUC in the rows asked of a regression on those learned, weighted as training draws them."""
        weights = sample_weights(self.data.select(learned), *self.how) * len(learned)
        model = LogisticRegression(C=0.01, max_iter=200).fit(self.said[learned], self.labels[learned], weights)
        return float(roc_auc_score(self.labels[asked], model.decision_function(self.said[asked])))


def by_collections(probe: LinearProbe, collections: dict[str, list[str]]) -> list[dict[str, float]]:
    """Of none, one, ... all the others learned: AUC by name of the collection left out, mean over all choices."""
    rest = np.flatnonzero(~np.isin(probe.values, [*chain(*collections.values())]))
    found = []
    for count in range(len(collections)):
        found.append({})
        for name, values in collections.items():
            others = [other for other in collections if other != name]
            learned = [[*chain(*(collections[other] for other in some))] for some in combinations(others, count)]
            rows = [np.concatenate((rest, probe.rows(some))) for some in learned]
            found[-1][name] = float(np.mean([probe.auc(some, probe.rows(values)) for some in rows]))
    return found


def by_images(probe: LinearProbe, collections: dict[str, list[str]], repeats: int, seed: int) -> list[dict[str, float]]:
    """The same of all the others, of each of SHARES of their images; mean over so many draws of them."""
    rng, found = np.random.default_rng(seed), []
    for share in SHARES:
        found.append({})
        for name, values in collections.items():
            asked = probe.rows(values)
            others = np.setdiff1d(np.arange(len(probe.values)), asked)
            draws = [rng.permutation(others)[: round(share * len(others))] for _ in range(repeats)]
            found[-1][name] = float(np.mean([probe.auc(some, asked) for some in draws]))
    return found


def table(first: str, steps: list, found: list[dict[str, float]]) -> str:
    names = list(found[0])
    rows = [[str(step), *(plain(row[name], 3) for name in names), plain(mean(row.values()), 3)]
            for step, row in zip(steps, found, strict=True)]  # fmt: skip
    return grid([first, *names, "mean"], rows)


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="learning_curves.py", description="Would more collections help, or more images?")
    a = p.add_argument
    a("--data", required=True, help="prepared folder with the column `teacher` (distill_features.py)")
    a("--split", default="train")
    a("--collections", nargs="+", required=True, metavar="NAME=VALUE,...", help="two or more, both classes in each")
    a("--column", default="source", help="whose values those are")
    a("--balance", nargs="*", default=["source", "generator"], help="as `balance` of a data source")
    a("--match", default="source", help="as `match` of a data source")
    a("--unmatched", type=float, default=0.35, help="as `unmatched` of a data source")
    a("--repeats", type=int, default=5, help="draws of each share of the images")
    a("--seed", type=int, default=0)
    a("--output_dir", required=True)
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
        p.error("--collections: two at least, for one has no others")
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
