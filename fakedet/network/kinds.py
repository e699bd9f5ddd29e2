"""Kinds of picture: photo-like, graphic or drawing, from the network's third output."""

from __future__ import annotations

import numpy as np

from .families import view_shares
from .settings import KINDS, Settings

PHOTO = KINDS[0]
HEADLINES = {"graphic": "it looks like a screenshot or graphic", "drawing": "it looks drawn or rendered"}
NOTES = {
    "graphic": "This looks like a screenshot, chart, document or other graphic. Whether a camera or a generator made "
    "it is no question that its pixels answer. If it shows a photograph, check that photograph's own file.",
    "drawing": "This looks like a drawing, painting, game frame or render. No camera took it; whether a person or a "
    "generator made it cannot be told here.",
}


def kind_of(outputs: np.ndarray, config: Settings) -> tuple[str, float]:
    """The kind of a picture and P(photo-like), 0..1.

    Args:
        outputs: Raw outputs (V, kinds) of its views, in the order of `config.kinds`. The first view, which shows the
            centre of the whole picture, decides: a crop of a page may show nothing but a photograph.
    """
    shares = view_shares(outputs[:1], 1.0)[0]
    if shares[0] > 1 - config.kind_threshold:
        return config.kinds[0], float(shares[0])
    return config.kinds[1 + int(np.argmax(shares[1:]))], float(shares[0])
