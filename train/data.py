"""What the training loop draws from: prepared data sets, a balanced plan of draws per epoch, pixels out of them."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset, Image, concatenate_datasets, load_from_disk
from PIL import Image as PILImage

from fakedet.views import make_views, scale_up, to_tensor
from train.augment import PRESETS, Augment, augment, random_crop

log = logging.getLogger("fakedet.train")


@dataclass
class Source:
    """One prepared data set in the mix.

    Attributes:
        path: Folder that `prepare.py` wrote, or a Hub id.
        share: Part of each epoch's draws that comes from here, relative to the other sources' shares.
        augment: Name of a preset in `augment.py`, or a mapping of its fields.
        balance: Columns whose values are drawn equally often inside each class, up to `max_weight`.
        max_weight: The most that one image may be drawn, relative to a uniform draw.
    """

    path: str
    share: float = 1.0
    augment: str | dict = "light"
    balance: list[str] = field(default_factory=list)
    max_weight: float = 4.0

    def how(self) -> Augment:
        return PRESETS[self.augment] if isinstance(self.augment, str) else replace(Augment(), **self.augment)


def load_split(path: str, split: str) -> Dataset | None:
    """One split with undecoded images; None where the data set has no such split."""
    from datasets import load_dataset

    data = load_from_disk(path) if Path(path).exists() else load_dataset(path)
    return data[split].cast_column("image", Image(decode=False)) if split in data else None


def limit(data: Dataset, most: int | None, seed: int) -> Dataset:
    """At most `most` rows, half of each class, chosen by seed."""
    if most is None or len(data) <= most:
        return data
    labels, rng = np.asarray(data["label"]), np.random.default_rng(seed)
    picks = [rng.permutation(np.flatnonzero(labels == label))[: most // 2] for label in (0, 1)]
    return data.select(np.sort(np.concatenate(picks)))


def draw_weights(data: Dataset, balance: list[str], max_weight: float) -> np.ndarray:
    """Probability of each row: classes equal, inside them the values of each `balance` column as equal as allowed."""
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
    return weights / weights.sum()


class TrainDraws(torch.utils.data.Dataset):
    """One epoch: `length` draws over all sources, each with its own random generator.

    Item i is (pixels (3, S, S), label). It depends on (seed, epoch, i) alone. An unreadable image is replaced by the
    next one of its source and counted; past 1 % of the draws the epoch stops.
    """

    def __init__(self, parts: list[tuple[Source, Dataset]], config, length: int, seed: int):
        self.parts, self.config, self.length, self.seed = parts, config, length, seed
        self.size = config.input_size
        self.bad: list[str] = []
        self.hows = [source.how() for source, _ in parts]
        self.weights = [draw_weights(data, source.balance, source.max_weight) for source, data in parts]
        self.plan_epoch(0)

    def plan_epoch(self, epoch: int) -> None:
        """Plans the draws of one epoch; inside a source they are stratified, so that rare rows come up as they should.

        It is not named `set_epoch`: accelerate's loaders call a method of that name themselves, and always with 0.
        """
        self.epoch = epoch
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
        self.plan = rng.permutation(np.concatenate(plan))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        part, row = (int(value) for value in self.plan[index])
        data = self.parts[part][1]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        for step in range(len(data)):
            record = data[(row + step) % len(data)]
            try:
                image = read_rgb(record["image"])
                break
            except (OSError, SyntaxError, ValueError) as error:
                self.bad.append(str(record["image"].get("path")))
                log.warning("skipped an unreadable image: %s (%s)", self.bad[-1], error)
                if len(self.bad) > max(1, 0.01 * self.length):
                    raise RuntimeError(f"over 1 % of the images cannot be read, {self.bad[-1]} among them") from None
        # what a rescale by 0.4 can bring into the crop is all that need be degraded
        room = math.ceil(2.5 * self.size)
        if min(image.size) > room:
            image = random_crop(image, room, rng)
        image = scale_up(augment(image, rng, self.hows[part]), self.size)
        crop = np.asarray(random_crop(image, self.size, rng))
        return to_tensor([crop], self.config.image_mean, self.config.image_std)[0], record["label"]


class EvalViews(torch.utils.data.Dataset):
    """Validation: the centre view of every image, without augmentation. Item i is (pixels, label, source number)."""

    def __init__(self, parts: list[Dataset], config, size: int):
        self.data = concatenate_datasets([part.select_columns(["image", "label"]) for part in parts])
        self.owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self.view = SimpleNamespace(**{**config.to_dict(), "input_size": size})

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        record = self.data[index]
        views = make_views(read_rgb(record["image"]), self.view, max_views=1)
        return views.pixels[0], record["label"], int(self.owner[index])


def read_rgb(stored: dict) -> PILImage.Image:
    """Decodes what datasets stores for an image ({bytes, path}); training data is trusted, so no limits here."""
    with PILImage.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"]) as image:
        return image.convert("RGB")
