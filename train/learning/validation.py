"""The network as it is trained, and how a validation split is scored during training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from fakedet.network.views import make_views
from train.data.loading import Source, Unreadable, read_rgb


class Logits(torch.nn.Module):
    """What is trained: raw z from pixels (N, 3, S, S), or from cached pooled features (N, C).

    Args:
        taught: Auxiliary targets per image (see distill_features.py); with them the result is (N, 1 + taught), z
            first and what a linear layer on the pooled features says of the others behind it. That layer is used in
            training only and is in no checkpoint of the model.
    """

    def __init__(self, model, taught: int = 0):
        super().__init__()
        self.model = model
        self.pupil = torch.nn.Linear(model.backbone.num_features, taught) if taught else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim == 2:
            return self.model.head(inputs)
        pooled = self.model.pooled(inputs.contiguous(memory_format=torch.channels_last))[1]
        z = self.model.head(pooled)
        return z if self.pupil is None else torch.cat((z[:, None], self.pupil(pooled)), 1)


def training_loss(found: torch.Tensor, labels: torch.Tensor, distill: float) -> torch.Tensor:
    """Cross-entropy of z, and the squared error of what a teacher says.

    Args:
        found: Of `Logits`, (N,) or (N, 1 + T).
        labels: (N,) in 0..1, or (N, 2 + T): label, share of the image of which a teacher said something, what it said
            (left alone where `found` has z only: what a teacher says is for the backbone, not for the head's phase).
        distill: Weight of the squared error, which is averaged over the T numbers.
    """
    if found.ndim == 1:
        return torch.nn.functional.binary_cross_entropy_with_logits(found, labels if labels.ndim == 1 else labels[:, 0])
    hard = torch.nn.functional.binary_cross_entropy_with_logits(found[:, 0], labels[:, 0])
    return hard + distill * (labels[:, 1] * (found[:, 1:] - labels[:, 2:]).square().mean(1)).mean()


class EvalViews(torch.utils.data.Dataset):
    """Validation: the centre view of every image, without augmentation. Item i is (pixels, label, source number).

    The source number of an image that cannot be read is -1.

    Args:
        parts: (source number, data set), all seen in views of one side.
        config: A FakeDetConfig.
        size: That side in pixels.
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
        return views.pixels[0], record["label"], int(self.owner[index])


def eval_views(held: list[tuple[Source, Dataset]], config, size: int) -> list[EvalViews]:
    """The validation splits of all sources, those of one side together."""
    sides: dict[int, list] = {}
    for number, (source, data) in enumerate(held):
        sides.setdefault(source.size or size, []).append((number, data))
    return [EvalViews(parts, config, side) for side, parts in sides.items()]


@torch.inference_mode()
def validate(accelerator, model, held: list[EvalViews], args) -> dict:
    """Loss, accuracy at 0.5 and AUC per data set and their means, of the centre views of the validation splits."""
    net = Logits(model).eval()
    rows = [[], [], []]
    bar = tqdm(total=sum(map(len, held)), desc="validation", unit="img", disable=not accelerator.is_main_process,
               leave=False)  # fmt: skip
    for data in held:
        loader = accelerator.prepare(DataLoader(data, args.per_device_eval_batch_size, num_workers=args.num_workers))
        for pixels, labels, owner in loader:
            with accelerator.autocast():
                z = net(pixels)
            for out, part in zip(rows, accelerator.gather_for_metrics((z.float(), labels, owner)), strict=True):
                out.append(part.cpu())
            bar.update(len(z) * accelerator.num_processes)
        accelerator._dataloaders.remove(loader)  # it must not become part of the saved state
    bar.close()
    z, labels, owner = (torch.cat(part) for part in rows)
    z, labels, owner = (part[owner >= 0] for part in (z, labels, owner))  # the others could not be read
    report = {}
    for number in owner.unique().tolist():
        mine, y = z[owner == number], labels[owner == number]
        report[f"loss_{number}"] = torch.nn.functional.binary_cross_entropy_with_logits(mine, y.float()).item()
        report[f"accuracy_{number}"] = ((mine >= 0).long() == y).double().mean().item()
        report[f"auc_{number}"] = float(roc_auc_score(y, mine)) if y.unique().numel() == 2 else float("nan")
    for name in ("loss", "accuracy", "auc"):
        values = [value for key, value in report.items() if key.startswith(name + "_")]
        report[name] = sum(values) / len(values)
    return report
