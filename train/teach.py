"""Write down what a large vision network says of each training image, for a small one to learn beside the labels.

    python train/teach.py --data data/wild --teacher vit_base_patch16_clip_224.openai --output_dir data/wild_taught
    accelerate launch train/finetune.py --config train/configs/wild.yaml     # which says `distill: 16.0`

A few thousand pictures are soon learned by heart, and one bit for each does not say what they show. The features of a
network that has seen hundreds of millions do (CLIP's tell AI images of generators that a classifier never saw: Ojha
et al. 2023, arXiv:2302.10174); to predict them as well, through a linear layer on the pooled features (Hinton et al.
2015, arXiv:1503.02531, with features in place of class probabilities), leaves less room for learning by heart. Last
comes the teacher's opinion: what a logistic regression on these numbers, fitted to other images, says of the label. The
teacher is needed here only: not in training, not in the finished model.

    python train/teach.py --data data/wild_taught --leave_out source=surya_animals --output_dir data/taught_no_surya

forms the opinions anew, without those images' labels, for a test on them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from datasets import DatasetDict, Image, Sequence, Value, load_from_disk
from PIL import Image as PILImage
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fakedet.views import scale_up, shrunk
from train.augment import PRESETS, augment
from train.choose import parse_where, rows_where
from train.data import read_rgb
from train.draws import draw_weights

OPINION = 6.0  # standard deviation of the opinions: as much as the largest principal components, and more
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


def fitted(said: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> LogisticRegression:
    """A logistic regression of labels (N,) on numbers (N, T); weights (N,) are 1 on average."""
    return LogisticRegression(C=0.01, max_iter=200).fit(said, labels, weights)


def opinions(said: np.ndarray, data, weights: np.ndarray, folds: int = 5) -> np.ndarray:
    """What N images' numbers (N, T) say of the label: logits (N, 1), deviating by OPINION.

    Each comes of a logistic regression on the other four fifths of the images, no group in two of them: it says what
    the image is like, not which one it is.

    Args:
        weights: (N,), of the images in the regression; 0 leaves one out.

    Raises:
        ValueError: There is one group only, or the images with a weight are of one class in some fold.
    """
    labels, z = np.asarray(data["label"]), np.zeros(len(said))
    groups = data["group"] if "group" in data.column_names else np.arange(len(data))
    for known, asked in GroupKFold(min(folds, len(np.unique(groups)))).split(said, groups=groups):
        known = known[weights[known] > 0]
        z[asked] = fitted(said[known], labels[known], weights[known]).decision_function(said[asked])
    return (OPINION * z / (z.std() + 1e-6))[:, None]


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="teach.py", description="Write down what a teacher says of each training image.")
    a = p.add_argument
    a("--data", required=True, help="prepared folder (prepare.py)")
    a("--split", default="train", help="the split that gets the column; the others are copied")
    a("--teacher", help="timm name of a pretrained network, or an ONNX file with CLIP's normalisation; none: --data "
                        "has been taught, and only the opinions are formed anew")  # fmt: skip
    a("--dims", type=int, default=256, help="principal components of its features that are kept")
    a("--copies", type=int, default=2, help="worn copies of each image whose features are averaged with its own")
    a("--balance", nargs="*", default=["source", "generator"], help="as `balance` of a data source, for the opinions")
    a("--match", default="source", help="as `match` of a data source, for the opinions")
    a("--unmatched", type=float, default=0.35, help="as `unmatched` of a data source, for the opinions")
    a("--leave_out", nargs="+", default=[], metavar="COLUMN=VALUE,...",
      help="images whose labels may shape no opinion: training leaves them out, to be tested with them")  # fmt: skip
    a("--batch_size", type=int, default=16)
    a("--seed", type=int, default=0)
    a("--output_dir", required=True)
    args = p.parse_args(argv)
    if not Path(args.data).is_dir():
        p.error(f"no prepared folder at {args.data}")
    splits = load_from_disk(args.data)
    if args.split not in splits:
        p.error(f"{args.data} has no split {args.split}")
    data = splits[args.split].cast_column("image", Image(decode=False))
    try:
        rows = rows_where(data, {}, parse_where(args.leave_out))
    except ValueError as error:
        p.error(f"--leave_out: {error}")
    if len(set(data.select(rows)["label"])) < 2:
        p.error("of one class alone no opinion can be formed")
    if args.teacher:
        local = Path(args.teacher).suffix == ".onnx"
        if local and not Path(args.teacher).is_file():
            p.error(f"no file {args.teacher}")
        teacher, side = onnx_teacher(args.teacher) if local else timm_teacher(args.teacher)
        said = lessons(listen(data, teacher, side, args.copies, args.batch_size, args.seed), args.dims)
    elif "teacher" not in data.column_names:
        p.error(f"{args.data} has not been taught: name a --teacher")
    else:
        said = np.array(data["teacher"], np.float32)[:, :-1]
    weights = np.zeros(len(data))
    weights[rows] = draw_weights(data.select(rows), args.balance, 4.0, args.match, args.unmatched) * len(rows)
    try:
        said = np.concatenate((said, opinions(said, data, weights)), 1)
    except ValueError as error:
        p.error(f"no opinion can be formed: {error}")
    taught = splits[args.split].remove_columns([*{"teacher"} & set(data.column_names)])
    taught = taught.add_column("teacher", [row.tolist() for row in said])
    taught = taught.cast_column("teacher", Sequence(Value("float32")))
    DatasetDict({**splits, args.split: taught}).save_to_disk(args.output_dir)
    print(f"{len(said)} images with {said.shape[1]} numbers each, the last an opinion, in {args.output_dir}")


if __name__ == "__main__":
    main()
