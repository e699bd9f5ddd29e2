"""What an epoch draws: how often each image, in which order, and the view that comes of it."""

from __future__ import annotations

import math

import numpy as np
import torch
from datasets import Dataset

from fakedet.network.views import scale_up, shrunk, squashed, to_tensor
from train.data.augment import augment, random_crop
from train.data.loading import Source, TooManyUnreadable, Unreadable, read_rgb


def sample_weights(
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


class BalancedTrainDataset(torch.utils.data.Dataset):
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
            sample_weights(data, source.balance, source.max_weight, source.match, source.unmatched)
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
        raise SystemExit("--distill needs a column 'teacher', of one teacher: train/distill_features.py writes it")
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
