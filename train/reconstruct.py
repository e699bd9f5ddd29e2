"""Makes aligned fakes: real crops and their reconstructions by an autoencoder, with the same content and size.

    python train/reconstruct.py --data data/wild --output_dir data/aligned \
        --encoder E.safetensors --decoder D.safetensors

Such a pair differs only in the traces of the decoder: subject, framing and light are the same (Rajan et al. 2024,
"Aligned datasets improve detection of latent diffusion-generated images", arXiv:2410.11835). Both images of a pair are
stored losslessly. Training has to degrade both classes identically, because a reconstruction lacks the JPEG grid that
most photographs have.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage
from tqdm.auto import tqdm

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.augment import random_crop
from train.data.autoencoder import TinyAutoencoder
from train.data.loading import load_split, read_rgb

FEATURES = Features(
    {"image": Image(), "label": ClassLabel(names=["real", "fake"])}
    | {name: Value("string") for name in ("source", "generator", "group")}
)


def lossless(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as PNG."""
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def crops(data: Dataset, size: int, seed: int, max_samples: int | None):
    """Yields (uint8 crop (size, size, 3), row) of real images that are large enough, in random order."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(np.asarray(data["label"]) == 0))
    for row in tqdm(rows[:max_samples], desc="Reconstructing", unit="images", mininterval=5):
        image = read_rgb(data[int(row)]["image"])
        if min(image.size) >= size:
            yield np.asarray(random_crop(image, size, rng)), int(row)


def pairs(data: Dataset, net: TinyAutoencoder, args: argparse.Namespace):
    """Yields the rows of the new data set: each real crop, then its reconstruction."""
    grouped = "group" in data.column_names
    batch: list = []

    def flush():
        pixels = torch.from_numpy(np.stack([crop for crop, _ in batch])).permute(0, 3, 1, 2).float() / 255
        fakes = (net(pixels).permute(0, 2, 3, 1) * 255).round().byte().numpy()
        for (crop, row), fake in zip(batch, fakes, strict=True):
            record = {"source": "aligned", "group": str(data[row]["group"]) if grouped else str(row)}
            for label, image in enumerate((crop, fake)):
                name = args.generator if label else ""
                yield {"image": {"bytes": lossless(image), "path": None}, "label": label, "generator": name, **record}
        batch.clear()

    for item in crops(data, args.size, args.seed, args.max_samples):
        batch.append(item)
        if len(batch) == args.batch_size:
            yield from flush()
    if batch:
        yield from flush()


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    p = argparse.ArgumentParser(
        prog="reconstruct.py", description="Makes aligned fakes from the real images of a prepared data set."
    )
    a = p.add_argument
    a("--data", required=True, help="prepared folder (prepare.py)")
    a("--split", default="train")
    a("--encoder", required=True, help="safetensors file of TAEF2's encoder")
    a("--decoder", required=True, help="safetensors file of TAEF2's decoder")
    a("--generator", default="taef2-reconstruction", help="value of the column `generator` for the fakes")
    a("--size", type=int, default=160, help="side of the crops in pixels, a multiple of 8")
    a("--max_samples", type=int, help="maximum number of real images")
    a("--batch_size", type=int, default=8)
    a("--seed", type=int, default=0)
    a("--output_dir", required=True)
    args = p.parse_args(argv)
    if args.size % 8:
        p.error("--size must be a multiple of 8")
    for path in (args.encoder, args.decoder):
        if not Path(path).is_file():
            p.error(f"no file {path}")
    data = load_split(args.data, args.split)
    if data is None:
        p.error(f"{args.data} has no split {args.split}")
    net = TinyAutoencoder(args.encoder, args.decoder)
    result = Dataset.from_generator(pairs, features=FEATURES, gen_kwargs={"data": data, "net": net, "args": args})
    if not len(result):
        p.error(f"{args.data} has no real image of {args.size} pixels a side")
    DatasetDict({"train": result}).save_to_disk(args.output_dir)
    print(f"{len(result) // 2} pairs in {args.output_dir}")


if __name__ == "__main__":
    main()
