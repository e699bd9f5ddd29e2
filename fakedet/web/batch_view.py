"""A batch for people: counts with a progress bar, a gallery with badges, and a table, as HTML."""

from __future__ import annotations

import time
from html import escape

from fakedet.verdict import Failure, Verdict

from .answer import NAMES, hints, percent
from .batch import Batch, Item

COLUMNS = ("File", "Answer", "P(AI-generated)", "Pixels", "Notes")


def summary(batch: Batch, done: bool = False) -> str:
    """Counts, and while it runs a bar with the time left."""
    count, total = len(batch.items), batch.total
    kinds = [item.kind for item in batch.items]
    words = ", ".join(
        f"{kinds.count(kind)} {name}"
        for kind, name in zip(NAMES, ("AI-generated", "photographs", "unsure", "not checked"), strict=True)
        if kind in kinds
    )
    if not total:
        return '<div class="fd-card"><h2>No pictures found</h2><p>Add image files, or a ZIP that holds some.</p></div>'
    left = (time.monotonic() - batch.started) / max(count, 1) * (total - count)
    state = f"{count} of {total}, about {left:.0f} s left"
    if done:
        state = f"Stopped after {count} of {total}" if batch.stopped else f"Done: {total}"
    return (
        f'<div class="fd-card" role="status"><p class="fd-small">{state}</p><h2>{words or "Nothing checked"}</h2>'
        + ("" if done else f'<div class="fd-progress"><i style="width:{100 * count / total:.0f}%"></i></div>')
        + "</div>"
    )


def badge(item: Item) -> str:
    """The answer in two or three words."""
    result = item.result
    if isinstance(result, Failure):
        return NAMES["error"]
    if result.verdict == "unsure":
        return f"Unsure, {round(100 * result.p_fake)} % AI"
    return f"{NAMES[result.verdict]} {percent(result)} %"


def gallery(batch: Batch) -> str:
    """Cards with a thumbnail and a badge, most likely AI-generated first."""
    cards = []
    for item in batch.ordered():
        name = escape(item.result.file or "")
        image = f'<img src="{item.thumb}" alt="">' if item.thumb else ""
        why = f"<br>{escape(str(item.result.error))}" if isinstance(item.result, Failure) else ""
        cards.append(
            f'<figure>{image}<figcaption><span class="fd-badge fd-{item.kind}">{badge(item)}</span><br>{name}{why}'
            "</figcaption></figure>"
        )
    return f'<div class="fd-grid">{"".join(cards)}</div>'


def as_table(batch: Batch) -> str:
    """The same as an HTML table, in the order of the gallery."""
    body = []
    for item in batch.ordered():
        result, cells = item.result, ["", "", ""]
        if isinstance(result, Verdict):
            size = f"{result.image['width']} x {result.image['height']}"
            kind = [f"{result.likeness}."] if result.likeness else []
            cells = [f"{result.p_fake:.3f}", size, " ".join([*kind, *hints(result)])]
        else:
            cells[2] = str(result.error)
        line = [result.file or "", badge(item), *cells]
        body.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    return (
        '<div class="fd-wide" tabindex="0" role="region" aria-label="All answers"><table class="fd-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
