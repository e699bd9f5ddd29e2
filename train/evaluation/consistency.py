"""Consistency: does one picture get the same answer whichever way it was passed on? See variants.py for the ways.

The answers are those of the page, REST and MCP: with the stability check, so "unsure" where a degraded copy disagrees.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from fakedet import Detector
from fakedet.detector import Failure
from fakedet.images import ImageError, open_image
from train.evaluation.dataset import EvalSet, prefetch
from train.evaluation.variants import VARIANTS

ORIGINAL = "original"


def balanced_sample(table: pd.DataFrame, size: int, seed: int = 0) -> np.ndarray:
    """Positions of up to `size` images, half of each class, drawn in turns from the class's sources.

    Args:
        table: `EvalSet.table`, with `label` and where the data has it `source`.
        size: Number of images; fewer where a class has less than half of it.
        seed: Of the draw.
    """
    rng, chosen = np.random.default_rng(seed), []
    sources = table["source"].fillna("").to_numpy() if "source" in table else np.full(len(table), "")
    for label, count in ((0, size - size // 2), (1, size // 2)):
        rows = rng.permutation(np.flatnonzero(table["label"].to_numpy() == label))
        turn = pd.Series(rows).groupby(sources[rows]).cumcount().to_numpy()  # its number among those of its source
        chosen.append(rows[np.argsort(turn, kind="stable")][:count])
    return np.sort(np.concatenate(chosen))


def score_variants(
    detector: Detector, images: EvalSet, rows: np.ndarray, batch_size: int, workers: int
) -> pd.DataFrame:
    """Scores each image and all its variants, with a progress bar.

    The stability check can only turn an answer into "unsure". So it is made where it matters: for all versions of the
    images of which two contradict each other.

    Args:
        detector: Reads no provenance, since the variants have none.
        rows: (N,) positions of the images in the set.
        batch_size: Pictures per batch of the detector.
        workers: Threads that read images and make variants ahead of the network.

    Returns:
        DataFrame with one row per version of an image: index, label, source (where the data has it), variant, p_fake,
        z, `verdict_once` (without the stability check), verdict. An image that cannot be read has none.
    """
    bar = partial(tqdm, unit="images", desc="Consistency, each image in all variants")
    once = pd.concat(_versions(detector, images, rows, batch_size, workers, False, bar))
    torn = [row for row, own in once.groupby("row") if _contradictory(own["verdict"])]
    bar = partial(tqdm, unit="images", desc="Stability check of contradictory images")
    checked = pd.concat(_versions(detector, images, np.array(torn), batch_size, workers, True, bar))
    table = once.rename(columns={"verdict": "verdict_once"}).merge(
        checked[["row", "variant", "verdict"]], on=["row", "variant"], how="left"
    )
    table["verdict"] = table["verdict"].fillna(table["verdict_once"])
    facts = images.table[[name for name in ("index", "label", "source") if name in images.table]]
    return facts.join(table.set_index("row"), how="inner").reset_index(drop=True)


def _versions(detector, images, rows, batch_size, workers, stability, bar) -> list[pd.DataFrame]:
    """The scores of each image and its variants: row, variant, p_fake, z, verdict; the first frame is empty."""

    def make(row: int) -> tuple[int, dict[str, Image.Image]]:
        try:
            image = open_image(images.encoded(row)[0]).image
        except ImageError:
            return row, {}
        made = {ORIGINAL: image} | {name: change(image) for name, (change, _) in VARIANTS.items()}
        return row, {name: picture for name, picture in made.items() if picture is not None}

    frames = [pd.DataFrame(columns=["row", "variant", "p_fake", "z", "verdict"])]
    for row, versions in bar(prefetch(make, rows, workers), total=len(rows)):
        verdicts = detector.predict_many(versions.values(), batch_size, stability=stability)
        scored = [
            (row, name, float(verdict.p_fake), float(verdict.logit), verdict.verdict)
            for name, verdict in zip(versions, verdicts, strict=True)
            if not isinstance(verdict, Failure)  # a variant of a picture of nearly 64:1 may be too long
        ]
        frames.append(pd.DataFrame(scored, columns=frames[0].columns))
    return frames


def _contradictory(verdicts) -> bool:
    return {"real", "fake"} <= set(verdicts)


def consistency_figures(table: pd.DataFrame) -> dict:
    """Computes the figures of a table of `score_variants`.

    Two versions of an image contradict each other if one is answered "real" and the other "fake".

    Returns:
        `n`, `n_real`, `n_fake` images; `variants`, see `variant_rows`; and `overall`: `median_abs_shift` over all
        variants, `n_against_original` (images that some variant contradicts) and its share `against_original`,
        `n_contradicted` (images of which any two versions contradict each other) and its share `contradicted`, the same
        share by class (`contradicted_real`, `contradicted_fake`), and `contradicted_once`, without the stability check.
    """
    others = _against_originals(table)
    labels = table.groupby("index")["label"].first()
    torn, torn_once = (table.groupby("index")[key].agg(_contradictory) for key in ("verdict", "verdict_once"))
    flipped = others.groupby("index")["flipped"].any()
    return {
        "n": len(labels),
        "n_real": int((labels == 0).sum()),
        "n_fake": int((labels == 1).sum()),
        "variants": variant_rows(others),
        "overall": {
            "median_abs_shift": _mean(others["shift"].abs().median()),
            "n_against_original": int(flipped.sum()),
            "against_original": _mean(flipped.reindex(labels.index, fill_value=False).mean()),
            "n_contradicted": int(torn.sum()),
            "contradicted": _mean(torn.mean()),
            "contradicted_real": _mean(torn[labels == 0].mean()),
            "contradicted_fake": _mean(torn[labels == 1].mean()),
            "contradicted_once": _mean(torn_once.mean()),
        },
    }


def variant_rows(others: pd.DataFrame) -> list[dict]:
    """The figures of each variant.

    Args:
        others: From `_against_originals`.

    Returns:
        Rows with `variant`, `words`, `n` images that it changes, `median_shift` and `median_abs_shift` of p_fake
        against the original, `to_fake` and `to_real` (images whose answer goes from real to fake, and back),
        `n_contradicted` and `contradicted` (their sum and its share), `unsure` (share without the stability check) and
        `unsure_original` (the same for the originals of these images).
    """
    rows = []
    for name, (_, words) in VARIANTS.items():
        own = others[others["variant"] == name]
        if not len(own):
            continue
        rows.append({
            "variant": name, "words": words, "n": len(own), "median_shift": float(own["shift"].median()),
            "median_abs_shift": float(own["shift"].abs().median()), "n_contradicted": int(own["flipped"].sum()),
            "to_fake": int((own["flipped"] & (own["verdict"] == "fake")).sum()),
            "to_real": int((own["flipped"] & (own["verdict"] == "real")).sum()),
            "contradicted": float(own["flipped"].mean()), "unsure": float((own["verdict_once"] == "unsure").mean()),
            "unsure_original": float((own["verdict_once_original"] == "unsure").mean()),
        })  # fmt: skip
    return rows


def _against_originals(table: pd.DataFrame) -> pd.DataFrame:
    """The variants beside their originals, with `shift` of p_fake and whether they contradict them (`flipped`)."""
    originals = table[table["variant"] == ORIGINAL].set_index("index")[["p_fake", "verdict", "verdict_once"]]
    originals = originals.add_suffix("_original")
    others = table[table["variant"] != ORIGINAL].join(originals, on="index")
    pairs = zip(others["verdict"], others["verdict_original"], strict=True)
    return others.assign(
        shift=others["p_fake"] - others["p_fake_original"], flipped=[_contradictory(pair) for pair in pairs]
    )


def _mean(value) -> float | None:
    return None if pd.isna(value) else float(value)
