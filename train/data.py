"""What the training loop draws from: prepared data sets, a balanced plan of draws per epoch, pixels out of them."""

from __future__ import annotations

import io
import logging
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset, Image, concatenate_datasets, load_from_disk
from PIL import Image as PILImage

from fakedet.views import make_views, scale_up, shrunk, squashed, to_tensor
from train.augment import PRESETS, Augment, augment, random_crop
from train.choose import rows_where

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
        rows = rows_where(data, source.only, source.exclude, strict)
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


def draw_weights(
    data: Dataset, balance: list[str], max_weight: float, match: str | None = None, unmatched: float = 1.0
) -> np.ndarray:
    """Probability of each row: classes equal, inside them the values of each `balance` column as equal as allowed.

    With `match`, both classes weigh the same inside each value of that column too (see `Source`).
    """
    labels = np.asarray(data["label"])
    weights = np.ones(len(data))
    for column in balance:
        if column in data.column_names:
            keys = np.asarray([f"{label}|{value}" for label, value in zip(labels, data[column], strict=True)])
            _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
            weights *= 1 / np.sqrt(counts[inverse])
    for label in (0, 1):
        mine = labels == label
        if mine.any():
            weights[mine] = np.minimum(weights[mine] / weights[mine].mean(), max_weight)
            weights[mine] /= weights[mine].sum()
    if match and match in data.column_names:
        weights = matched(weights, labels, np.asarray([str(value) for value in data[match]]), unmatched)
    return weights / weights.sum()


def matched(weights: np.ndarray, labels: np.ndarray, values: np.ndarray, unmatched: float) -> np.ndarray:
    """Weights (N,), each class summing to 1, changed so that both classes weigh the same inside every value.

    What has one class only is scaled by `unmatched`, and both classes' parts of it to one sum.
    """
    _, group = np.unique(values, return_inverse=True)
    sums = np.stack([np.bincount(group, weights * (labels == label)) for label in (0, 1)])  # (2, values)
    both = (sums > 0).all(0)
    alone = np.where(both, 0, sums).sum(1)  # (2,), the weight of each class outside of mixed values
    target = np.where(both, sums.mean(0), 0)
    scale = np.divide(target, sums, out=np.zeros_like(sums), where=both & (sums > 0))
    factor = unmatched * alone.mean() / np.maximum(alone, 1e-12)
    return weights * np.where(both[group], scale[labels, group], factor[labels])


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


class TrainDraws(torch.utils.data.Dataset):
    """One epoch: `length` draws over all sources, each with its own random generator.

    Item i is (pixels (3, S, S), label); with `distill` the label is what `validation.training_loss` takes for one
    image. It depends on (seed, epoch, i) alone. An unreadable image is replaced by the
    next one of its source and counted; past 1 % of the draws the epoch stops.
    """

    def __init__(self, parts: list[tuple[Source, Dataset]], config, length: int, seed: int, batch: int = 1,
                 distill: bool = False):  # fmt: skip
        self.parts, self.config, self.length, self.seed, self.batch = parts, config, length, seed, batch
        self.size = config.input_size
        self.unreadable = Unreadable(length)
        self.taught = taught_numbers([data for _, data in parts]) if distill else 0
        self.hows = [source.how() for source, _ in parts]
        self.weights = [
            draw_weights(data, source.balance, source.max_weight, source.match, source.unmatched)
            for source, data in parts
        ]
        self.plan_epoch(0)

    def plan_epoch(self, epoch: int) -> None:
        """Plans the draws of one epoch; inside a source they are stratified, so that rare rows come up as they should.

        It is not named `set_epoch`: accelerate's loaders call a method of that name themselves, and always with 0.
        """
        self.epoch = epoch
        self.unreadable.clear()
        rng = np.random.default_rng((self.seed, epoch))
        shares = np.array([source.share for source, _ in self.parts])
        counts = np.floor(shares / shares.sum() * self.length).astype(int)
        counts[0] += self.length - counts.sum()
        plan = []
        for part, count in enumerate(counts):
            edges = np.cumsum(self.weights[part])
            order = rng.permutation(len(edges))  # so that a stratum is not a run of neighbours in the file
            edges = np.cumsum(self.weights[part][order])
            points = (np.arange(count) + rng.random(count)) / max(count, 1) * edges[-1]
            rows = order[np.searchsorted(edges, points, side="right").clip(max=len(edges) - 1)]
            plan.append(np.stack((np.full(count, part), rows), axis=1))
        by_side: dict[int | None, list] = {}
        for (source, _), rows in zip(self.parts, plan, strict=True):
            by_side.setdefault(source.size, []).append(rows)
        mixed = [rng.permutation(np.concatenate(rows)) for rows in by_side.values()]
        self.plan = mixed[0] if len(mixed) == 1 else in_batches(mixed, self.batch, rng)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        part, row = (int(value) for value in self.plan[index])
        source, data = self.parts[part]
        size = source.size or self.size
        rng = np.random.default_rng((self.seed, self.epoch, index))
        for step in range(len(data)):
            record = data[(row + step) % len(data)]
            try:
                image = read_rgb(record["image"])
                break
            except Exception as error:  # Pillow raises many kinds
                self.unreadable.add(record["image"], error)
        else:
            raise TooManyUnreadable(f"no image of {source.path} can be read")
        # what a rescale by 0.4 can bring into the crop is all that need be degraded
        room = math.ceil(2.5 * size)
        odds = (0.5 if self.config.whole_views else 0.0) if source.whole is None else source.whole
        whole = self.config.squash or (odds > 0 and rng.random() < odds)
        if self.config.crop_scale and not self.config.squash:  # as `views.levels` does
            image = shrunk(image, round(self.config.crop_scale * size))
        if min(image.size) > room and not self.config.squash:
            image = shrunk(image, room) if whole else random_crop(image, room, rng)
        image = augment(image, rng, self.hows[part])
        if self.config.squash:
            image = squashed(image, size)
        else:
            image = random_crop(scale_up(shrunk(image, size) if whole else image, size), size, rng)
        pixels = to_tensor([np.asarray(image)], self.config.image_mean, self.config.image_std)[0]
        return pixels, lesson(record, self.taught) if self.taught else record["label"]


def taught_numbers(parts: list[Dataset]) -> int:
    """How many numbers a teacher says of each image.

    Raises:
        SystemExit: No data set has a column `teacher`, or two have columns of different teachers.
    """
    counts = {len(data[0]["teacher"]) for data in parts if "teacher" in data.column_names}
    if len(counts) != 1:
        raise SystemExit("--distill needs a column 'teacher', of one teacher: train/teach.py writes it")
    return counts.pop()


def lesson(record: dict, taught: int) -> torch.Tensor:
    """Label, 1 where a teacher said something of this image (else 0), and the numbers that it said: (2 + taught,)."""
    said = record.get("teacher")
    return torch.tensor([record["label"], said is not None, *(said or [0.0] * taught)], dtype=torch.float32)


def in_batches(groups: list[np.ndarray], batch: int, rng: np.random.Generator) -> np.ndarray:
    """Joins groups of draws (n, 2) so that no batch mixes two of them.

    What is left of each group when it is cut into batches comes last, replaced by draws of the largest group.
    """
    whole = [piece for rows in groups for piece in np.split(rows, range(batch, len(rows) + 1, batch))]
    whole = [piece for piece in whole if len(piece) == batch]
    missing = sum(map(len, groups)) - batch * len(whole)
    order = rng.permutation(len(whole))
    return np.concatenate([*(whole[place] for place in order), np.resize(max(groups, key=len), (missing, 2))])


class EvalViews(torch.utils.data.Dataset):
    """Validation: the centre view of every image, without augmentation. Item i is (pixels, label, source number).

    The source number of an image that cannot be read is -1.

    Args:
        parts: (source number, data set), all seen in views of one side.
        config: A FakeDetConfig.
        size: That side in pixels.
    """

    def __init__(self, parts: list[tuple[int, Dataset]], config, size: int):
        self.data = concatenate_datasets([part.select_columns(["image", "label"]) for _, part in parts])
        self.owner = np.repeat([number for number, _ in parts], [len(part) for _, part in parts])
        self.unreadable = Unreadable(len(self.data))
        self.view = SimpleNamespace(**{**config.to_dict(), "input_size": size, "tiny_input_size": 0})

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        record = self.data[index]
        try:
            image = read_rgb(record["image"])
        except Exception as error:
            self.unreadable.add(record["image"], error)
            return torch.zeros(3, self.view.input_size, self.view.input_size), record["label"], -1
        views = make_views(image, self.view, max_views=1)
        return views.pixels[0], record["label"], int(self.owner[index])


def eval_views(held: list[tuple[Source, Dataset]], config, size: int) -> list[EvalViews]:
    """The validation splits of all sources, those of one side together."""
    sides: dict[int, list] = {}
    for number, (source, data) in enumerate(held):
        sides.setdefault(source.size or size, []).append((number, data))
    return [EvalViews(parts, config, side) for side, parts in sides.items()]


def read_rgb(stored: dict) -> PILImage.Image:
    """Decodes what datasets stores for an image ({bytes, path}); training data is trusted, so no limits here."""
    with PILImage.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"]) as image:
        return image.convert("RGB")
