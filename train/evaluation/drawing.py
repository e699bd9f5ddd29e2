"""Draws the plots of an evaluation report into its folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fakedet.images import open_image
from train.evaluation import comparison_plots, plots
from train.evaluation.dataset import EvalSet
from train.evaluation.summary import worst_mistakes


def draw(output: Path, images: EvalSet, scores: dict[str, pd.DataFrame], report: dict, mistakes: int) -> set[str]:
    """Draws every plot that the data allows and returns the names of the files."""
    first = next(iter(scores))
    table, figures, threshold = scores[first], report["tiers"][first]["metrics"], report["threshold"]
    plots.confusion_matrix(figures, output / "confusion_matrix.png")
    mostly_tiny = report["tiny"]["images"] > len(table) / 2
    band = report["tiny"]["unsure_band"] if mostly_tiny else report["unsure_band"]
    plots.score_histogram(table["label"], table["p_fake"], threshold, band, output / "score_histogram.png")
    plots.reliability(table["label"], table["p_fake"], figures["ece"], output / "reliability.png")
    plots.risk_coverage(report["tiers"], output / "risk_coverage.png")
    drawn = {"confusion_matrix.png", "score_histogram.png", "reliability.png", "risk_coverage.png"}
    if table["label"].nunique() == 2:
        curves = {name: (tier["label"].to_numpy(), tier["p_fake"].to_numpy()) for name, tier in scores.items()}
        plots.roc(curves, output / "roc.png")
        plots.precision_recall(curves, output / "precision_recall.png")
        names = {"AUC": "roc_auc", "balanced accuracy": "balanced_accuracy", "found at 5 % false alarms": "tpr_at_5fpr"}
        metrics = {tier: figures["metrics"] for tier, figures in report["tiers"].items()}
        bars = {tier: {name: values[key] for name, key in names.items()} for tier, values in metrics.items()}
        comparison_plots.tier_bars(bars, output / "tiers.png")
        drawn |= {"roc.png", "precision_recall.png", "tiers.png"}
    if report["curves"]:
        comparison_plots.curves(report["curves"], output / "curves.png")
        drawn.add("curves.png")
    if report.get("consistency"):
        comparison_plots.consistency(report["consistency"]["variants"], output / "consistency.png")
        drawn.add("consistency.png")
    if mistakes > 0:
        worst = worst_mistakes(table, threshold, mistakes)
        places = dict(zip(images.table["index"], range(len(images)), strict=True))
        sheet = [
            (open_image(images.encoded(places[row.index_])[0]).image, row.label, caption(row))
            for row in worst.rename(columns={"index": "index_"}).itertuples()
        ]
        title = f"The {len(sheet)} most confident mistakes, tier {first} (frame: blue = real, dashed = AI-generated)"
        comparison_plots.contact_sheet(sheet, title, output / "mistakes.png")
        drawn.add("mistakes.png")
    return drawn


def caption(row) -> str:
    """Two lines for the contact sheet: class and origin, then score and row in the split."""
    origin = getattr(row, "generator", None) if row.label else getattr(row, "source", None)
    origin = f" ({origin if len(origin) < 17 else origin[:15] + '…'})" if isinstance(origin, str) and origin else ""
    return f"{('real', 'AI')[row.label]}{origin}\np_fake {row.p_fake:.3f}, row {row.index_}"
