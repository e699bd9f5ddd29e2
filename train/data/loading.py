"""What is trained on: the prepared data sets of a run, their rows, and images that cannot be read."""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, Image, load_from_disk
from PIL import Image as PILImage

from train.data.augment import PRESETS, Augment
from train.data.filters import filter_rows

log = logging.getLogger("fakedet.train")
SHARE_UNREADABLE = 0.01  # of an epoch's images; beyond it the data are wrong, not an image


@dataclass
class Source:
    """One prepared data set in the mix.

    Attributes:
        path: Folder that `prepare.py` wrote, or a Hub id.
        share: Part of each epoch's draws that comes from here, relative to the other sources' shares.
        augment: Name of a preset in `augment.py`, or a mapping of its fields.
        balance: Columns whose values are drawn equally often inside each class, up to `max_weight`.
        max_weight: The most that one image may be drawn, relative to a uniform draw.
        match: A column (such as `source`) inside whose values both classes are drawn equally often, so that what a
            value's pictures show says nothing of the class.
        unmatched: How often images of values with one class only are drawn then, relative to what `balance` gives.
        whole: Odds, 0..1, of the whole picture, shrunk until its short side is one view, in place of a crop; by default
            half where the network sees whole pictures (`whole_views`), else none.
        only, exclude: Column to values: which rows are trained on and validated with, such as all but one collection.
        size: Side of this source's crops in pixels, in place of the run's (icons need no large ones).
    """

    path: str
    share: float = 1.0
    augment: str | dict = "light"
    balance: list[str] = field(default_factory=list)
    max_weight: float = 4.0
    match: str | None = None
    unmatched: float = 1.0
    size: int | None = None
    whole: float | None = None
    only: dict[str, list[str]] = field(default_factory=dict)
    exclude: dict[str, list[str]] = field(default_factory=dict)

    def how(self) -> Augment:
        return PRESETS[self.augment] if isinstance(self.augment, str) else replace(Augment(), **self.augment)


def load_split(path: str, split: str, most: int | None = None, seed: int = 0) -> Dataset | None:
    """One split with undecoded images; None where the data set has no such split.

    Args:
        path: Folder that `prepare.py` wrote, or a Hub id.
        most: Of a Hub data set, stream this many images, half of each class, and read no more of it.
        seed: Of the order in which they are streamed.

    Raises:
        SystemExit: With one sentence, where the data set cannot be had.
    """
    from datasets import load_dataset

    try:
        if Path(path).exists():
            data = load_from_disk(path)
        else:
            data = load_dataset(path, streaming=most is not None)
    except Exception as error:  # the Hub client raises a dozen types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SystemExit(f"{path} is no prepared folder, and cannot be loaded from the Hub: {reason}") from None
    if split not in data:
        return None
    part = data[split].cast_column("image", Image(decode=False))
    return part if isinstance(part, Dataset) else first_of_each_class(part, most, seed)


def first_of_each_class(stream, most: int, seed: int) -> Dataset:
    """The first `most` images of a shuffled stream, half of each class as far as it has them, in memory."""
    room, rows = {0: most // 2, 1: most - most // 2}, []
    for row in stream.shuffle(seed=seed, buffer_size=min(1000, 10 * most)):
        if room.get(row["label"], 0):
            room[row["label"]] -= 1
            rows.append(row)
        if not any(room.values()):
            break
    return Dataset.from_list(rows, features=stream.features)


def load_source(
    source: Source, split: str, most: int | None = None, seed: int = 0, strict: bool = True
) -> Dataset | None:
    """The rows of a split that a source is about; None where there is no such split, or none of its rows is meant.

    Args:
        most, seed: As for `load_split`.
        strict: Values of `only` and `exclude` must occur in this split.

    Raises:
        SystemExit: The data cannot be had, or has no such column or value.
    """
    data = load_split(source.path, split, most, seed)
    if data is None or not (source.only or source.exclude):
        return data
    try:
        rows = filter_rows(data, source.only, source.exclude, strict)
    except ValueError as error:
        raise SystemExit(f"{source.path}, split {split}: {error}") from None
    return data.select(rows) if len(rows) else None


def limit(data: Dataset, most: int | None, seed: int) -> Dataset:
    """At most `most` rows, half of each class, chosen by seed."""
    if most is None or len(data) <= most:
        return data
    labels, rng = np.asarray(data["label"]), np.random.default_rng(seed)
    picks = [rng.permutation(np.flatnonzero(labels == label))[: most // 2] for label in (0, 1)]
    return data.select(np.sort(np.concatenate(picks)))


def read_rgb(stored: dict) -> PILImage.Image:
    """Decodes what datasets stores for an image ({bytes, path}); training data is trusted, so no limits here."""
    with PILImage.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"]) as image:
        return image.convert("RGB")


class TooManyUnreadable(RuntimeError):
    """More images cannot be read than a data set that is in order would have."""


class Unreadable:
    """Counts the images that cannot be read, over all loader workers of this process, and names each in the log.

    Args:
        drawn: Images that an epoch draws, in all processes together.
    """

    def __init__(self, drawn: int):
        self.most = max(1.0, SHARE_UNREADABLE * drawn / int(os.environ.get("WORLD_SIZE", 1)))
        self.counts = torch.zeros(256, dtype=torch.int64).share_memory_()  # a place for each worker: no two write one

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def clear(self) -> None:
        self.counts.zero_()

    def add(self, stored: dict, error: Exception) -> None:
        """One more.

        Raises:
            TooManyUnreadable: That is too many.
        """
        worker = torch.utils.data.get_worker_info()
        self.counts[0 if worker is None else 1 + worker.id % 255] += 1
        name = stored.get("path") or "an image without a name"
        # an error, for processes other than the first log nothing less
        log.error("skipped an unreadable image: %s (%s)", name, error or type(error).__name__)
        if self.total > self.most:
            raise TooManyUnreadable(
                f"over {100 * SHARE_UNREADABLE:g} % of the images cannot be read, {name} among them; "
                "train/prepare.py makes a copy of the data without those"
            )
