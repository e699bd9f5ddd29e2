"""Extracts features of a large vision network from each training image: distillation targets for a small one.

    python train/distill_features.py --data data/wild --output_dir data/wild_taught \
        --teacher vit_base_patch16_clip_224.openai
    accelerate launch train/finetune.py --config train/configs/wild160.yaml  # has `distill: 4.0`

A small network soon overfits a few thousand images with one label each. An auxiliary linear layer on its pooled
features therefore also regresses principal components of a teacher's features (knowledge distillation, Hinton et al.
2015, arXiv:1503.02531, with features instead of class probabilities). Features of CLIP separate images of generators
that a classifier never saw (Ojha et al. 2023, arXiv:2302.10174). Training and the finished model do not need the
teacher.
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
    """The centre square of an RGB image whose short side is resized to `side` pixels: float32 (3, side, side), 0..1."""
    image = scale_up(shrunk(image, side), side)
    left, top = ((length - side) // 2 for length in image.size)
    return np.asarray(image.crop((left, top, left + side, top + side)), np.float32).transpose(2, 0, 1) / 255


def features_of(outputs: list[np.ndarray]) -> np.ndarray:
    """Features (N, F): the concatenated outputs of a network.

    Of token sequences (N, T, D) the first token and the mean of the others are used, other outputs (N, D) unchanged.
    """
    blocks = []
    for output in outputs:
        blocks += [output] if output.ndim == 2 else [output[:, 0], output[:, 1:].mean(1)]
    return np.concatenate(blocks, 1)


def onnx_teacher(path: str):
    """The network of an ONNX file with one input.

    Returns:
        A function pixels (N, 3, S, S) in 0..1 -> features (N, F), and S (224 if the file leaves it open).
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()[0]
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    side = inputs.shape[-1] if isinstance(inputs.shape[-1], int) else 224
    return lambda pixels: features_of(session.run(None, {inputs.name: (pixels - mean) / std})), side


def timm_teacher(name: str):
    """The same for a timm network with its pretrained weights (downloaded from the Hub once)."""
    import timm
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = timm.create_model(name, pretrained=True, num_classes=0).eval().to(device)
    wanted = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(wanted[key], device=device)[:, None, None] for key in ("mean", "std"))

    @torch.inference_mode()
    def forward(pixels: np.ndarray) -> np.ndarray:
        tokens = model.forward_features((torch.from_numpy(pixels).to(device) - mean) / std)
        last = model.forward_head(tokens, pre_logits=True)
        return features_of([last.float().cpu().numpy()] + [tokens.float().cpu().numpy()] * (tokens.ndim == 3))

    return forward, wanted["input_size"][-1]


def extract_features(data, teacher, side: int, copies: int, batch: int, seed: int) -> np.ndarray:
    """Features (N, F) of each image: the mean over the image and `copies` degraded copies of it."""
    total = None
    for copy in range(copies + 1):
        features = []
        for start in tqdm(
            range(0, len(data), batch), desc=f"teacher, copy {copy}" if copy else "teacher", mininterval=5
        ):
            images = [read_rgb(record) for record in data[start : start + batch]["image"]]
            if copy:
                images = [augment(shrunk(image, 3 * side), np.random.default_rng((seed, copy, start + place)),
                                  PRESETS["degrade"]) for place, image in enumerate(images)]  # fmt: skip
            features.append(teacher(np.stack([central(image, side) for image in images])))
        total = np.concatenate(features) + (0 if total is None else total)
    return total / (copies + 1)


def pca_targets(features: np.ndarray, dims: int) -> np.ndarray:
    """The first `dims` principal components (N, dims) of the features, scaled to a mean variance of 1.

    Each feature is standardised first. The components are not: the first ones carry most information, and their larger
    variance gives them more weight in the loss.
    """
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    components = PCA(min(dims, *scaled.shape), random_state=0).fit_transform(scaled)
    return (components / components.std()).astype(np.float32)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    p = argparse.ArgumentParser(
        prog="distill_features.py",
        description="Adds features of a teacher network to a data set.",
    )
    a = p.add_argument
    a("--data", required=True, help="prepared folder (prepare.py)")
    a("--split", default="train", help="the split that gets the column; the others are copied")
    a("--teacher", required=True, help="timm name of a pretrained network, or an ONNX file with CLIP's normalisation")
    a("--dims", type=int, default=256, help="number of principal components of its features")
    a("--copies", type=int, default=2, help="degraded copies of each image whose features are averaged with its own")
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
    features = extract_features(data, teacher, side, args.copies, args.batch_size, args.seed)
    targets = pca_targets(features, args.dims)
    part = splits[args.split].add_column("teacher", [row.tolist() for row in targets])
    part = part.cast_column("teacher", Sequence(Value("float32")))
    DatasetDict({**splits, args.split: part}).save_to_disk(args.output_dir)
    print(f"{len(targets)} images with {targets.shape[1]} numbers each in {args.output_dir}")


if __name__ == "__main__":
    main()
