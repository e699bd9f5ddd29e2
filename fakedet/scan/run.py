"""Bulk scoring: `python -m fakedet scan SOURCE --output table.parquet [--resume]`.

Decoding processes read and cut the pictures, this process runs the network and writes. The table is made of parts of
`PART_ROWS` rows each, written as wholes beside it: what is there is done, so `--resume` goes on with the next part, and
under `accelerate launch` process r of n makes the parts r, r + n, ... (machines must share the folder). The parts are
joined in order at the end. A row depends on its picture alone, so the table is the same however it was made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from fakedet.detector import Detector, PreparedImage
from fakedet.images import Limits, LoadedImage
from fakedet.network.runtime import usable_cpus
from fakedet.network.views import Views, to_tensor
from fakedet.provenance import Provenance

from .readers import DecodePool
from .sources import SourceError, find_source
from .table import FORMATS, KINDS, PART_ROWS, by_part, flat, join_parts, part_path, write_part

CUT_KEYS = ("input_size", "tiny_side", "tiny_input_size", "max_views", "few_views_area", "whole_views", "crop_scale",
            "mirror_single", "squash")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Share:
    """This process's part of the work, as `accelerate launch` (torchrun) tells it."""

    rank: int
    world: int
    local_rank: int
    local_world: int

    @classmethod
    def mine(cls) -> Share:
        names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        return cls(*(int(os.environ.get(name, default)) for name, default in names.items()))


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
) -> dict:
    """Scores every picture of a source into one table.

    Args:
        source: See `scan_sources.find_source`.
        output: File ending in .parquet, .csv or .jsonl. Parts lie in a folder beside it until the end.
        model, revision, runtime: As for `Detector.from_pretrained`.
        resume: Go on with the parts that are there; without it a table or parts that are there are refused.
        batch_size: Pictures scored together.
        workers: Decoding processes; by default one a CPU.
        provenance: As for `Detector`.
        split: Of a Hub data set.

    Returns:
        {rows, errors, seconds, images_per_s} of this process's share.

    Raises:
        SourceError: The source cannot be read, or the output is there, or belongs to another scan.
    """
    output, share = Path(output), Share.mine()
    if output.suffix.lower() not in FORMATS:
        raise SourceError(f"--output must end in {', '.join(FORMATS)}.")
    limits = Limits()
    pictures = find_source(source, split, limits.max_bytes)
    cpus = max(1, usable_cpus() // share.local_world)
    _choose_gpu(share)
    threads = None if os.environ.get("FAKEDET_THREADS") else cpus
    detector = Detector.from_pretrained(model, revision, runtime, limits, provenance, threads)
    folder = output.with_name(output.name + ".parts")
    plan = {"source": source, "split": split, "count": pictures.count, "part_rows": PART_ROWS, "columns": list(KINDS),
            "provenance": provenance, "model": detector.model_facts}  # fmt: skip
    if share.rank * PART_ROWS >= max(1, pictures.count) or _is_finished(output, folder, plan, resume, share):
        return {"rows": 0, "errors": 0, "seconds": 0.0, "images_per_s": 0.0}
    parts = range(-(-pictures.count // PART_ROWS))
    mine = {part for part in parts if part % share.world == share.rank and not part_path(folder, part).exists()}
    readers = DecodePool(
        workers or cpus,
        {key: getattr(detector.config, key) for key in CUT_KEYS},
        limits,
        provenance,
        prefetch=4 * batch_size,
    )
    stream = readers.read(pictures.items(lambda number: number // PART_ROWS in mine))
    rows = errors = 0
    began = time.monotonic()
    total = sum(min(PART_ROWS, pictures.count - part * PART_ROWS) for part in mine)
    with _bar(total, share) as bar:
        for part, table in by_part(_rows(detector, stream, batch_size, bar)):
            write_part(table, part_path(folder, part))
            rows, errors = rows + len(table), errors + sum(row["error_code"] is not None for row in table)
    seconds = time.monotonic() - began
    if share.rank == 0:
        while missing := [part for part in parts if not part_path(folder, part).exists()]:
            time.sleep(0.2 if len(missing) < 10 else 1)  # other processes are at it; a dead one ends this one too
        join_parts([part_path(folder, part) for part in parts], output)
        shutil.rmtree(folder)
    return {"rows": rows, "errors": errors, "seconds": seconds, "images_per_s": rows / max(seconds, 1e-9)}


def _choose_gpu(share: Share) -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(share.local_rank % torch.cuda.device_count())


def _bar(total: int, share: Share):
    from tqdm.auto import tqdm

    title = "scanning" if share.world == 1 else f"scanning (process {share.rank + 1} of {share.world})"
    return tqdm(total=total, desc=title, unit="img", file=sys.stderr, smoothing=0.05, disable=share.rank > 0)


def _is_finished(output: Path, folder: Path, plan: dict, resume: bool, share: Share) -> bool:
    """Sets the folder of the parts up, or checks that it belongs to this scan; True where the table is there already.

    The one process that creates plan.json decides; the others wait for it.
    """
    note = folder / "plan.json"
    if share.rank > 0:
        for _ in range(600):
            if note.exists() and json.loads(note.read_text()) == plan:
                return False
            if resume and output.exists() and not folder.exists():
                return True
            time.sleep(0.2)
        raise SourceError("The first process did not begin this scan.")
    if output.exists() and not folder.exists():
        if resume:
            return True
        raise SourceError(f"{output.name} is there already; name another --output, or remove it.")
    if folder.exists() and not resume:
        raise SourceError(f"A scan into {output.name} was begun: go on with --resume, or remove {folder.name}.")
    try:
        known = json.loads(note.read_text()) if note.exists() else None
    except ValueError:
        known = None
    if known not in (None, plan):
        keys = ", ".join(key for key in plan if known.get(key) != plan[key])
        raise SourceError(f"The scan that was begun into {output.name} differs in: {keys}.")
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.partial"):
        left.unlink(missing_ok=True)
    partial = folder / "plan.json.partial"
    partial.write_text(json.dumps(plan))
    os.replace(partial, note)
    return False


def _rows(detector: Detector, stream: Iterator, batch_size: int, bar) -> Iterator[tuple[int, dict]]:
    """(number, row of the table) in order, scored in batches."""
    batch: list[tuple] = []

    def scored() -> Iterator[tuple[int, dict]]:
        jobs = [_job(name, answer, crops, detector.config) for _, name, answer, crops in batch]
        verdicts = iter(detector.predict_prepared([job for job in jobs if job], heatmap=False))
        for (number, name, answer, _), job in zip(batch, jobs, strict=True):
            yield number, flat(name, next(verdicts).to_dict() if job else {"error": answer})
        bar.update(len(batch))
        batch.clear()

    for item in stream:
        batch.append(item)
        if len(batch) == batch_size:
            yield from scored()
    yield from scored()


def _job(name: str, answer: dict, crops: bytes, config) -> PreparedImage | None:
    if "code" in answer:
        return None
    count, side = len(answer["boxes"]), answer["side"]
    pixels = np.frombuffer(crops, np.uint8).reshape(count, side, side, 3)
    views = Views(
        to_tensor(list(pixels), config.image_mean, config.image_std),
        tuple(map(tuple, answer["boxes"])),
        tuple(answer["mirrored"]),
    )
    width, height = answer["size"]
    found = Provenance.from_dict(answer["provenance"]) if answer["provenance"] is not None else None
    stand_in = SimpleNamespace(size=(width, height), width=width, height=height)  # the pixels stayed where they were
    return PreparedImage(LoadedImage(stand_in, answer["facts"], tuple(answer["notes"]), None, found), views, name, {})
