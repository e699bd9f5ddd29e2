"""Look of the plots in an evaluation report: PNG files that can be read at the width of a README.

Colour and texture both mark the class (Okabe and Ito's palette, safe for colour-blind readers): blue = real, vermilion
with hatching or dashes = AI-generated. Nothing here opens a window.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

REAL, FAKE, GREY = "#0072B2", "#D55E00", "#595959"
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"), ("#000000", (0, (1, 1))))
NAMES = ("real", "AI-generated")
STYLE = {
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "savefig.facecolor": "white",
}


def new_figure(width: float = 6.4, height: float = 4.4, **kwargs):
    """Returns a figure of width x height inches and its axes; `kwargs` go to `plt.subplots`."""
    return plt.subplots(figsize=(width, height), layout="constrained", **kwargs)


def save(figure, path: Path) -> None:
    """Writes a figure as a PNG file and closes it."""
    figure.savefig(path, dpi=140)
    plt.close(figure)
