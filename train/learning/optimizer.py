"""The optimizer of a phase and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from train.learning.config import TrainConfig


def make_optimizer(config: TrainConfig, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """AdamW with the weight decay of the configuration, or Adam without any."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=config.weight_decay)
    return torch.optim.Adam(parameters, lr=lr, weight_decay=0.0)


def make_scheduler(config: TrainConfig, optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
    """The learning rate schedule: by optimizer step ("cosine", "constant") or by validation metric ("plateau").

    Args:
        total: Optimizer steps of the phase.
    """
    if config.scheduler == "plateau":
        mode = "min" if config.metric == "loss" else "max"
        return ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=1)
    return LambdaLR(optimizer, lambda step: lr_factor(config, step, total))


def lr_factor(config: TrainConfig, step: int, total: int) -> float:
    """Share (0..1) of the base learning rate at optimizer step `step`, from 0, of the `total` of a phase."""
    if config.scheduler != "cosine":
        return 1.0
    warm = max(1, int(config.warmup_ratio * total))
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
