"""Which families a checkpoint can name, with which regularisation, and from which probability on."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fakedet.network.families import OTHER

from .families import family_figures, true_families
from .family_head import (
    Head,
    HeldOut,
    Views,
    best_temperature,
    choose_threshold,
    fit_head,
    leave_collections_out,
    outputs,
)

STRENGTHS = (3e-5, 1e-4, 3e-4, 1e-3)  # scikit-learn's C, the inverse of the regularisation


class AttributionError(ValueError):
    """Families cannot be learned from the data; the message says why in one sentence."""


def choose_families(train: pd.DataFrame, held_out: pd.DataFrame, args) -> list[str]:
    """Chooses the families with enough images in both splits, from enough collections; "other" stands for the rest.

    Args:
        train, held_out: Rows of images of known family, with the columns family and source.

    Raises:
        AttributionError: No family has enough images.
    """
    families = []
    for family, own in train.groupby("family"):
        images, sources, tests = len(own), own["source"].nunique(), int((held_out["family"] == family).sum())
        enough = images >= args.least and tests >= args.least_held_out and sources >= args.least_sources
        kept = "kept" if enough or family == OTHER else "too few: other"
        print(f"  {family:<12} {images:6,} images of {sources} collections, {tests:4,} held out  {kept}")
        if enough and family != OTHER:
            families.append(str(family))
    if not families:
        raise AttributionError("No family has enough images to learn it and to measure it.")
    return [*families, OTHER]


def of_known_family(views: Views, families: list[str]) -> tuple[Views, np.ndarray]:
    """The views of images of known family, and the position (N,) of each view's family in `families`."""
    truth = true_families(views.of("generator"), families)
    known = np.array([family is not None for family in truth])
    return views.where(known), np.array([families.index(family) for family in truth[known]])


def search(
    train: Views, held_out: Views, families: list[str], args: argparse.Namespace
) -> tuple[Head, float, float | None, dict]:
    """Fits the layer with each of STRENGTHS and keeps the one with the least log loss on data outside its fit.

    Returns:
        Head, temperature, threshold (None where no probability reaches --target), and the figures behind the choice.
    """
    views, truth = of_known_family(train, families)
    test, test_truth = of_known_family(held_out, families)
    best = None
    for strength in tqdm(STRENGTHS, unit="strengths", desc="Fitting"):
        head = fit_head(views, truth, len(families), strength)
        parts = {"validation": HeldOut(outputs(head, test), test.image, test_truth)}
        if args.least_sources > 1:
            parts = {"collections left out": leave_collections_out(views, truth, len(families), strength)} | parts
        temperature, loss = best_temperature(next(iter(parts.values())))
        if best is None or loss < best[0]:
            best = loss, strength, head, temperature, parts
    loss, strength, head, temperature, parts = best
    predictions = {name: part.probabilities(temperature) for name, part in parts.items()}
    threshold = choose_threshold(list(predictions.values()), families.index(OTHER), args.target)
    figures = {"strength": strength, "temperature": temperature, "threshold": threshold, "log_loss": loss}
    figures["parts"] = {
        name: naming_figures(probabilities, labels, families, threshold)
        for name, (probabilities, labels) in predictions.items()
    }
    return head, temperature, threshold, figures


def naming_figures(
    probabilities: np.ndarray, labels: np.ndarray, families: list[str], threshold: float | None
) -> dict | None:
    """`family_figures` of P(family) (N, F) and true positions (N,), with the threshold applied; None names nothing."""
    rows = pd.DataFrame({
        "label": 1,
        "generator": [families[place] for place in labels],
        "family": [families[place] for place in probabilities.argmax(1)],
    })  # fmt: skip
    named = (probabilities.max(1) >= (2 if threshold is None else threshold)) & (rows["family"] != OTHER)
    return family_figures(rows.assign(family_named=rows["family"].where(named, "")), families)
