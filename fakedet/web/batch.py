"""Many pictures at once: files and ZIP archives in; rows, CSV and JSON out. A file that cannot be read is one row."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakedet.images import TooManyBytes
from fakedet.network.heatmap import display
from fakedet.verdict import Failure, Verdict

from .archives import Member, Source, list_sources
from .errors import ServerError
from .scorer import Scorer

FIELDS = (
    "file verdict p_fake logit width height format bytes sha256 generator kind notes error_code error_message".split()
)
THUMB_SIDE = 220  # pixels
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Item:
    """The result for one picture, with a thumbnail (data URI) where there is one."""

    result: Verdict | Failure
    thumb: str = ""

    @property
    def kind(self) -> str:
        """ "fake", "real", "unsure" or "error"."""
        return self.result.verdict if isinstance(self.result, Verdict) else "error"


@dataclass
class Batch:
    """The results so far.

    Attributes:
        total: Pictures in the input; more than `len(items)` while it runs.
        items: In the order of the input.
        started: `time.monotonic()` at the beginning.
        stopped: Whether the visitor stopped it early.
    """

    total: int
    items: list[Item] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False

    def ordered(self) -> list[Item]:
        """Most likely AI-generated first, failures last."""
        return sorted(self.items, key=lambda i: (i.kind == "error", -getattr(i.result, "p_fake", 0.0)))


def run(
    scorer: Scorer,
    paths: Iterable[tuple[str, str]],
    max_files: int,
    thumbs: bool = True,
    halt: threading.Event | None = None,
) -> Iterator[Batch]:
    """Scores files and archives one after the other; yields the same Batch after each picture, until `halt` is set.

    Args:
        scorer: Computes the verdicts.
        paths: (path on this machine, name from the sender).
        max_files: Pictures scored at most.
        thumbs: Keep a thumbnail of each picture.
        halt: Ends the batch before the next picture.
    """
    sources = list_sources(paths, max_files)
    batch = Batch(len(sources))
    for name, source in sources:
        if halt and halt.is_set():
            batch.stopped = True
            break
        batch.items.append(_without_pixels(_score(scorer, source, name, thumbs)))
        yield batch
    if not batch.items:
        yield batch


def _score(scorer: Scorer, source: Source, name: str, heatmap: bool) -> Verdict | Failure:
    if isinstance(source, Failure):
        return source
    try:
        data = source.read(scorer.detector.limits.max_bytes) if isinstance(source, Member) else source
    except (ServerError, TooManyBytes) as error:
        return Failure(error, name)
    return scorer.score(data, name, heatmap=heatmap)


def _without_pixels(result: Verdict | Failure) -> Item:
    """Keeps a thumbnail in place of the picture and its map: hundreds of pictures must not stay in memory."""
    if isinstance(result, Failure) or result.picture is None:
        return Item(result)
    buffer = io.BytesIO()
    display(result.picture, THUMB_SIDE).save(buffer, "JPEG", quality=70)
    thumb = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Item(replace(result, picture=None, signed_map=None), thumb)


def write_files(batch: Batch, folder: Path) -> tuple[str, str]:
    """Writes fakedet.csv and fakedet.json and returns their paths; the JSON is the same as on every other surface."""
    rows = [item.result.to_dict() for item in batch.items]
    json_path, csv_path = folder / "fakedet.json", folder / "fakedet.csv"
    json_path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    with csv_path.open("w", newline="", encoding="utf-8-sig") as file:  # the mark makes Excel read it as UTF-8
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(_csv_row(row) for row in rows)
    return str(csv_path), str(json_path)


def _csv_row(row: dict) -> dict:
    error = row.get("error", {})
    flat = {**row, **row.get("image", {}), "notes": " ".join(row.get("notes", ()))}
    flat["generator"] = next(iter(row.get("generator") or ()), None)
    flat |= {"error_code": error.get("code"), "error_message": error.get("message")}
    return {key: _no_formula(flat.get(key)) for key in FIELDS}


def _no_formula(value: Any) -> Any:
    """A spreadsheet would run a text that begins with such a sign; the sender chose the file name."""
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA_SIGNS) else value
