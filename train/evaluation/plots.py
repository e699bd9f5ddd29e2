"""The figures of an evaluation report, as PNG files that can be read at the width of a README.

Two colours and two textures carry the classes (Okabe and Ito's palette, told apart by every kind of colour blindness):
blue = real, vermilion with hatching or dashes = AI-generated. Nothing here opens a window.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageOps
from sklearn.metrics import precision_recall_curve, roc_curve

from train.evaluation.metrics import MAX_FALSE_ALARM, reliability_bins

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


def _figure(width: float = 6.4, height: float = 4.4, **kwargs):
    return plt.subplots(figsize=(width, height), layout="constrained", **kwargs)


def _save(figure, path: Path) -> None:
    figure.savefig(path, dpi=140)
    plt.close(figure)


@plt.rc_context(STYLE)
def confusion_matrix(counts: dict, path: Path) -> None:
    """Draws the matrix from `tn`, `fp`, `fn`, `tp`: counts, and the share of the row, which also gives the shade."""
    matrix = np.array([[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]])
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(5.2, 4.4)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), value in np.ndenumerate(matrix):
        shade = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, f"{value:,}\n{share[row, column]:.1%}", ha="center", va="center", color=shade, size=14)
    axes.set_xticks((0, 1), [f"called\n{name}" for name in NAMES])
    axes.set_yticks((0, 1), [f"{name}\nn = {n:,}" for name, n in zip(NAMES, matrix.sum(axis=1), strict=True)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("What images are, and what they were called")
    _save(figure, path)


@plt.rc_context(STYLE)
def roc(curves: dict[str, tuple], path: Path) -> None:
    """Draws ROC curves, one per name to (labels (N,), p_fake (N,)); a name with one class only is left out."""
    figure, axes = _figure(5.6, 5.2)
    for (name, (labels, p_fake)), (color, line) in zip(_both_classes(curves), LINES, strict=False):
        fpr, tpr, _ = roc_curve(labels, p_fake)
        auc = np.trapezoid(tpr, fpr)
        axes.plot(fpr, tpr, color=color, linestyle=line, linewidth=2.2, label=f"{name}: AUC {auc:.3f}")
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=1, label="chance")
    axes.axvline(MAX_FALSE_ALARM, color=GREY, linewidth=1, linestyle=":")
    axes.text(MAX_FALSE_ALARM + 0.012, 0.02, f"{MAX_FALSE_ALARM:.0%} false alarms", color=GREY, size=10)
    axes.set(xlabel="share of real images called AI-generated", ylabel="share of AI images found",
             title="ROC: found against false alarms", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01),
             aspect="equal")  # fmt: skip
    axes.grid(True)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.06))
    _save(figure, path)


@plt.rc_context(STYLE)
def curves(rows: list[dict], path: Path) -> None:
    """Draws AUC over the level of each kind of wear, from `curves.curve_rows`; one small chart a kind, wear grows to
    the right, and a line marks the AUC of the same images as they are."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure, grid = _figure(9.6, 5.6, nrows=2, ncols=-(-len(kinds) // 2), squeeze=False, sharey=True)
    for axes, kind in zip(grid.flat, kinds, strict=False):
        own = [row for row in rows if row["kind"] == kind and row["auc"] is not None]
        axes.plot(range(len(own)), [row["auc"] for row in own], color=REAL, marker="o", linewidth=2.2)
        if own:
            axes.axhline(own[0]["auc_clean"], color=GREY, linewidth=1, linestyle="--")
            axes.set_title(own[0]["words"], fontsize=11)
        axes.set_xticks(range(len(own)), [f"{row['level']:g}" for row in own])
        axes.set_ylim(0.4, 1.0)
        axes.grid(True, axis="y")
    for axes in grid.flat[len(kinds) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("AUC")
    _save(figure, path)


@plt.rc_context(STYLE)
def precision_recall(curves: dict[str, tuple], path: Path) -> None:
    """Draws precision over recall, one curve per name to (labels (N,), p_fake (N,))."""
    figure, axes = _figure(5.6, 4.8)
    for (name, (labels, p_fake)), (color, line) in zip(_both_classes(curves), LINES, strict=False):
        precision, recall, _ = precision_recall_curve(labels, p_fake)
        average = -np.sum(np.diff(recall) * precision[:-1])
        label = f"{name}: average precision {average:.3f}"
        axes.step(recall, precision, where="post", color=color, linestyle=line, linewidth=2.2, label=label)
    shares = sorted({round(float(np.mean(labels)), 3) for _, (labels, _) in _both_classes(curves)})
    for share in shares:
        axes.axhline(share, color=GREY, linewidth=1, label=f"chance: {share:.3f}" if share == shares[0] else None)
    axes.set(xlabel="share of AI images found (recall)", ylabel="share of alarms that are right (precision)",
             title="Precision and recall", xlim=(-0.01, 1.01), ylim=(0, 1.02))  # fmt: skip
    axes.grid(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.02))
    _save(figure, path)


@plt.rc_context(STYLE)
def score_histogram(labels, p_fake, threshold: float, band: tuple[float, float], path: Path) -> None:
    """Draws how scores spread in each class, as shares of the class; the threshold is a line, the unsure band grey."""
    labels, p_fake = np.asarray(labels), np.asarray(p_fake)
    figure, axes = _figure(6.4, 4.6)
    edges = np.linspace(0, 1, 26)
    if band[1] > band[0]:
        axes.axvspan(*band, color="#EBEBEB", label=f"unsure: {band[0]:.2f} to {band[1]:.2f}", zorder=0)
    for label, color, hatch, edge in ((0, REAL, "", REAL), (1, FAKE, "////", FAKE)):
        values = p_fake[labels == label]
        if not len(values):
            continue
        weights = np.full(len(values), 1 / len(values))
        face = matplotlib.colors.to_rgba(color, 0.45 if label == 0 else 0.12)
        axes.hist(values, edges, weights=weights, histtype="stepfilled", facecolor=face, edgecolor=edge, hatch=hatch,
                  linewidth=1.8, label=f"{NAMES[label]}, n = {len(values):,}")  # fmt: skip
    axes.axvline(threshold, color="black", linewidth=1.4, linestyle="--", label=f"threshold {threshold:g}")
    axes.set(xlabel="p_fake", ylabel="share of the class", title="Scores by class", xlim=(0, 1))
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axes.grid(True, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)  # never over the bars
    _save(figure, path)


@plt.rc_context(STYLE)
def reliability(labels, p_fake, ece: float | None, path: Path) -> None:
    """Draws what a score promised against what came true, in 15 bins, above the number of images in each bin."""
    table = reliability_bins(np.asarray(labels), np.asarray(p_fake))
    filled = table["count"] > 0
    width = np.diff(table["edges"])[0]
    middle = table["edges"][:-1] + width / 2
    figure, (upper, lower) = _figure(5.6, 6.0, nrows=2, sharex=True, height_ratios=(3.2, 1))
    upper.bar(middle[filled], table["share"][filled], width * 0.92, color="#D9D9D9", edgecolor=GREY, label="came true")
    upper.plot(table["mean_probability"][filled], table["share"][filled], "o", color=FAKE, markersize=6,
               label="mean score of the bin")  # fmt: skip
    upper.plot((0, 1), (0, 1), color=GREY, linewidth=1.2, linestyle="--", label="perfectly calibrated")
    title = "Reliability" if ece is None else f"Reliability: expected calibration error {ece:.3f}"
    upper.set(ylabel="share of AI images", title=title, xlim=(0, 1), ylim=(0, 1.02))
    upper.grid(True, axis="y")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    lower.bar(middle, table["count"], width * 0.92, color="#D9D9D9", edgecolor=GREY)
    lower.set(xlabel="p_fake", ylabel="images")
    lower.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, integer=True))
    _save(figure, path)


@plt.rc_context(STYLE)
def tier_bars(rows: dict[str, dict[str, float | None]], path: Path) -> None:
    """Draws figures in 0..1 side by side per tier: {tier: {figure name: value or None}}, the same names in each."""
    figure, axes = _figure(6.8, 4.2)
    names = list(next(iter(rows.values())))
    colors, hatches = ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), ("", "//", "..", "xx")
    width = 0.8 / len(names)
    for position, name in enumerate(names):
        places = np.arange(len(rows)) + (position - (len(names) - 1) / 2) * width
        values = [row[name] for row in rows.values()]
        axes.bar(places, [value or 0 for value in values], width * 0.9, color=colors[position % 4], label=name,
                 hatch=hatches[position % 4], edgecolor="white")  # fmt: skip
        for place, value in zip(places, values, strict=True):
            words = "none" if value is None else f"{value:.2f}".removeprefix("0") if value < 1 else "1"
            axes.text(place, (value or 0) + 0.012, words, ha="center", size=10)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.tick_params(axis="x", length=0)
    axes.set(title="The same images after wear", ylim=(0, 1.08), yticks=np.linspace(0, 1, 6))
    axes.grid(True, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    _save(figure, path)


@plt.rc_context(STYLE)
def contact_sheet(mistakes: Iterable[tuple[Image.Image, int, str]], title: str, path: Path, columns: int = 6) -> None:
    """Draws thumbnails of the worst mistakes.

    Args:
        mistakes: (image, label, caption) each, worst first; the frame has the colour of the true class.
        title: stands above.
        path: PNG to write.
        columns: thumbnails per row.
    """
    mistakes = list(mistakes)
    rows = max(1, -(-len(mistakes) // columns))
    figure, grid = _figure(1.55 * columns, 1.95 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (image, label, caption) in zip(grid.flat, mistakes, strict=False):
        resample = Image.Resampling.NEAREST if max(image.size) < 160 else Image.Resampling.LANCZOS
        axes.imshow(ImageOps.pad(image, (192, 192), method=resample, color="white"))
        axes.add_patch(plt.Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, linewidth=4,
                                     linestyle=("-", "--")[label], edgecolor=(REAL, FAKE)[label]))  # fmt: skip
        axes.set_title(caption, size=9, loc="center", color="black")
    if not mistakes:
        grid[0, 0].text(0, 0.5, "No mistakes.", transform=grid[0, 0].transAxes, size=13)
    figure.suptitle(title, size=13, x=0.01, ha="left")
    _save(figure, path)


def _both_classes(curves: dict[str, tuple]) -> list[tuple[str, tuple]]:
    return [(name, pair) for name, pair in curves.items() if len(np.unique(pair[0])) == 2]


@plt.rc_context(STYLE)
def transfer_curves(others: list[dict], shares: Iterable[float], by_share: list[dict], path: Path) -> None:
    """Draws AUC in collections left out (thin: each; thick: mean) over the others learned, and over the images."""
    figure, both = _figure(9.6, 4.4, ncols=2, sharey=True)
    counts, percent = list(range(len(others))), [100 * share for share in shares]
    for axes, steps, rows, label in ((both[0], counts, others, "other collections learned"),
                                     (both[1], percent, by_share, "% of the images learned")):  # fmt: skip
        for (color, dash), name in zip(cycle(LINES), rows[0], strict=False):
            axes.plot(steps, [row[name] for row in rows], dash, color=color, linewidth=1.2, label=name)
        means = [np.mean(list(row.values())) for row in rows]
        axes.plot(steps, means, "o-", color=GREY, linewidth=3, label="mean")
        axes.set_xticks(steps, [f"{step:g}" for step in steps])
        axes.set_xlabel(label)
        axes.grid(axis="y")
    both[0].set_ylabel("AUC in the one left out")
    both[0].set_title("More collections")
    both[1].set_title("More images")
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    _save(figure, path)
