"""Teach a checkpoint to name the family of generators that an image called AI-generated looks like.

    python train/attribute.py --model runs/mine/best --data data/prepared
    python train/export.py --model runs/mine/best

One linear layer on the pooled features of the network, which stays as it is to the last bit: so does every score. It is
fitted on the AI-generated images of the split train (multinomial logistic regression, every family weighs the same).
A collection's images look alike whatever made them, and most families come from few collections: held-out images of the
same collections would flatter. So its strength of regularisation and its temperature are those that serve images of a
collection best that was left out of the fit, each in turn, and a family is named from the probability on at which at
least --target of the names are right both there and on the split validation. Where there is no such probability, the
checkpoint gets no such layer (and loses the one it had): it then names nothing. Graphs must be exported anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.hub import ModelError, load_checkpoint
from fakedet.images import ImageError, open_image
from fakedet.network.families import OTHER
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.views import make_views
from train.attribution.families import family_figures, family_of, true_families
from train.attribution.family_head import (
    Head,
    Held,
    Views,
    best_temperature,
    choose_threshold,
    fit_head,
    left_out,
    outputs,
    write_head,
)
from train.data.augment import PRESETS, augment
from train.data.sources import PrepareError
from train.evaluation.dataset import EvalSet, load_evalset, prefetch
from train.evaluation.report import confusion_rows
from train.evaluation.report_tables import table

STRENGTHS = (3e-5, 1e-4, 3e-4, 1e-3)  # scikit-learn's C, the inverse of the regularisation


class AttributionError(ValueError):
    """Families cannot be learned from these data; the message says why in one plain sentence."""


def pooled_features(
    model: FakeDetForImageClassification, images: EvalSet, rows: np.ndarray, copies: int, most_views: int, args
) -> Views:
    """Looks at images once, with a progress bar. What cannot be read, or is tiny, is left out.

    Args:
        rows: Which of the set.
        copies: Augmented copies of each, beside the image as it is.
        most_views: Of each copy, chosen at random; 0 is all that the detector would see.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device, memory_format=torch.channels_last).eval()
    how, side = PRESETS[args.augment], model.config.input_size

    def cut(row: int) -> list[torch.Tensor]:
        try:
            image = open_image(images.encoded(row)[0]).image
            found = []
            for copy in range(1 + copies):
                rng = np.random.default_rng((args.seed, copy, int(images.table["index"][row])))
                views = make_views(augment(image, rng, how) if copy else image, model.config).pixels
                if most_views and len(views) > most_views:
                    views = views[torch.from_numpy(rng.choice(len(views), most_views, replace=False))]
                found.append(views)
        except (ImageError, ValueError):
            return []
        return found if all(views.shape[-1] == side for views in found) else []

    features, image, worn = [], [], []
    looked = prefetch(cut, rows, args.num_workers)
    for place, sets in enumerate(tqdm(looked, total=len(rows), unit="images", desc=f"Looking at {images.split}")):
        for copy, views in enumerate(sets):
            with torch.inference_mode():
                pixels = views.to(device).contiguous(memory_format=torch.channels_last)
                features.append(model.pooled(pixels)[1].float().cpu().numpy())
            image += [place] * len(views)
            worn += [copy > 0] * len(views)
    if not features:
        raise AttributionError(f"No AI-generated image of the split {images.split} can be looked at.")
    own = images.table.iloc[rows].reset_index(drop=True)
    return Views(np.concatenate(features), np.array(image), np.array(worn), own)


def choose_families(train: pd.DataFrame, held_out: pd.DataFrame, args) -> list[str]:
    """The families that both splits have enough images of, from enough collections, and "other" for the rest.

    Args:
        train, held_out: Rows of images whose family is known, with family and source.

    Raises:
        AttributionError: Fewer than two of them, so that there is nothing to tell apart.
    """
    found = []
    for family, mine in train.groupby("family"):
        images, sources, tests = len(mine), mine["source"].nunique(), int((held_out["family"] == family).sum())
        enough = images >= args.least and tests >= args.least_held_out and sources >= args.least_sources
        kept = "kept" if enough or family == OTHER else "too few: other"
        print(f"  {family:<12} {images:6,} images of {sources} collections, {tests:4,} held out  {kept}")
        if enough and family != OTHER:
            found.append(str(family))
    if not found:
        raise AttributionError("No family has enough images to learn it and to measure it.")
    return [*found, OTHER]


def of_known_family(views: Views, families: list[str]) -> tuple[Views, np.ndarray]:
    """The views of images whose family is known, and its place in `families` (N,) of each."""
    truth = true_families(views.of("generator"), families)
    kept = np.array([family is not None for family in truth])
    return views.where(kept), np.array([families.index(family) for family in truth[kept]])


def search(train: Views, held_out: Views, families: list[str], args) -> tuple[Head, float, float | None, dict]:
    """Fits the head with what serves images best that a fit has not seen.

    Returns:
        Head, temperature, threshold (None where no probability is enough), and what was measured in choosing them.
    """
    views, truth = of_known_family(train, families)
    test, test_truth = of_known_family(held_out, families)
    best = None
    for strength in tqdm(STRENGTHS, unit="strengths", desc="Fitting"):
        head = fit_head(views, truth, len(families), strength)
        parts = {"validation": Held(outputs(head, test), test.image, test_truth)}
        if args.least_sources > 1:
            parts = {"collections left out": left_out(views, truth, len(families), strength)} | parts
        first = next(iter(parts.values()))
        temperature, loss = best_temperature(first)
        if best is None or loss < best[0]:
            best = loss, strength, head, temperature, parts
    loss, strength, head, temperature, parts = best
    judged = {name: part.judged(temperature) for name, part in parts.items()}
    threshold = choose_threshold(list(judged.values()), families.index(OTHER), args.target)
    found = {"strength": strength, "temperature": temperature, "threshold": threshold, "log_loss": loss, "parts": {}}
    for name, (likely, labels) in judged.items():
        top = likely.max(1)
        rows = pd.DataFrame({"label": 1, "generator": [families[place] for place in labels],
                             "family": [families[place] for place in likely.argmax(1)]})  # fmt: skip
        shown = (top >= (2 if threshold is None else threshold)) & (rows["family"] != OTHER)
        found["parts"][name] = family_figures(rows.assign(family_named=rows["family"].where(shown, "")), families)
    return head, temperature, threshold, found


def describe(name: str, figures: dict, families: list[str]) -> str:
    """One part's figures as a line and a table."""
    right = figures["accuracy_named"]
    text = f"{name}: {figures['n']:,} images, most likely family right {figures['accuracy']:.1%} (mean over the "
    text += f"families {figures['balanced_accuracy']:.1%}); named {figures['n_named']:,} ({figures['coverage']:.1%})"
    text += "" if right is None else f", of which right {right:.1%}"
    text += f"; names for photographs {figures['n_real_named']} of {figures['n_real']:,}" if figures["n_real"] else ""
    body = confusion_rows(figures["confusion"])
    return f"{text}\n\n{table(['family', 'images', *families, 'named', 'right'], body)}\n"


def attribute(args: argparse.Namespace) -> None:
    """Does the whole job and prints what was found."""
    if not (Path(args.model) / "config.json").is_file():
        raise AttributionError(f"{args.model} is not a checkpoint folder: there is nothing to write the families to.")
    checkpoint = load_checkpoint(args.model)
    sets, rows = {}, {}
    for split, name in (("train", args.train_split), ("held_out", args.split)):
        images = sets[split] = load_evalset(args.data, name)
        if not {"generator", "source"} <= set(images.table.columns):
            raise AttributionError(f"{args.data}, split {name}, lacks the columns source and generator.")
        images.table["family"] = [family_of(generator) for generator in images.table["generator"]]
        rows[split] = np.flatnonzero((images.table["label"] == 1) & images.table["family"].notna())
    families = choose_families(*(sets[split].table.iloc[rows[split]] for split in sets), args)
    looked = {
        "train": pooled_features(checkpoint.model, sets["train"], rows["train"], args.copies, args.views, args),
        "held_out": pooled_features(checkpoint.model, sets["held_out"], rows["held_out"], 0, 0, args),
    }
    head, temperature, threshold, found = search(**looked, families=families, args=args)
    for name, figures in found["parts"].items():
        print("\n" + describe(name, figures, families))
    print(f"C {found['strength']:g}  temperature {temperature:.4f}  threshold {threshold}")
    if args.report:
        record = {"families": families, "target": args.target, **found}
        Path(args.report).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if threshold is None:
        print(f"At no probability are {args.target:.0%} of the names right: the checkpoint names no families.")
        families = []
    if args.dry_run:
        print("Nothing was written (--dry_run).")
    elif families or checkpoint.model.config.families:
        write_head(checkpoint, families, head, temperature, threshold)
        print(f"Written to {args.model}. Its weights file is a new one: run train/export.py and train/evaluate.py.")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 = done, 2 = the model, the data or the arguments cannot be used."""
    parser = argparse.ArgumentParser(prog="train/attribute.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder; its weights and config.json are changed")
    add("--data", required=True, help="as in train/evaluate.py, with the columns source and generator")
    add("--train_split", default="train")
    add("--split", default="validation", help="held-out images")
    add("--target", type=float, default=0.8, help="share of names that are to be right")
    add("--least", type=int, default=50, help="training images of a family; with fewer it is part of other")
    add("--least_held_out", type=int, default=10, help="held-out images of a family")
    add("--least_sources", type=int, default=2, help="collections of a family; 1: choose on --split alone")
    add("--copies", type=int, default=1, help="augmented copies of each training image, beside the image as it is")
    add("--views", type=int, default=3, help="crops of each of these")
    add("--augment", choices=sorted(PRESETS), default="degrade")
    add("--num_workers", type=int, default=2, help="threads that read and cut images ahead of the network")
    add("--seed", type=int, default=0)
    add("--report", metavar="FILE.json", help="write what was measured, too")
    add("--dry_run", action="store_true", help="print, change nothing")
    args = parser.parse_args(argv)
    if not 0 < args.target <= 1:
        parser.error("--target must lie between 0 and 1")
    try:
        attribute(args)
    except (PrepareError, AttributionError, ModelError) as error:
        print(f"attribute: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
