"""Bulk scoring: `python -m fakedet scan SOURCE --output table.parquet [--resume]`.

Worker processes decode and cut the pictures; this process runs the network and writes. The table is written as parts of
`PART_ROWS` rows in a folder beside it. A part that exists is complete, so `--resume` continues with the next one. Under
`accelerate launch`, process r of n writes the parts r, r + n, ... (machines must share the folder). At the end the
parts are joined in order. A row depends on its picture alone, so every way of running gives the same table.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fakedet.detector import Detector, PreparedImage
from fakedet.images import Limits, LoadedImage
from fakedet.network.runtime import gpu_available, usable_cpus
from fakedet.network.views import CUT_KEYS, Views, normalise
from fakedet.provenance import Provenance

from .parts import Parts, Share
from .readers import DecodePool
from .sources import Source, SourceError, find_source
from .table import FORMATS, KINDS, PART_ROWS, by_part, flat, write_part


def scan(
    source: str,
    output: str | Path,
    model: str | None = None,
    revision: str | None = None,
    runtime: str = "auto",
    resume: bool = False,
    batch_size: int = 32,
    workers: int | None = None,
    provenance: bool = True,
    split: str | None = None,
    early_exit: bool = True,
) -> dict[str, Any]:
    """Score every picture of a source into one table.

    Args:
        source: See `sources.find_source`.
        output: File ending in .parquet, .csv or .jsonl. Parts lie in a folder beside it until the end.
        model, revision, runtime: As for `Detector.from_pretrained`.
        resume: Continue with the parts that exist; without it, an existing table or existing parts are refused.
        batch_size: Pictures scored together.
        workers: Decoding processes; by default one per CPU.
        provenance: As for `Detector`.
        split: Split of a Hub data set.
        early_exit: As for `Detector`; of effect where the checkpoint has a band for it.

    Returns:
        {rows, errors, seconds, images_per_s} of this process's share.

    Raises:
        SourceError: The source cannot be read, or the output exists, or belongs to another scan.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise SourceError("scan needs pyarrow, which is not installed: pip install 'fakedet[scan]'")
    output, share, limits = Path(output), Share.from_environment(), Limits()
    if output.suffix.lower() not in FORMATS:
        raise SourceError(f"--output must end in {', '.join(FORMATS)}.")
    pictures = find_source(source, split, limits.max_bytes)
    cpus = max(1, usable_cpus() // share.local_world)
    _choose_gpu(share)
    threads = None if os.environ.get("FAKEDET_THREADS") else cpus
    detector = Detector.from_pretrained(model, revision, runtime, limits, provenance, threads, early_exit=early_exit)
    plan = {
        "source": source, "split": split, "count": pictures.count, "part_rows": PART_ROWS, "columns": list(KINDS),
        "provenance": provenance, "model": detector.model_facts,
        "views": [detector.config.early_exit_views, *detector.config.early_exit_band] if detector.early_exit else "all",
    }  # fmt: skip
    parts = Parts(output, pictures.count, share)
    if share.rank * PART_ROWS >= max(1, pictures.count) or not parts.prepare(plan, resume):
        return {"rows": 0, "errors": 0, "seconds": 0.0, "images_per_s": 0.0}
    began = time.monotonic()
    rows, errors = _write_parts(parts, pictures, detector, batch_size, workers or cpus)
    seconds = time.monotonic() - began
    if share.rank == 0:
        parts.finish()
    return {"rows": rows, "errors": errors, "seconds": seconds, "images_per_s": rows / max(seconds, 1e-9)}


def _choose_gpu(share: Share) -> None:
    """Give this process a GPU of its own, where there are some."""
    if gpu_available():
        import torch

        torch.cuda.set_device(share.local_rank % torch.cuda.device_count())


def _write_parts(parts: Parts, pictures: Source, detector: Detector, batch_size: int, workers: int) -> tuple[int, int]:
    """Score and write the missing parts of this process; return the rows written, and those with an error."""
    missing = parts.missing()
    settings = {key: getattr(detector.config, key) for key in CUT_KEYS}
    pool = DecodePool(workers, settings, detector.limits, detector.provenance, prefetch=4 * batch_size)
    rows = errors = 0
    with pool, _progress_bar(parts.rows(missing), parts.share) as bar:
        stream = pool.read(pictures.items(lambda number: number // PART_ROWS in missing))
        for part, table in by_part(score_rows(detector, stream, batch_size, bar.update)):
            write_part(table, parts.path(part))
            rows, errors = rows + len(table), errors + sum(row["error_code"] is not None for row in table)
    return rows, errors


def _progress_bar(total: int, share: Share):
    from tqdm.auto import tqdm

    title = "scanning" if share.world == 1 else f"scanning (process {share.rank + 1} of {share.world})"
    return tqdm(total=total, desc=title, unit="img", file=sys.stderr, smoothing=0.05, disable=share.rank > 0)


def score_rows(
    detector: Detector, stream: Iterator[tuple], batch_size: int, done: Callable[[int], Any]
) -> Iterator[tuple[int, dict]]:
    """Score decoded pictures in batches.

    Args:
        detector: Scores them.
        stream: What `DecodePool.read` yields.
        batch_size: Pictures scored together.
        done: Called after each batch with its number of pictures.

    Yields:
        (number, row of the table), in the order of the stream.
    """
    while batch := list(islice(stream, batch_size)):
        prepared = [_prepared(name, header, crops, detector.config) for _, name, header, crops in batch]
        verdicts = iter(detector.predict_prepared([image for image in prepared if image], heatmap=False))
        for (number, name, header, _), image in zip(batch, prepared, strict=True):
            yield number, flat(name, next(verdicts).to_dict() if image else {"error": header})
        done(len(batch))


def _prepared(name: str, header: dict[str, Any], crops: bytes, config) -> PreparedImage | None:
    """Return the image that a worker has cut, or None where it sent a refusal."""
    if "code" in header:
        return None
    count, side = len(header["boxes"]), header["side"]
    pixels = np.frombuffer(crops, np.uint8).reshape(count, side, side, 3)
    views = Views(
        normalise(list(pixels), config.image_mean, config.image_std),
        tuple(map(tuple, header["boxes"])),
        tuple(header["mirrored"]),
        tuple(header["kept"]) if header["kept"] else None,
    )
    width, height = header["size"]
    provenance = Provenance.from_dict(header["provenance"]) if header["provenance"] is not None else None
    stand_in = SimpleNamespace(size=(width, height), width=width, height=height)  # the pixels stay in the worker
    loaded = LoadedImage(stand_in, header["facts"], tuple(header["notes"]), None, provenance)
    return PreparedImage(loaded, views, name, {})
