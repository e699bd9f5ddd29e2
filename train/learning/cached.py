"""The head's phase on a frozen backbone: the backbone runs once, the epochs run over its features."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import torch
from tqdm.auto import tqdm

log = logging.getLogger("fakedet.train")


def cache_features(accelerator, model, loader) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features (N, C) and labels (N,) of one epoch, the same on every process."""
    pooled, labels, began = [], [], time.monotonic()
    for pixels, y in tqdm(loader, desc="features", disable=not accelerator.is_main_process, leave=False):
        with torch.no_grad(), accelerator.autocast():
            y = y[:, 0] if y.ndim == 2 else y  # distillation targets are for the backbone
            features = model.pooled(pixels.contiguous(memory_format=torch.channels_last))[1].float()
        features, y = accelerator.gather_for_metrics((features, y))
        pooled.append(features)
        labels.append(y)
    rate = sum(map(len, labels)) / (time.monotonic() - began)
    log.info("features of %d images for the head, %.1f images/s", sum(map(len, labels)), rate)
    return torch.cat(pooled), torch.cat(labels)


class CachedBatches:
    """One epoch of batches of cached features, in an order that depends on seed and epoch alone.

    Args:
        cache: Of `cache_features`.
        batch_size: Samples per process.
    """

    def __init__(self, accelerator, cache: tuple[torch.Tensor, torch.Tensor], batch_size: int, seed: int, epoch: int):
        self.features, self.labels = cache
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(seed * 1000 + epoch))
        count = accelerator.num_processes
        self.rows = [
            rows.tensor_split(count)[accelerator.process_index]
            for rows in order.split(batch_size * count)
            if len(rows) >= count  # every process has to take part in every step
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def after(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches (features (n, C), labels (n,)) of this process without the first `count`."""
        return ((self.features[rows], self.labels[rows]) for rows in self.rows[count:])
