"""The images of an evaluation: loading them with their labels, and the three tiers of degradation.

Images stay encoded until they are scored, so the detector gets the bytes of a user's file. Unreadable images are
counted at scoring and do not stop the load.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, Image, load_from_disk
from PIL import Image as PILImage

from fakedet.images import ImageError, open_image
from train.data.filters import filter_rows
from train.data.sources import KEPT_COLUMNS, PrepareError, canonical_split, read_sources


@dataclass(frozen=True)
class EvalSet:
    """Images with labels, still encoded.

    Attributes:
        split: name of the split.
        images: rows with `bytes` or `path`, as `datasets.Image(decode=False)` gives them.
        table: one row per image: index (row in the split as loaded), label (0 real, 1 fake), and those of source,
            generator, content, group, camera, kind that the data has.
        unlabelled: number of images left out because they have no label.
    """

    split: str
    images: Dataset
    table: pd.DataFrame
    unlabelled: int

    def __len__(self) -> int:
        return len(self.table)

    def encoded(self, row: int) -> tuple[bytes | str, str]:
        """Returns what the detector opens (the image's bytes, or the path of its file) and its name without folders."""
        stored = self.images[int(row)]["image"]
        name = Path(stored["path"] or "").name
        return (stored["path"] if stored["bytes"] is None else stored["bytes"]), name


def load_evalset(
    data: str,
    split: str | None = None,
    max_samples: int | None = None,
    seed: int = 0,
    only=None,
    exclude=None,
    default_split: str = "test",
) -> EvalSet:
    """Loads one split of a data set.

    Args:
        data: folder written by train/prepare.py, folder with `real/` and `fake/`, parquet file or folder, or Hub id.
        split: name; if left out, `default_split`, or the only split there is.
        max_samples: size of a random sample with the classes in proportion; all images when left out.
        seed: of that sample.
        only, exclude: column to values, which rows count (see train/data/filters.py); all when left out.
        default_split: the split taken from several when none is named.

    Returns:
        EvalSet, in the order of the data.

    Raises:
        PrepareError: nothing there, no such split, or no labels.
    """
    splits = _read_splits(data)
    images = _choose(splits, data, split, default_split)
    split = next(name for name, dataset in splits.items() if dataset is images)
    images = images.cast_column("image", Image(decode=False))
    table = pd.DataFrame({name: images[name][:] for name in ("label", *KEPT_COLUMNS) if name in images.column_names})
    table.insert(0, "index", np.arange(len(images)))
    labelled = table["label"].isin((0, 1)).to_numpy()
    try:
        chosen = filter_rows(images, only or {}, exclude or {})
    except ValueError as error:
        raise PrepareError(f"{data}, split {split}: {error}.") from None
    rows = chosen[labelled[chosen]]
    if not len(rows):
        raise PrepareError(f"No image of {data}, split {split}, has a label real or fake.")
    if max_samples is not None and max_samples < len(rows):
        rows = _stratified(rows, table["label"].to_numpy(), max(1, max_samples), seed)
    table = table.iloc[rows].reset_index(drop=True)
    return EvalSet(split, images.select(rows).select_columns("image"), table, int((~labelled[chosen]).sum()))


def _read_splits(data: str) -> dict[str, Dataset]:
    folder = Path(data).expanduser()
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")):
        return read_sources([data])
    loaded = load_from_disk(str(folder))
    splits = dict(loaded) if isinstance(loaded, DatasetDict) else {"all": loaded}
    for name, dataset in splits.items():
        missing = {"image", "label"} - set(dataset.column_names)
        if missing:
            raise PrepareError(f"{data}, split {name}, has no column {' and '.join(sorted(missing))}.")
        if getattr(dataset.features["label"], "names", ["real", "fake"]) != ["real", "fake"]:
            raise PrepareError(f"{data} has labels other than real = 0, fake = 1: run train/prepare.py on it.")
    return splits


def _choose(splits: dict[str, Dataset], data: str, split: str | None, default_split: str) -> Dataset:
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    wanted = default_split if split is None else split if split in splits else canonical_split(split)
    if wanted in splits:
        return splits[wanted]
    problem = "has several splits, name one by --split" if split is None else f"has no split {split}"
    raise PrepareError(f"{data} {problem}: {', '.join(splits)}.")


def _stratified(rows: np.ndarray, labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Returns a random sample of `size` out of `rows`, both classes in proportion, in the order of `rows`."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rows)
    reals, fakes = (shuffled[labels[shuffled] == label] for label in (0, 1))
    n_fake = min(len(fakes), max(size - len(reals), round(size * len(fakes) / len(rows))))
    return np.sort(np.concatenate([fakes[:n_fake], reals[: size - n_fake]]))


@dataclass(frozen=True)
class Tier:
    """One level of degradation, identical for both classes.

    Attributes:
        name: as in `--tiers`.
        description: of the tier, for reports.
        max_side: longest side in pixels; larger images are shrunk (Lanczos), smaller ones keep their size.
        quality: of the JPEG (4:2:0) that images are saved as, 1..100; None leaves the file untouched.
    """

    name: str
    description: str
    max_side: int | None = None
    quality: int | None = None

    def apply(self, encoded: bytes | str) -> bytes | str:
        """Returns the degraded image as JPEG bytes; an unreadable image is returned unchanged."""
        if self.quality is None:
            return encoded
        try:
            image = open_image(encoded).image
        except ImageError:
            return encoded  # the detector raises the same error, and the image is counted there
        return degrade(image, self.max_side, self.quality)


def degrade(image: PILImage.Image, max_side: int, quality: int) -> bytes:
    """Shrinks an RGB image to a longest side of `max_side` pixels and returns it as JPEG bytes (4:2:0)."""
    if max(image.size) > max_side:
        factor = max_side / max(image.size)
        size = tuple(max(1, round(side * factor)) for side in image.size)
        image = image.resize(size, PILImage.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling="4:2:0")
    return out.getvalue()


TIERS = {
    tier.name: tier
    for tier in (
        Tier("clean", "the files as they are"),
        Tier("web", "at most 768 px, JPEG quality 60: shared once", 768, 60),
        Tier("hard", "at most 512 px, JPEG quality 40: shared often", 512, 40),
    )
}


def prefetch(function: Callable, items: Iterable, workers: int) -> Iterator:
    """Yields function(item) in order, computing up to `4 * workers` items ahead in threads (0 workers: no threads).

    Pillow releases the GIL while it decodes, resizes and encodes, so threads run in parallel.
    """
    if workers <= 0:
        yield from map(function, items)
        return
    items = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(function, item) for item in islice(items, 4 * workers)]
        while waiting:
            done = waiting.pop(0).result()
            waiting.extend(pool.submit(function, item) for item in islice(items, 1))
            yield done
