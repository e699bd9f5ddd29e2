"""Extracts features of a large vision network from each training image: auxiliary targets for a small one.

    python train/distill_features.py --data data/wild --output_dir data/wild_taught \
        --teacher vit_base_patch16_clip_224.openai
    accelerate launch train/finetune.py --config train/configs/wild.yaml     # which says `distill: 4.0`

A few thousand pictures are soon learned by heart, and one bit for each does not say what they show. The features of a
network that has seen hundreds of millions do (CLIP's tell AI images of generators that a classifier never saw: Ojha
et al. 2023, arXiv:2302.10174); to predict them as well, through a linear layer on the pooled features (Hinton et al.
2015, arXiv:1503.02531, with features in place of class probabilities), leaves less room for learning by heart. The
teacher is needed here only: not in training, not in the finished model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from datasets import DatasetDict, Image, Sequence, Value, load_from_disk
from PIL import Image as PILImage
from sklearn.decomposition import PCA
from tqdm.auto import tqdm

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.network.views import scale_up, shrunk
from train.data.augment import PRESETS, augment
from train.data.loading import read_rgb

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of OpenAI's CLIP


def central(image: PILImage.Image, side: int) -> np.ndarray:
    """The middle square of an RGB image, its short side brought to `side` pixels: float32 (3, side, side), 0..1."""
    image = scale_up(shrunk(image, side), side)
    left, top = ((length - side) // 2 for length in image.size)
    return np.asarray(image.crop((left, top, left + side, top + side)), np.float32).transpose(2, 0, 1) / 255


def features_of(outputs: list[np.ndarray]) -> np.ndarray:
    """Features (N, F) of a network's outputs, side by side.

    Outputs (N, D) are taken as they are, of token sequences (N, T, D) the first token and the mean of the others.
    """
    blocks = []
    for output in outputs:
        blocks += [output] if output.ndim == 2 else [output[:, 0], output[:, 1:].mean(1)]
    return np.concatenate(blocks, 1)


def onnx_teacher(path: str):
    """A function pixels (N, 3, S, S) in 0..1 -> features (N, F) of an ONNX file with one input, and S (224 if free)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    side = given.shape[-1] if isinstance(given.shape[-1], int) else 224
    return lambda pixels: features_of(session.run(None, {given.name: (pixels - mean) / std})), side


def timm_teacher(name: str):
    """The same of a timm network with its pretrained weights (from the Hub, once)."""
    import timm
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = timm.create_model(name, pretrained=True, num_classes=0).eval().to(device)
    wants = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(wants[key], device=device)[:, None, None] for key in ("mean", "std"))

    @torch.inference_mode()
    def say(pixels: np.ndarray) -> np.ndarray:
        tokens = model.forward_features((torch.from_numpy(pixels).to(device) - mean) / std)
        last = model.forward_head(tokens, pre_logits=True)
        return features_of([last.float().cpu().numpy()] + [tokens.float().cpu().numpy()] * (tokens.ndim == 3))

    return say, wants["input_size"][-1]


def listen(data, teacher, side: int, copies: int, batch: int, seed: int) -> np.ndarray:
    """Features (N, F) of every image: the mean over the image itself and so many worn copies of it."""
    total = None
    for copy in range(copies + 1):
        found = []
        for start in tqdm(
            range(0, len(data), batch), desc=f"teacher, copy {copy}" if copy else "teacher", mininterval=5
        ):
            images = [read_rgb(record) for record in data[start : start + batch]["image"]]
            if copy:
                images = [augment(shrunk(image, 3 * side), np.random.default_rng((seed, copy, start + place)),
                                  PRESETS["degrade"]) for place, image in enumerate(images)]  # fmt: skip
            found.append(teacher(np.stack([central(image, side) for image in images])))
        total = np.concatenate(found) + (0 if total is None else total)
    return total / (copies + 1)


def lessons(features: np.ndarray, dims: int) -> np.ndarray:
    """The features' first `dims` principal components (N, dims), with a variance of 1 on average over all of them.

    Each feature is standardised first. Principal components are not: the first of them say most, and are to be learned
    first.
    """
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    found = PCA(min(dims, *scaled.shape), random_state=0).fit_transform(scaled)
    return (found / found.std()).astype(np.float32)


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(
        prog="distill_features.py", description="Write down what a teacher says of each training image."
    )
    a = p.add_argument
    a("--data", required=True, help="prepared folder (prepare.py)")
    a("--split", default="train", help="the split that gets the column; the others are copied")
    a("--teacher", required=True, help="timm name of a pretrained network, or an ONNX file with CLIP's normalisation")
    a("--dims", type=int, default=256, help="principal components of its features that are kept")
    a("--copies", type=int, default=2, help="worn copies of each image whose features are averaged with its own")
    a("--batch_size", type=int, default=16)
    a("--seed", type=int, default=0)
    a("--output_dir", required=True)
    args = p.parse_args(argv)
    if not Path(args.data).is_dir():
        p.error(f"no prepared folder at {args.data}")
    splits = load_from_disk(args.data)
    if args.split not in splits:
        p.error(f"{args.data} has no split {args.split}")
    local = Path(args.teacher).suffix == ".onnx"
    if local and not Path(args.teacher).is_file():
        p.error(f"no file {args.teacher}")
    teacher, side = onnx_teacher(args.teacher) if local else timm_teacher(args.teacher)
    data = splits[args.split].cast_column("image", Image(decode=False))
    said = lessons(listen(data, teacher, side, args.copies, args.batch_size, args.seed), args.dims)
    taught = splits[args.split].add_column("teacher", [row.tolist() for row in said])
    taught = taught.cast_column("teacher", Sequence(Value("float32")))
    DatasetDict({**splits, args.split: taught}).save_to_disk(args.output_dir)
    print(f"{len(said)} images with {said.shape[1]} numbers each in {args.output_dir}")


if __name__ == "__main__":
    main()
