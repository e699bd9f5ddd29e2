"""A batch as HTML: counts with a progress bar, a gallery with badges, and a table."""

from __future__ import annotations

import time

from fakedet.verdict import Failure

from .answer import NAMES, confidence_percent, hints
from .batch import Batch, Item
from .render import render

COLUMNS = ("File", "Answer", "P(AI-generated)", "Pixels", "Notes")
PLURALS = {"fake": "AI-generated", "real": "photographs", "unsure": "unsure", "error": "not checked"}


def summary(batch: Batch, done: bool = False) -> str:
    """Counts, and while it runs a bar with the time left."""
    count, total = len(batch.items), batch.total
    kinds = [item.kind for item in batch.items]
    seconds_left = (time.monotonic() - batch.started) / max(count, 1) * (total - count)
    state = f"{count} of {total}, about {seconds_left:.0f} s left"
    if done:
        state = f"Stopped after {count} of {total}" if batch.stopped else f"Done: {total}"
    return render(
        "batch_summary.html",
        total=total,
        state=state,
        counts=", ".join(f"{kinds.count(kind)} {name}" for kind, name in PLURALS.items() if kind in kinds),
        done=done,
        percent=round(100 * count / max(total, 1)),
    )


def badge(item: Item) -> str:
    """The answer in two or three words."""
    result = item.result
    if isinstance(result, Failure):
        return NAMES["error"]
    if result.verdict == "unsure":
        return f"Unsure, {round(100 * result.p_fake)} % AI"
    return f"{NAMES[result.verdict]} {confidence_percent(result)} %"


def gallery(batch: Batch) -> str:
    """Cards with a thumbnail and a badge, most likely AI-generated first."""
    cards = [
        {
            "thumb": item.thumb,
            "kind": item.kind,
            "badge": badge(item),
            "name": item.result.file or "",
            "error": str(item.result.error) if isinstance(item.result, Failure) else "",
        }
        for item in batch.ordered()
    ]
    return render("batch_gallery.html", cards=cards)


def as_table(batch: Batch) -> str:
    """The same as an HTML table, in the order of the gallery."""
    return render("batch_table.html", columns=COLUMNS, rows=[_cells(item) for item in batch.ordered()])


def _cells(item: Item) -> list[str]:
    result = item.result
    if isinstance(result, Failure):
        return [result.file or "", badge(item), "", "", str(result.error)]
    size = f"{result.image['width']} x {result.image['height']}"
    family = [f"{result.likeness}."] if result.likeness else []
    return [result.file or "", badge(item), f"{result.p_fake:.3f}", size, " ".join([*family, *hints(result)])]
