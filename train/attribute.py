"""Fits the layer by which a checkpoint names the generator family of an image that it calls AI-generated.

    python train/attribute.py --model runs/mine/best --data data/prepared
    python train/export.py --model runs/mine/best

The layer is linear and reads the pooled features of the frozen network, so that no score changes. It is fitted by
multinomial logistic regression on the AI-generated images of the split train; every family weighs the same. Images of
one collection resemble each other whatever made them, so held-out images of training collections would give figures
that are too good. Regularisation and temperature are therefore chosen by leaving out one collection at a time. A family
is named from the probability at which at least --target of the names are right, both on left-out collections and on the
split validation. If no probability reaches that, the checkpoint gets no such layer and loses an existing one. Export
the graphs again afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.hub import ModelError, load_checkpoint
from fakedet.images import ImageError, open_image
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.views import make_views
from train.attribution.families import family_of
from train.attribution.family_head import Views, write_head
from train.attribution.selection import AttributionError, choose_families, search
from train.data.augment import PRESETS, augment
from train.data.sources import PrepareError
from train.evaluation.dataset import EvalSet, load_evalset, prefetch
from train.evaluation.report import confusion_rows, table


def load_fakes(args: argparse.Namespace) -> tuple[dict[str, EvalSet], dict[str, np.ndarray]]:
    """Loads both splits, and finds the AI-generated images of known family in each.

    Returns:
        Data set and positions by "train" and "held_out".

    Raises:
        AttributionError: A split lacks the columns source and generator.
    """
    sets, rows = {}, {}
    for part, split in (("train", args.train_split), ("held_out", args.split)):
        images = sets[part] = load_evalset(args.data, split)
        if not {"generator", "source"} <= set(images.table.columns):
            raise AttributionError(f"{args.data}, split {split}, lacks the columns source and generator.")
        images.table["family"] = [family_of(generator) for generator in images.table["generator"]]
        rows[part] = np.flatnonzero((images.table["label"] == 1) & images.table["family"].notna())
    return sets, rows


def cut_views(
    images: EvalSet, row: int, config: FakeDetConfig, copies: int, max_views: int, args: argparse.Namespace
) -> list[torch.Tensor]:
    """Views of one image and of its augmented copies; none of an image that cannot be read or is tiny.

    Args:
        row: Position in the set.
        copies: Number of augmented copies.
        max_views: Of each copy, chosen at random; 0 is all that the detector would score.

    Returns:
        float32 (V, 3, S, S) of the image itself, then of each copy.
    """
    try:
        image = open_image(images.encoded(row)[0]).image
        views = []
        for copy in range(1 + copies):
            rng = np.random.default_rng((args.seed, copy, int(images.table["index"][row])))
            source = augment(image, rng, PRESETS[args.augment]) if copy else image
            pixels = torch.from_numpy(make_views(source, config).pixels)
            if max_views and len(pixels) > max_views:
                pixels = pixels[torch.from_numpy(rng.choice(len(pixels), max_views, replace=False))]
            views.append(pixels)
    except (ImageError, ValueError):
        return []
    return views if all(pixels.shape[-1] == config.input_size for pixels in views) else []


def pooled_features(
    model: FakeDetForImageClassification,
    images: EvalSet,
    rows: np.ndarray,
    copies: int,
    max_views: int,
    args: argparse.Namespace,
) -> Views:
    """Extracts pooled features of images, with a progress bar; images that give no views are left out.

    Args:
        rows: (N,) positions in the set.
        copies, max_views: As in `cut_views`.

    Raises:
        AttributionError: No image gives views.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device, memory_format=torch.channels_last).eval()
    features, image, augmented = [], [], []
    views = prefetch(lambda row: cut_views(images, row, model.config, copies, max_views, args), rows, args.num_workers)
    progress = tqdm(views, total=len(rows), unit="images", desc=f"Features of {images.split}")
    for place, own in enumerate(progress):
        for copy, pixels in enumerate(own):
            with torch.inference_mode():
                pixels = pixels.to(device).contiguous(memory_format=torch.channels_last)
                features.append(model.pooled(pixels)[1].float().cpu().numpy())
            image += [place] * len(pixels)
            augmented += [copy > 0] * len(pixels)
    if not features:
        raise AttributionError(f"No AI-generated image of the split {images.split} can be used.")
    table = images.table.iloc[rows].reset_index(drop=True)
    return Views(np.concatenate(features), np.array(image), np.array(augmented), table)


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
    """Fits, measures and writes the layer, and prints the figures.

    Raises:
        AttributionError: The model or the data cannot be used.
    """
    if not (Path(args.model) / "config.json").is_file():
        raise AttributionError(f"{args.model} is not a checkpoint folder, so the families cannot be written to it.")
    checkpoint = load_checkpoint(args.model)
    sets, rows = load_fakes(args)
    families = choose_families(*(sets[part].table.iloc[rows[part]] for part in sets), args)
    train = pooled_features(checkpoint.model, sets["train"], rows["train"], args.copies, args.views, args)
    held_out = pooled_features(checkpoint.model, sets["held_out"], rows["held_out"], 0, 0, args)
    head, temperature, threshold, figures = search(train, held_out, families, args)
    for name, part in figures["parts"].items():
        print("\n" + describe(name, part, families))
    print(f"C {figures['strength']:g}  temperature {temperature:.4f}  threshold {threshold}")
    if args.report:
        record = {"families": families, "target": args.target, **figures}
        Path(args.report).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if threshold is None:
        print(f"At no probability are {args.target:.0%} of the names right: the checkpoint names no families.")
        families = []
    if args.dry_run:
        print("Nothing was written (--dry_run).")
    elif families or checkpoint.settings.families:
        write_head(checkpoint, families, head, temperature, threshold)
        print(f"Written to {args.model}. The weights have changed: run train/export.py and train/evaluate.py.")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0, or 2 where the model, the data or the arguments cannot be used."""
    parser = argparse.ArgumentParser(
        prog="train/attribute.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder; its weights and config.json are changed")
    add("--data", required=True, help="as in train/evaluate.py, with the columns source and generator")
    add("--train_split", default="train", help="images to fit on")
    add("--split", default="validation", help="held-out images")
    add("--target", type=float, default=0.8, help="share of names that must be right, 0..1")
    add("--least", type=int, default=50, help="training images a family needs; one with fewer counts as other")
    add("--least_held_out", type=int, default=10, help="held-out images a family needs")
    add("--least_sources", type=int, default=2, help="collections a family needs; 1: choose on --split alone")
    add("--copies", type=int, default=1, help="augmented copies of each training image, beside the image itself")
    add("--views", type=int, default=3, help="crops of the image and of each copy")
    add("--augment", choices=sorted(PRESETS), default="degrade", help="augmentation of the copies")
    add("--num_workers", type=int, default=2, help="threads that read and cut images ahead of the network")
    add("--seed", type=int, default=0, help="of augmentation and choice of crops")
    add("--report", metavar="FILE.json", help="also write the figures to this file")
    add("--dry_run", action="store_true", help="print the figures, and write nothing to the checkpoint")
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
