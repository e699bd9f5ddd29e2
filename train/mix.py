"""Mixing the images of a batch: a regulariser for small data sets (`--cutmix`, `--mixup`)."""

from __future__ import annotations

import torch
from timm.data import Mixup


def make_mix(args):
    """A function (pixels (N, 3, S, S), labels (N,)) -> the same with some images mixed and labels in 0..1.

    CutMix pastes a rectangle of another image in and makes the label the share of the area (Yun et al. 2019); what it
    teaches is that evidence is local. mixup blends whole images (Zhang et al. 2018). Each is done to its share of the
    images; `timm.data.Mixup` does the work. In the head phase features are cached and nothing is mixed.
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
        num_classes=2,
    )

    def mix(pixels: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if pixels.ndim != 4 or len(pixels) % 2:  # cached features; the odd rest of an epoch
            return pixels, labels.float()
        pixels, mixed = mixer(pixels, labels)  # (N, 2): the share of real, of fake
        return pixels, mixed[:, 1]

    return mix
