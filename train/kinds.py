"""Fits the layer by which a checkpoint tells what is no photograph: charts, text, screens, drawings, games, renders.

    python train/make_graphics.py --output_dir data/graphics_made --photos data/catalogue/train.parquet
    python train/kinds.py --model runs/mine/best --data data/catalogue --graphics data/catalogue data/graphics_made
    python train/export.py --model runs/mine/best

The layer is linear and reads the frozen network, so that no score changes: mean and deviation of the channels of the
last three stages, and the pooled features, of the view that shows the whole picture. It is fitted on the split
graphics_train of each folder of --graphics (or train, where there is none), and on photographs and AI-generated
pictures of the split train of --data; AI-made art counts as drawn. Pictures come in the three tiers of an evaluation by
turns. Regularisation and threshold are chosen on graphics_validation and on the split validation of --data, so that at
most --photographs of the photographs and --generated of the AI-generated ones count as no photograph. With --test, the
splits graphics_test and test are reported too: score them once. `kinds` in a training config teaches the stages to tell
kinds (train/README.md).
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

import datasets

from fakedet.hub import ModelError, load_checkpoint
from fakedet.images import ImageError, open_image
from fakedet.network.model import features_and_levels
from fakedet.network.views import make_views
from train.attribution import kind_head
from train.data.filters import at_most
from train.data.sources import PrepareError
from train.evaluation.dataset import TIERS, prefetch

PARTS = ("train", "validation", "test")


def load_part(args: argparse.Namespace, part: str) -> tuple[list[datasets.Dataset], pd.DataFrame]:
    """Pictures of one part: all of them; of photographs for training at most --per_source of each class and source.

    For the threshold all are needed: it is set by the few that look least like photographs.

    Raises:
        PrepareError: A file is missing.
    """
    sets, tables = [], []
    rng = np.random.default_rng(args.seed)
    for folder, graphics in [*((own, True) for own in args.graphics), (args.data, False)]:
        names = (f"graphics_{part}", part) if graphics else (part,)
        path = next((own for own in (Path(folder, f"{name}.parquet") for name in names) if own.is_file()), None)
        if path is None:
            if graphics and part == "validation":  # made graphics have no such split
                continue
            raise PrepareError(f"There is no {names[0]}.parquet in {folder}.")
        rows = datasets.Dataset.from_parquet(str(path))
        table = rows.select_columns(["label", "content", "source"]).to_pandas()
        if graphics:
            if table["label"].isin((0, 1)).any():
                raise PrepareError(f"{path} holds photographs or AI-generated pictures, not graphics.")
            table["label"] = -1
        else:
            keep = at_most(table, args.per_source, rng) if part == "train" else np.arange(len(table))
            rows, table = rows.select(keep), table.loc[keep]
        sets.append(rows.cast_column("image", datasets.Image(decode=False)))
        tables.append(table.reset_index(drop=True))
    return sets, pd.concat(tables, ignore_index=True)


def features(model, args: argparse.Namespace, part: str) -> kind_head.Pictures:
    """Features of the pictures of one part, with a progress bar; pictures that cannot be read are left out."""
    sets, table = load_part(args, part)
    places = [(own, row) for own in sets for row in range(len(own))]

    def view(at: int) -> torch.Tensor | None:
        own, row = places[at]
        stored = own[row]["image"]
        try:
            data = stored["bytes"] or Path(stored["path"]).read_bytes()
            data = list(TIERS.values())[at % len(TIERS)].apply(data)
            return torch.from_numpy(make_views(open_image(data).image, model.config, 1).pixels[:1])
        except (ImageError, ValueError, OSError):
            return None

    rows, kept = [], []
    views = prefetch(view, range(len(places)), 2)
    for at, pixels in enumerate(tqdm(views, total=len(places), desc=part, unit="images")):
        if pixels is None or pixels.shape[-1] != model.config.input_size:
            continue
        with torch.inference_mode():
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            _, _, levels = features_and_levels(model.backbone, pixels, kind_head.LEVELS)
            rows.append(torch.cat(levels, 1)[0].numpy())
        kept.append(at)
    return kind_head.Pictures(np.stack(rows), table.iloc[kept].reset_index(drop=True))


def search(train: kind_head.Pictures, held_out: kind_head.Pictures, args: argparse.Namespace) -> tuple:
    """The layer that tells most graphics of the validation part, each content weighing the same, and its threshold."""
    best = None
    for strength in args.strengths:
        head = kind_head.fit(train, strength)
        score = kind_head.not_photo(head, held_out.features)
        threshold = kind_head.choose_threshold(score, held_out, args.photographs, args.generated)
        rows = kind_head.told(score, held_out, threshold)
        share = float(rows[rows["kind"] != "photo"]["told"].mean())
        print(f"C {strength:g}: threshold {threshold:.3f}, graphics told {share:.1%} (mean over their contents)")
        if best is None or share > best[0]:
            best = share, strength, head, threshold
    return best[1:]


def run(args: argparse.Namespace) -> None:
    """Fits, measures and writes the layer, and prints the figures.

    Raises:
        PrepareError, ModelError: The data or the model cannot be used.
    """
    checkpoint = load_checkpoint(args.model)
    model = checkpoint.model.eval()
    parts = {part: features(model, args, part) for part in PARTS[: 3 if args.test else 2]}
    strength, head, threshold = search(parts["train"], parts["validation"], args)
    report = {"strength": strength, "threshold": threshold}
    for part, pictures in list(parts.items())[1:]:
        rows = kind_head.told(kind_head.not_photo(head, pictures.features), pictures, threshold)
        report[part] = rows.to_dict("records")
        print(f"\n{part}: share told as no photograph\n{rows.round(3).to_string(index=False)}")
    if args.report:
        Path(args.report).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.dry_run:
        print("Nothing was written (--dry_run).")
        return
    kind_head.write(load_checkpoint(args.model), head, threshold)
    print(f"Written to {args.model}. The weights have changed: run train/export.py and train/evaluate.py.")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0, or 2 where the model or the data cannot be used."""
    parser = argparse.ArgumentParser(
        prog="train/kinds.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder; its weights and config.json are changed")
    add("--data", required=True, help="folder with train.parquet and validation.parquet, photographs and AI-generated")
    add("--graphics", nargs="+", required=True, help="folders with graphics_SPLIT.parquet or SPLIT.parquet")
    add("--per_source", type=int, default=6, help="photographs, and AI-generated pictures, of each source for training")
    add("--photographs", type=float, default=0.006, help="share of photographs that may count as none, 0..1")
    add("--generated", type=float, default=0.015, help="the same for AI-generated pictures that are not drawn")
    add("--strengths", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2, 3e-2], help="values of C to try")
    add("--seed", type=int, default=0, help="of the choice of pictures")
    add("--test", action="store_true", help="also report the test splits")
    add("--report", metavar="FILE.json", help="also write the figures to this file")
    add("--dry_run", action="store_true", help="print the figures, and write nothing to the checkpoint")
    args = parser.parse_args(argv)
    try:
        run(args)
    except (PrepareError, ModelError) as error:
        print(f"kinds: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
