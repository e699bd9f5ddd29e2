"""Plots that compare tiers, degradations and numbers of collections, and the contact sheet of the worst mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter
from PIL import Image, ImageOps

from train.evaluation.plot_style import FAKE, GREY, LINES, REAL, STYLE, new_figure, save


@plt.rc_context(STYLE)
def tier_bars(rows: dict[str, dict[str, float | None]], path: Path) -> None:
    """Draws figures in 0..1 side by side per tier: {tier: {figure name: value or None}}, the same names in each."""
    figure, axes = new_figure(6.8, 4.2)
    names = list(next(iter(rows.values())))
    colors, hatches = ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), ("", "//", "..", "xx")
    width = 0.8 / len(names)
    for position, name in enumerate(names):
        places = np.arange(len(rows)) + (position - (len(names) - 1) / 2) * width
        values = [row[name] for row in rows.values()]
        axes.bar(places, [value or 0 for value in values], width * 0.9, color=colors[position % 4], label=name,
                 hatch=hatches[position % 4], edgecolor="white")  # fmt: skip
        for place, value in zip(places, values, strict=True):
            text = "none" if value is None else f"{value:.2f}".removeprefix("0") if value < 1 else "1"
            axes.text(place, (value or 0) + 0.012, text, ha="center", size=10)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.tick_params(axis="x", length=0)
    axes.set(title="The same images in each tier", ylim=(0, 1.08), yticks=np.linspace(0, 1, 6))
    axes.grid(True, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save(figure, path)


@plt.rc_context(STYLE)
def curves(rows: list[dict], path: Path) -> None:
    """Draws AUC over the level of each kind of degradation, one small chart per kind.

    Args:
        rows: as returned by `curves.curve_rows`. Levels are drawn in their order, from mild to strong; a dashed line
            marks the AUC of the same images without degradation.
        path: PNG to write.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure, grid = new_figure(9.6, 5.6, nrows=2, ncols=-(-len(kinds) // 2), squeeze=False, sharey=True)
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
    save(figure, path)


@plt.rc_context(STYLE)
def consistency(rows: list[dict], path: Path) -> None:
    """Draws per variant how far p_fake moves, and the share of contradicted images.

    Args:
        rows: `variants` of `consistency.consistency_figures`.
        path: PNG to write.
    """
    figure, both = new_figure(9.6, 0.34 * len(rows) + 1.6, ncols=2, sharey=True)
    places = np.arange(len(rows))[::-1]
    for axes, key, form, color, hatch, title in (
        (both[0], "median_abs_shift", ".3f", REAL, "", "Median absolute shift of p_fake"),
        (both[1], "contradicted", ".1%", FAKE, "////", "Share with the opposite answer"),
    ):
        values = [row[key] for row in rows]
        axes.barh(places, values, 0.7, color=color, hatch=hatch, edgecolor="white")
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:{form}}", va="center", size=10)
        axes.set_title(title)
        axes.set_xlim(0, max(*values, 0.01) * 1.25)
        axes.grid(True, axis="x")
    both[1].xaxis.set_major_formatter(PercentFormatter(1))
    both[0].set_yticks(places, [row["variant"] for row in rows])
    save(figure, path)


@plt.rc_context(STYLE)
def transfer_curves(others: list[dict], shares: Iterable[float], by_share: list[dict], path: Path) -> None:
    """Draws AUC in held-out collections over the number of other collections and over the share of images learned.

    Args:
        others: per number of other collections: held-out collection -> AUC.
        shares: of the images, 0..1, one per row of `by_share`.
        by_share: per share of the images: held-out collection -> AUC.
        path: PNG to write. Thin lines are single collections, the thick line is their mean.
    """
    figure, both = new_figure(9.6, 4.4, ncols=2, sharey=True)
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
    both[0].set_ylabel("AUC in the held-out collection")
    both[0].set_title("More collections")
    both[1].set_title("More images")
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    save(figure, path)


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
    figure, grid = new_figure(1.55 * columns, 1.95 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
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
    save(figure, path)
