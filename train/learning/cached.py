"""The head's phase on a frozen backbone: features once, then epochs over them."""

from __future__ import annotations

import logging
import time

import torch
from tqdm.auto import tqdm

log = logging.getLogger("fakedet.train")


def cache_features(accelerator, model, loader) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features (N, C) and labels (N,) of one epoch, run through the frozen backbone once, on every process."""
    pooled, labels, began = [], [], time.monotonic()
    for pixels, y in tqdm(loader, desc="features", disable=not accelerator.is_main_process, leave=False):
        with torch.no_grad(), accelerator.autocast():
            y = y[:, 0] if y.ndim == 2 else y  # what a teacher says is for the backbone
            features = model.pooled(pixels.contiguous(memory_format=torch.channels_last))[1].float()
        features, y = accelerator.gather_for_metrics((features, y))
        pooled.append(features)
        labels.append(y)
    found = torch.cat(pooled), torch.cat(labels)
    rate = len(found[1]) / (time.monotonic() - began)
    log.info("features of %d images for the head, %.1f images/s", len(found[1]), rate)
    return found


def shuffled(accelerator, features, labels, args, epoch: int):
    """This process's part of each batch of cached features, in an order that depends on seed and epoch alone."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(args.seed * 1000 + epoch))
    for rows in order.split(args.per_device_train_batch_size * accelerator.num_processes):
        if len(rows) >= accelerator.num_processes:  # every process has to take part in every step
            mine = rows.tensor_split(accelerator.num_processes)[accelerator.process_index]
            yield features[mine], labels[mine]
