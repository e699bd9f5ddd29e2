"""Mixing the images of a batch: a regulariser for small data sets (`--cutmix`, `--mixup`)."""

from __future__ import annotations

import torch
from timm.data import Mixup


def make_mix(args):
    """A function (pixels (N, 3, S, S), labels (N,) or (N, K)) -> the same with some images mixed, labels as floats.

    CutMix pastes a rectangle of another image in and mixes the labels by the share of the area (Yun et al. 2019), which
    favours local evidence. mixup blends whole images (Zhang et al. 2018). Each is applied to its share of the images,
    by `timm.data.Mixup`. Cached features of the head phase are not mixed.

    Args:
        args: Has the shares `cutmix` and `mixup`.
    """
    share = args.cutmix + args.mixup
    if not share:
        return lambda pixels, labels: (pixels, labels.float())
    mixer = Mixup(
        mixup_alpha=0.4 if args.mixup else 0.0,
        cutmix_alpha=1.0 if args.cutmix else 0.0,
        prob=share,
        switch_prob=args.cutmix / share,
        mode="elem",
        label_smoothing=0.0,
    )

    def mix(pixels: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if pixels.ndim != 4 or len(pixels) % 2:  # cached features; an odd batch cannot be paired
            return pixels, labels.float()
        mixer.num_classes = len(labels)  # each image is a class of its own, which gives the shares of any labels
        pixels, shares = mixer(pixels, torch.arange(len(labels), device=labels.device))
        return pixels, shares @ labels.float()

    return mix
