"""Fits the last layer of a trained checkpoint anew, so that it ranks pictures of unseen sources better.

    python train/refit.py --model runs/mine/best --data data/catalogue
    python train/calibrate.py --model runs/mine/best --data data/catalogue
    python train/export.py --model runs/mine/best

The rest of the network is frozen. Pooled features of the split train (the view that shows the whole picture, and one
crop; the three tiers of an evaluation by turns; at most --per_source of each class and source) go into a logistic
regression with strong regularisation and every source counted alike. The new logit is the weighted mean of this and of
the trained layer's. AUC over all and inside sources that hold both classes is printed for both and for their mean, on
the split validation (web tier). Scores change, so calibrate and export afterwards.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.hub import WEIGHTS, ModelError, load_checkpoint, save_checkpoint
from fakedet.images import ImageError, open_image
from fakedet.network.views import make_views
from train.attribution.family_head import stored_as_half
from train.data.filters import at_most
from train.data.sources import PrepareError
from train.evaluation.dataset import TIERS, EvalSet, load_evalset, prefetch
from train.evaluation.intervals import matched_auc
from train.learning import last_layer


def extract(model, images: EvalSet, rows: np.ndarray, tiers: list[str], args: argparse.Namespace) -> last_layer.Views:
    """Pooled features of the whole and one crop of each picture, with a progress bar.

    Pictures that cannot be read or are tiny give no views.

    Args:
        rows: (N,) positions in the set.
        tiers: Names of tiers, taken by turns.

    Raises:
        PrepareError: No picture gives views.
    """

    def cut(at: int) -> torch.Tensor | None:
        try:
            stored = images.encoded(rows[at])[0]
            data = stored if isinstance(stored, bytes) else Path(stored).read_bytes()
            picture = open_image(TIERS[tiers[at % len(tiers)]].apply(data)).image
            pixels = make_views(picture, model.config).pixels
        except (ImageError, ValueError, OSError):
            return None
        if pixels.shape[-1] != model.config.input_size:
            return None
        other = np.random.default_rng((args.seed, int(rows[at]))).integers(1, len(pixels), 1 if len(pixels) > 1 else 0)
        return torch.from_numpy(pixels[[0, *other]])

    pooled, image = [], []
    views = prefetch(cut, range(len(rows)), args.num_workers)
    for at, pixels in enumerate(tqdm(views, total=len(rows), unit="images", desc=images.split)):
        if pixels is not None:
            with torch.inference_mode():
                pooled.append(model.pooled(pixels.contiguous(memory_format=torch.channels_last))[1].numpy())
            image += [at] * len(pixels)
    if not pooled:
        raise PrepareError(f"No picture of the split {images.split} can be used.")
    return last_layer.Views(np.concatenate(pooled), np.array(image), images.table.iloc[rows].reset_index(drop=True))


def describe(name: str, views: last_layer.Views, logit: np.ndarray) -> str:
    """One line: AUC over all pictures and inside sources of both classes."""
    frame = views.table.assign(p_fake=views.per_image(logit)).dropna(subset=["p_fake"])
    inside = matched_auc(frame) if "source" in frame else {"auc": None}
    text = f"{name}: AUC {roc_auc_score(frame['label'], frame['p_fake']):.4f}"
    return text if inside["auc"] is None else f"{text}, inside {inside['sources']} sources {inside['auc']:.4f}"


def run(args: argparse.Namespace) -> None:
    """Fits, measures and writes the layer.

    Raises:
        PrepareError, ModelError: The data or the model cannot be used.
    """
    checkpoint = load_checkpoint(args.model)
    if not (Path(args.model) / "config.json").is_file():
        raise ModelError(f"{args.model} is not a checkpoint folder, so its last layer cannot be written.")
    model = checkpoint.model.eval()
    sets = [load_evalset(args.data, split) for split in (args.train_split, args.split)]
    rows = np.arange(len(sets[0]))
    if "source" in sets[0].table and args.per_source:
        rows = at_most(sets[0].table, args.per_source, np.random.default_rng(args.seed))
    train = extract(model, sets[0], rows, list(TIERS), args)
    held_out = extract(model, sets[1], np.arange(len(sets[1])), ["web"], args)
    for views in (train, held_out):
        if len(set(views.label)) < 2:
            raise PrepareError(f"Both splits of {args.data} need photographs and AI-generated pictures.")
    linear = last_layer.fit(train, args.strength)
    print(describe("trained layer", held_out, last_layer.own_logit(model, held_out.pooled)))
    print(describe("linear layer", held_out, held_out.pooled @ linear[0] + linear[1]))
    last_layer.join(model, linear, train.pooled, args.share)
    print(describe(f"mean, {args.share:g} of the linear", held_out, last_layer.own_logit(model, held_out.pooled)))
    if args.dry_run:
        print("Nothing was written (--dry_run).")
        return
    save_checkpoint(model, checkpoint.folder, half=stored_as_half(checkpoint.folder / WEIGHTS))
    print(f"Written to {args.model}. Scores have changed: run train/calibrate.py and train/export.py.")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0, or 2 where the model or the data cannot be used."""
    parser = argparse.ArgumentParser(
        prog="train/refit.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="checkpoint folder; its weights are changed")
    add("--data", required=True, help="as in train/evaluate.py")
    add("--train_split", default="train", help="pictures to fit on")
    add("--split", default="validation", help="held-out pictures, of other sources")
    add("--share", type=float, default=0.6, help="of the linear layer in the new logit, 0..1")
    add("--strength", type=float, default=3e-4, help="C of the logistic regression, the inverse of the regularisation")
    add("--per_source", type=int, default=6, help="pictures of each class and source to fit on; 0: all")
    add("--num_workers", type=int, default=2, help="threads that read and cut images ahead of the network")
    add("--seed", type=int, default=0, help="of the choice of pictures and crops")
    add("--dry_run", action="store_true", help="print the figures, and write nothing to the checkpoint")
    args = parser.parse_args(argv)
    if not 0 < args.share <= 1:
        parser.error("--share must lie above 0 and be at most 1")
    if not args.strength > 0 or args.per_source < 0:
        parser.error("--strength must be above 0, and --per_source not negative")
    try:
        run(args)
    except (PrepareError, ModelError, ValueError) as error:
        print(f"refit: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
