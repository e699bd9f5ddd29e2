"""The samples of an epoch: sampling weights, order, and the view that each image gives."""

from __future__ import annotations

import math

import numpy as np
import torch
from datasets import Dataset
from PIL import Image

from fakedet.network.views import normalise, scale_up, shrunk, squashed, without_borders
from train.data.augment import augment, random_crop
from train.data.kinds import kind_target
from train.data.loading import Source, TooManyUnreadable, Unreadable, read_rgb


def sample_weights(
    data: Dataset, balance: list[str], max_weight: float, match: str | None = None, unmatched: float = 1.0
) -> np.ndarray:
    """Sampling probability (N,) of each row: classes equal, inside them the values of each `balance` column.

    `max_weight` limits how equal they become. With `match`, both classes have equal weight inside each value of that
    column too (see `Source`).
    """
    labels = np.asarray(data["label"])
    weights = np.ones(len(data))
    for column in balance:
        if column in data.column_names:
            keys = np.asarray([f"{label}|{value}" for label, value in zip(labels, data[column], strict=True)])
            _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
            weights *= 1 / np.sqrt(counts[inverse])
    for label in np.unique(labels):  # graphics have a label of their own
        mine = labels == label
        weights[mine] = np.minimum(weights[mine] / weights[mine].mean(), max_weight)
        weights[mine] /= weights[mine].sum()
    if match and match in data.column_names:
        weights = matched(weights, labels, np.asarray([str(value) for value in data[match]]), unmatched)
    return weights / weights.sum()


def matched(weights: np.ndarray, labels: np.ndarray, values: np.ndarray, unmatched: float) -> np.ndarray:
    """Weights (N,), each class summing to 1, changed so that both classes have equal weight inside every value.

    Values with one class only are scaled by `unmatched`, so that their weights have the same sum in both classes.
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
    """The samples of one epoch: `length` over all sources, each with its own random generator.

    Item i is (pixels (3, S, S), label); with `distill` the label is the (2 + T) vector of `distillation_target`, with
    `kinds` that of `kind_target`. It depends on (seed, epoch, i) alone. An unreadable image is counted and replaced by
    the next one of its source.

    Args:
        parts: Data sets with the sources that they come from.
        config: A FakeDetConfig.
        length: Samples per epoch.
        batch: Batch size; a batch has crops of one side only.

    Raises:
        TooManyUnreadable: In an item: more than 1 % of an epoch's images cannot be read.
    """

    def __init__(self, parts: list[tuple[Source, Dataset]], config, length: int, seed: int, batch: int = 1,
                 distill: bool = False, kinds: bool = False):  # fmt: skip
        self.parts, self.config, self.length, self.seed, self.batch = parts, config, length, seed, batch
        self.size = config.input_size
        self.unreadable = Unreadable(length)
        self.kinds = kinds
        self.num_targets = count_targets([data for _, data in parts]) if distill else 0
        self.augmentations = [source.augmentation() for source, _ in parts]
        self.weights = [
            sample_weights(data, source.balance, source.max_weight, source.match, source.unmatched)
            for source, data in parts
        ]
        self.plan_epoch(0)

    def plan_epoch(self, epoch: int) -> None:
        """Chooses the rows of one epoch; they are stratified inside a source, so that rare rows keep their share.

        It is not named `set_epoch`: accelerate's loaders call a method of that name themselves, and always with 0.
        """
        self.epoch = epoch
        self.unreadable.clear()
        rng = np.random.default_rng((self.seed, epoch))
        shares = np.array([source.share for source, _ in self.parts])
        counts = np.floor(shares / shares.sum() * self.length).astype(int)
        counts[0] += self.length - counts.sum()
        by_side: dict[int | None, list] = {}
        for part, count in enumerate(counts):
            edges = np.cumsum(self.weights[part])
            order = rng.permutation(len(edges))  # so that a stratum is not a run of neighbours in the file
            edges = np.cumsum(self.weights[part][order])
            points = (np.arange(count) + rng.random(count)) / max(count, 1) * edges[-1]
            rows = order[np.searchsorted(edges, points, side="right").clip(max=len(edges) - 1)]
            plan = np.stack((np.full(count, part), rows), axis=1)
            by_side.setdefault(self.parts[part][0].size, []).append(plan)
        mixed = [rng.permutation(np.concatenate(rows)) for rows in by_side.values()]
        self.plan = mixed[0] if len(mixed) == 1 else in_batches(mixed, self.batch, rng)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        part, row = (int(value) for value in self.plan[index])
        image, record = self.read(part, row)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        view = self.random_view(image, part, rng)
        pixels = torch.from_numpy(normalise([np.asarray(view)], self.config.image_mean, self.config.image_std)[0])
        if self.kinds:
            return pixels, torch.tensor(kind_target(record))
        return pixels, distillation_target(record, self.num_targets) if self.num_targets else record["label"]

    def read(self, part: int, row: int) -> tuple[Image.Image, dict]:
        """The image and the record of a row, or of the next row whose image can be read.

        Raises:
            TooManyUnreadable: Too many images cannot be read, or no image of the source can.
        """
        source, data = self.parts[part]
        for offset in range(len(data)):
            record = data[(row + offset) % len(data)]
            try:
                return read_rgb(record["image"]), record
            except Exception as error:  # Pillow raises many kinds
                self.unreadable.add(record["image"], error)
        raise TooManyUnreadable(f"no image of {source.path} can be read")

    def random_view(self, image: Image.Image, part: int, rng: np.random.Generator) -> Image.Image:
        """An augmented square view: a crop, the whole picture shrunk, or (with `squash`) resized."""
        source, config = self.parts[part][0], self.config
        size = source.size or self.size
        room = math.ceil(2.5 * size)  # a rescale by 0.4 brings this much into the crop; nothing else is degraded
        odds = (0.5 if config.whole_views else 0.0) if source.whole is None else source.whole
        whole = config.squash or (odds > 0 and rng.random() < odds)
        image, _ = without_borders(image, config)
        if config.crop_scale and not config.squash:  # as `views.levels` does
            image = shrunk(image, round(config.crop_scale * size))
        if min(image.size) > room and not config.squash:
            image = shrunk(image, room) if whole else random_crop(image, room, rng)
        image = augment(image, rng, self.augmentations[part])
        if config.squash:
            return squashed(image, size)
        return random_crop(scale_up(shrunk(image, size) if whole else image, size), size, rng)


def count_targets(parts: list[Dataset]) -> int:
    """The number of distillation targets per image.

    Raises:
        SystemExit: No data set has a column `teacher`, or two have columns of different widths.
    """
    counts = {len(data[0]["teacher"]) for data in parts if "teacher" in data.column_names}
    if len(counts) != 1:
        raise SystemExit("--distill needs a column 'teacher', of one teacher: train/distill_features.py writes it")
    return counts.pop()


def distillation_target(record: dict, num_targets: int) -> torch.Tensor:
    """(2 + num_targets,): the label, 1 if the image has targets (else 0), and its targets."""
    targets = record.get("teacher")
    return torch.tensor([record["label"], targets is not None, *(targets or [0.0] * num_targets)], dtype=torch.float32)


def in_batches(groups: list[np.ndarray], batch: int, rng: np.random.Generator) -> np.ndarray:
    """Joins groups of samples (n, 2) so that no batch mixes two of them.

    The rests of the groups, too small for a batch, are replaced by samples of the largest group, at the end.
    """
    whole = [piece for rows in groups for piece in np.split(rows, range(batch, len(rows) + 1, batch))]
    whole = [piece for piece in whole if len(piece) == batch]
    missing = sum(map(len, groups)) - batch * len(whole)
    order = rng.permutation(len(whole))
    return np.concatenate([*(whole[place] for place in order), np.resize(max(groups, key=len), (missing, 2))])
