"""The prepared data sets of a run: their description, their rows, and images that cannot be read."""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from datasets import Dataset, Image, load_from_disk
from PIL import Image as PILImage
from pydantic import ConfigDict, Field

from train.data.augment import PRESETS, Augment, Odds, Preset
from train.data.filters import filter_rows

log = logging.getLogger("fakedet.train")
MAX_SHARE_UNREADABLE = 0.01  # of an epoch's images; beyond it the data set is damaged, not an image
Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
ColumnValues = dict[str, list[str]]


@dataclass
class Source:
    """One prepared data set in the mix. pydantic checks it where it comes from a training config.

    Attributes:
        path: Folder that `prepare.py` wrote, or a Hub id.
        share: Part of each epoch's samples that comes from here, relative to the other sources' shares.
        augment: Name of a preset in `augment.py`, or a mapping of `Augment`'s fields.
        balance: Columns whose values are sampled equally often inside each class, up to `max_weight`.
        max_weight: Limit of an image's sampling weight, relative to uniform sampling.
        match: A column (such as `source`); inside each of its values both classes are sampled equally often, so that
            the subject of a value's pictures does not predict the class.
        unmatched: Sampling weight of values that hold one class only, relative to what `balance` gives.
        whole: Odds, 0..1, of the whole picture, shrunk until its short side is one view, instead of a crop; by default
            half where the network sees whole pictures (`whole_views`), else none.
        only, exclude: Column to values: which rows are trained on and validated with, such as all but one collection.
        split: The split of the folder that is trained on, in place of the run's `train_split`. Such a source is not
            validated with: graphics_train of a catalogue holds neither class, and teaches kinds of picture only.
        size: Side of this source's crops in pixels, instead of the run's (icons need no large ones).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    path: str
    share: Weight = 1.0
    augment: Preset | Augment = "light"
    balance: list[str] = field(default_factory=list)
    max_weight: Weight = 4.0
    match: str | None = None
    unmatched: Weight = 1.0
    split: str | None = None
    size: Annotated[int, Field(strict=True, ge=32)] | None = None
    whole: Odds | None = None
    only: ColumnValues = field(default_factory=dict)
    exclude: ColumnValues = field(default_factory=dict)

    def augmentation(self) -> Augment:
        """The settings that `augment` names or gives."""
        return PRESETS[self.augment] if isinstance(self.augment, str) else self.augment


def load_split(path: str, split: str, max_images: int | None = None, seed: int = 0) -> Dataset | None:
    """One split with undecoded images; None where the data set has no such split.

    Args:
        path: Folder that `prepare.py` wrote, or a Hub id.
        max_images: Stream this many images of a Hub data set, half of each class, and read no more of it.
        seed: Sets the order in which they are streamed.

    Raises:
        SystemExit: The data set cannot be loaded; one sentence says why.
    """
    from datasets import load_dataset

    try:
        if files := {file.stem: str(file) for file in Path(path).glob("*.parquet")}:  # of `prepare.py catalogue`
            data = load_dataset("parquet", data_files={split: files[split]}) if split in files else {}
        elif Path(path).exists():
            data = load_from_disk(path)
        else:
            data = load_dataset(path, streaming=max_images is not None)
    except Exception as error:  # the Hub client raises a dozen types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SystemExit(f"{path} is no prepared folder, and cannot be loaded from the Hub: {reason}") from None
    if split not in data:
        return None
    part = data[split].cast_column("image", Image(decode=False))
    return part if isinstance(part, Dataset) else first_of_each_class(part, max_images, seed)


def first_of_each_class(stream, max_images: int, seed: int) -> Dataset:
    """The first `max_images` images of a shuffled stream, in memory: half of each class where it has that many."""
    missing, rows = {0: max_images // 2, 1: max_images - max_images // 2}, []
    for row in stream.shuffle(seed=seed, buffer_size=min(1000, 10 * max_images)):
        if missing.get(row["label"], 0):
            missing[row["label"]] -= 1
            rows.append(row)
        if not any(missing.values()):
            break
    return Dataset.from_list(rows, features=stream.features)


def load_source(
    source: Source, split: str, max_images: int | None = None, seed: int = 0, strict: bool = True
) -> Dataset | None:
    """The rows of a split that `only` and `exclude` leave; None without such a split or without such rows.

    Args:
        max_images, seed: As for `load_split`.
        strict: Whether all values of `only` and `exclude` must occur in this split.

    Raises:
        SystemExit: The data cannot be loaded, or has no such column or value.
    """
    data = load_split(source.path, split, max_images, seed)
    if data is None or not (source.only or source.exclude):
        return data
    try:
        rows = filter_rows(data, source.only, source.exclude, strict)
    except ValueError as error:
        raise SystemExit(f"{source.path}, split {split}: {error}") from None
    return data.select(rows) if len(rows) else None


def limit(data: Dataset, max_rows: int | None, seed: int) -> Dataset:
    """At most `max_rows` rows, as many of each class, chosen at random by `seed`."""
    if max_rows is None or len(data) <= max_rows:
        return data
    labels, rng = np.asarray(data["label"]), np.random.default_rng(seed)
    classes = np.unique(labels)
    picks = [rng.permutation(np.flatnonzero(labels == label))[: max_rows // len(classes)] for label in classes]
    return data.select(np.sort(np.concatenate(picks)))


def read_rgb(stored: dict) -> PILImage.Image:
    """Decodes a stored image ({bytes, path}) without size limits: training data is trusted."""
    with PILImage.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"]) as image:
        return image.convert("RGB")


class TooManyUnreadable(RuntimeError):
    """The share of images that cannot be read is above MAX_SHARE_UNREADABLE."""


class Unreadable:
    """Counts the images that cannot be read in all loader workers of this process, and logs the name of each.

    Args:
        samples: Samples per epoch, of all processes together.
    """

    def __init__(self, samples: int):
        self.max_count = max(1.0, MAX_SHARE_UNREADABLE * samples / int(os.environ.get("WORLD_SIZE", 1)))
        self.counts = torch.zeros(256, dtype=torch.int64).share_memory_()  # one slot per worker

    @property
    def total(self) -> int:
        """Count over all workers."""
        return int(self.counts.sum())

    def clear(self) -> None:
        """Sets the count to 0."""
        self.counts.zero_()

    def add(self, stored: dict, error: Exception) -> None:
        """Counts one image.

        Raises:
            TooManyUnreadable: The count is above the limit.
        """
        worker = torch.utils.data.get_worker_info()
        self.counts[0 if worker is None else 1 + worker.id % 255] += 1
        name = stored.get("path") or "an image without a name"
        # logged as an error: processes other than the first drop lower levels
        log.error("skipped an unreadable image: %s (%s)", name, error or type(error).__name__)
        if self.total > self.max_count:
            raise TooManyUnreadable(
                f"over {100 * MAX_SHARE_UNREADABLE:g} % of the images cannot be read, {name} among them; "
                "train/prepare.py writes a copy of the data set without them"
            )
