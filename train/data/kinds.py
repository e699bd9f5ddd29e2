"""Kinds of picture, as a training and the layer that is fitted afterwards (kinds.py) name them."""

from __future__ import annotations

from fakedet.network.settings import KINDS

# Content of a graphic, as the catalogue and make_graphics.py name it; that of photographs is not listed.
GRAPHIC = ("chart", "diagram", "document", "logo", "map", "meme", "screenshot", "slide")
DRAWING = ("art", "comic", "game", "illustration", "painting", "render")


def kind_of(content: str | None) -> int:
    """Position in KINDS of a picture by its content."""
    return KINDS.index("graphic" if content in GRAPHIC else "drawing" if content in DRAWING else "photo")


def kind_target(record: dict) -> list[float]:
    """Targets of one row of a data set: label, whether it has one, and one number per kind.

    A graphic is neither class: its label is 0 and does not count. Without a column `content` no kind is known, and all
    numbers of the kinds are 0.
    """
    label, content = record["label"], record.get("content")
    known = label in (0, 1)
    kinds = [0.0] * len(KINDS)
    if content is not None:
        kinds[kind_of(content)] = 1.0
    return [float(label) if known else 0.0, float(known), *kinds]
