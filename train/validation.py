"""The network as it is trained, and how a validation split is scored during training."""

from __future__ import annotations

import torch
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from train.data import EvalViews


class Logits(torch.nn.Module):
    """What is trained: raw z from pixels (N, 3, S, S), or from cached pooled features (N, C)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim == 2:
            return self.model.head(inputs)
        return self.model.head(self.model.pooled(inputs.contiguous(memory_format=torch.channels_last))[1])


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
