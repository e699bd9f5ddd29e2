"""Plots of one evaluation: errors, ROC, precision and recall, risk over coverage, scores, calibration."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import precision_recall_curve, roc_curve

from train.evaluation.metrics import MAX_FALSE_ALARM, reliability_bins
from train.evaluation.plot_style import FAKE, GREY, LINES, NAMES, REAL, STYLE, new_figure, save
from train.evaluation.selective import MAX_RISK


@plt.rc_context(STYLE)
def confusion_matrix(counts: dict, path: Path) -> None:
    """Draws the matrix of `tn`, `fp`, `fn`, `tp`: counts and shares of the row; the share sets the shade."""
    matrix = np.array([[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]])
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = new_figure(5.2, 4.4)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), value in np.ndenumerate(matrix):
        shade = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, f"{value:,}\n{share[row, column]:.1%}", ha="center", va="center", color=shade, size=14)
    axes.set_xticks((0, 1), [f"called\n{name}" for name in NAMES])
    axes.set_yticks((0, 1), [f"{name}\nn = {n:,}" for name, n in zip(NAMES, matrix.sum(axis=1), strict=True)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("True class and answer at the threshold")
    save(figure, path)


@plt.rc_context(STYLE)
def roc(curves: dict[str, tuple], path: Path) -> None:
    """Draws ROC curves, one per name to (labels (N,), p_fake (N,)); a name with one class only is left out."""
    figure, axes = new_figure(5.6, 5.2)
    for (name, (labels, p_fake)), (color, line) in zip(_both_classes(curves), LINES, strict=False):
        fpr, tpr, _ = roc_curve(labels, p_fake)
        auc = np.trapezoid(tpr, fpr)
        axes.plot(fpr, tpr, color=color, linestyle=line, linewidth=2.2, label=f"{name}: AUC {auc:.3f}")
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=1, label="chance")
    axes.axvline(MAX_FALSE_ALARM, color=GREY, linewidth=1, linestyle=":")
    axes.text(MAX_FALSE_ALARM + 0.012, 0.02, f"{MAX_FALSE_ALARM:.0%} false alarms", color=GREY, size=10)
    axes.set(xlabel="share of real images called AI-generated", ylabel="share of AI images found",
             title="ROC", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01),
             aspect="equal")  # fmt: skip
    axes.grid(True)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.06))
    save(figure, path)


@plt.rc_context(STYLE)
def precision_recall(curves: dict[str, tuple], path: Path) -> None:
    """Draws precision over recall, one curve per name to (labels (N,), p_fake (N,))."""
    figure, axes = new_figure(5.6, 4.8)
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
    save(figure, path)


@plt.rc_context(STYLE)
def risk_coverage(tiers: dict[str, dict], path: Path) -> None:
    """Draws the share of wrong answers over the share of images answered, the most confident first.

    Args:
        tiers: tier name to a tier of report.json with images; a dot marks what its unsure band gives.
        path: PNG to write.
    """
    figure, axes = new_figure(6.0, 4.6)
    for (name, tier), (color, line) in zip(tiers.items(), LINES, strict=False):
        curve, three = tier["risk_coverage"], tier["three_answers"]
        rows = curve["points"]
        label = f"{name}: area {curve['aurc']:.3f}, {curve['coverage_at_10_risk']:.0%} at {MAX_RISK:.0%} risk"
        axes.plot([row["coverage"] for row in rows], [row["risk"] for row in rows], color=color, linestyle=line,
                  linewidth=2.2, label=label)  # fmt: skip
        if three["accuracy_decided"] is not None:
            axes.plot(three["coverage"], 1 - three["accuracy_decided"], "o", color=color, markersize=8)
    axes.axhline(MAX_RISK, color=GREY, linewidth=1, linestyle=":")
    axes.set(xlabel="share of images answered (coverage)", ylabel="share of wrong answers (risk)",
             title="Risk and coverage; dot: with the unsure band", xlim=(-0.01, 1.01))  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    axes.grid(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    save(figure, path)


@plt.rc_context(STYLE)
def score_histogram(labels, p_fake, threshold: float, band: tuple[float, float], path: Path) -> None:
    """Draws a histogram of the scores per class, as shares of the class, with the threshold and the unsure band."""
    labels, p_fake = np.asarray(labels), np.asarray(p_fake)
    figure, axes = new_figure(6.4, 4.6)
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
    save(figure, path)


@plt.rc_context(STYLE)
def reliability(labels, p_fake, ece: float | None, path: Path) -> None:
    """Draws the share of fakes over the mean score in 15 bins, above the number of images in each bin."""
    table = reliability_bins(np.asarray(labels), np.asarray(p_fake))
    filled = table["count"] > 0
    width = np.diff(table["edges"])[0]
    middle = table["edges"][:-1] + width / 2
    figure, (upper, lower) = new_figure(5.6, 6.0, nrows=2, sharex=True, height_ratios=(3.2, 1))
    upper.bar(
        middle[filled],
        table["share"][filled],
        width * 0.92,
        color="#D9D9D9",
        edgecolor=GREY,
        label="share of AI images",
    )
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
    save(figure, path)


def _both_classes(curves: dict[str, tuple]) -> list[tuple[str, tuple]]:
    return [(name, pair) for name, pair in curves.items() if len(np.unique(pair[0])) == 2]
