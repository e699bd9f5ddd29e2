"""Filters the rows of a data set by the values of its text columns (source, generator, content, group), or by count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from datasets import Dataset


def filter_rows(
    data: Dataset, only: Mapping[str, Sequence[str]], exclude: Mapping[str, Sequence[str]], strict: bool = True
) -> np.ndarray:
    """Numbers (n,) of the rows whose values are among `only` and not among `exclude`, column by column.

    Raises:
        ValueError: There is no such column, or (if `strict`) no row has a value; it may be misspelt.
    """
    kept = np.ones(len(data), bool)
    for conditions, inside in ((only, True), (exclude, False)):
        for column, values in conditions.items():
            if column not in data.column_names:
                raise ValueError(f"the data has no column '{column}'")
            have = np.asarray([str(value) for value in data[column]])
            if strict and (unknown := sorted(set(values) - set(have))):
                raise ValueError(f"no row has {column} = {', '.join(unknown)}")
            kept &= np.isin(have, list(values)) == inside
    return np.flatnonzero(kept)


def parse_where(items: Sequence[str]) -> dict[str, list[str]]:
    """["source=a,b", "content=photo"] as {"source": ["a", "b"], "content": ["photo"]}.

    Raises:
        ValueError: An item is not COLUMN=VALUE[,VALUE...].
    """
    conditions: dict[str, list[str]] = {}
    for item in items:
        column, _, values = item.partition("=")
        if not column or not values:
            raise ValueError(f"'{item}' is not COLUMN=VALUE")
        conditions.setdefault(column, []).extend(values.split(","))
    return conditions


def at_most(table: pd.DataFrame, number: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (n,), in order, of at most `number` rows of each class (`label`) and `source`, chosen at random."""
    shuffled = table.reset_index(drop=True).iloc[rng.permutation(len(table))]
    return np.sort(shuffled.groupby(["source", "label"]).head(number).index.to_numpy())
