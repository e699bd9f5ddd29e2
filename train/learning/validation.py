"""The network and loss of training, and the scores of validation splits during training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from fakedet.network.model import features_and_levels, level_width
from fakedet.network.settings import KINDS
from fakedet.network.views import make_views
from train.data.loading import Source, Unreadable, read_rgb
from train.learning.config import TrainConfig

KIND_LEVELS = (1, 2, 3, 4)  # stages of the backbone; the first is the largest, and tells little


class Logits(torch.nn.Module):
    """The trained network: raw z from pixels (N, 3, S, S), or from cached pooled features (N, C).

    Args:
        num_targets: Distillation targets per image (see distill_features.py). If above 0, the result is
            (N, 1 + num_targets): z, then the output of an auxiliary linear layer on the pooled features. That layer is
            used in training only and is not saved with the model.
        kinds: Whether the result is (N, 1 + K): z, then the raw outputs of an auxiliary layer that tells K kinds of
            picture from mean and deviation of the channels of four stages, and is not saved either.
    """

    def __init__(self, model, num_targets: int = 0, kinds: bool = False):
        super().__init__()
        self.model, self.kind_head = model, None
        if kinds:
            width = level_width(model.backbone, KIND_LEVELS)
            self.kind_head = torch.nn.Sequential(
                torch.nn.BatchNorm1d(width, affine=False), torch.nn.Linear(width, len(KINDS))
            )
        self.distill_head = torch.nn.Linear(model.backbone.num_features, num_targets) if num_targets else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim == 2:
            return self.model.head(inputs)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        if self.kind_head is not None:
            _, pooled, levels = features_and_levels(self.model.backbone, inputs, KIND_LEVELS)
            return torch.cat((self.model.head(pooled)[:, None], self.kind_head(torch.cat(levels, 1))), 1)
        pooled = self.model.pooled(inputs)[1]
        z = self.model.head(pooled)
        return z if self.distill_head is None else torch.cat((z[:, None], self.distill_head(pooled)), 1)


def training_loss(outputs: torch.Tensor, labels: torch.Tensor, config: TrainConfig) -> torch.Tensor:
    """Cross-entropy of z, plus the weighted squared error of the distillation targets or cross-entropy of the kinds.

    Args:
        outputs: Of `Logits`, (N,) or (N, 1 + T).
        labels: (N,) in 0..1, or (N, 2 + T): label, share of the image that has targets, targets. The targets are
            ignored where `outputs` has z only, in the head's phase. With kinds, (N, 2 + K) of `kind_target`.
        config: Has the weights `distill`, of the squared error averaged over the T targets, and `kinds`.
    """
    if outputs.ndim == 1:
        labels = labels if labels.ndim == 1 else labels[:, 0]
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, labels)
    if config.kinds:
        return kinds_loss(outputs, labels, config.kinds)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], labels[:, 0])
    return cross_entropy + config.distill * (labels[:, 1] * (outputs[:, 1:] - labels[:, 2:]).square().mean(1)).mean()


def kinds_loss(outputs: torch.Tensor, labels: torch.Tensor, weight: float) -> torch.Tensor:
    """Cross-entropy of z over the images of a class, plus the weighted cross-entropy of the kinds.

    An image that was mixed with a graphic counts for the kinds only.
    """
    of_class = (labels[:, 1] > 0.999).float()
    z = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], labels[:, 0], of_class, reduction="sum")
    kinds = torch.nn.functional.cross_entropy(outputs[:, 1:], labels[:, 2:])
    return z / of_class.sum().clamp(min=1) + weight * kinds


class EvalViews(torch.utils.data.Dataset):
    """Validation: the centre view of each image, without augmentation. Item i is (pixels, label, source number).

    An image that cannot be read has source number -1.

    Args:
        parts: (source number, data set), all with views of one side.
        config: A FakeDetConfig.
        size: Side of the views in pixels.
    """

    def __init__(self, parts: list[tuple[int, Dataset]], config, size: int):
        self.data = concatenate_datasets([part.select_columns(["image", "label"]) for _, part in parts])
        self.owner = np.repeat([number for number, _ in parts], [len(part) for _, part in parts])
        self.unreadable = Unreadable(len(self.data))
        self.view = SimpleNamespace(**{**config.to_dict(), "input_size": size, "tiny_input_size": 0})

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        record = self.data[index]
        try:
            image = read_rgb(record["image"])
        except Exception as error:
            self.unreadable.add(record["image"], error)
            return torch.zeros(3, self.view.input_size, self.view.input_size), record["label"], -1
        views = make_views(image, self.view, max_views=1)
        return torch.from_numpy(views.pixels[0]), record["label"], int(self.owner[index])


def eval_views(parts: list[tuple[Source, Dataset]], config, size: int) -> list[EvalViews]:
    """The validation splits of all sources; those with views of one side are joined."""
    sides: dict[int, list] = {}
    for number, (source, data) in enumerate(parts):
        sides.setdefault(source.size or size, []).append((number, data))
    return [EvalViews(numbered, config, side) for side, numbered in sides.items()]


@torch.inference_mode()
def validate(accelerator, model, views: list[EvalViews], config: TrainConfig) -> dict:
    """Loss, accuracy at P(fake) 0.5 and AUC of the centre views, per data set (`loss_0`, ...) and their means."""
    net = Logits(model).eval()
    columns = [[], [], []]
    bar = tqdm(total=sum(map(len, views)), desc="validation", unit="img", disable=not accelerator.is_main_process,
               leave=False)  # fmt: skip
    for data in views:
        loader = accelerator.prepare(
            DataLoader(data, config.per_device_eval_batch_size, num_workers=config.num_workers)
        )
        for pixels, labels, owner in loader:
            with accelerator.autocast():
                z = net(pixels)
            gathered = accelerator.gather_for_metrics((z.float(), labels, owner))
            for column, values in zip(columns, gathered, strict=True):
                column.append(values.cpu())
            bar.update(len(z) * accelerator.num_processes)
        accelerator._dataloaders.remove(loader)  # else it becomes part of the saved state
    bar.close()
    return scores(*(torch.cat(column) for column in columns))


def scores(z: torch.Tensor, labels: torch.Tensor, owner: torch.Tensor) -> dict:
    """Loss, accuracy and AUC per data set and their means, of (N,) logits, labels, source numbers (-1: unreadable)."""
    report = {}
    for number in owner[owner >= 0].unique().tolist():
        mine, y = z[owner == number], labels[owner == number]
        report[f"loss_{number}"] = torch.nn.functional.binary_cross_entropy_with_logits(mine, y.float()).item()
        report[f"accuracy_{number}"] = ((mine >= 0).long() == y).double().mean().item()
        report[f"auc_{number}"] = float(roc_auc_score(y, mine)) if y.unique().numel() == 2 else float("nan")
    for name in ("loss", "accuracy", "auc"):
        values = [value for key, value in report.items() if key.startswith(name + "_")]
        report[name] = sum(values) / len(values)
    return report
