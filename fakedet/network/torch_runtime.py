"""Runs the network with PyTorch, on a GPU or the CPU. Imported only where PyTorch is to be used."""

from __future__ import annotations

import numpy as np
import torch

from .model import FakeDetForImageClassification

VIEWS_AT_ONCE = 32  # a larger batch is not faster and takes more memory


class TorchRuntime:
    """PyTorch in channels_last and inference mode, on the given device."""

    name = "torch"

    def __init__(self, model: FakeDetForImageClassification, device: str | torch.device | None = None):
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray | torch.Tensor) -> tuple[np.ndarray, ...]:
        """Raw logits float32 (N,) and signed Grad-CAM maps float32 (N, h, w) for pixels float32 (N, 3, S, S).

        Raw family outputs, float32 (N, F), come third where the checkpoint has them for this view size.
        """
        parts = []
        for views in torch.as_tensor(pixels).split(VIEWS_AT_ONCE):
            parts.append([output.float().cpu().numpy() for output in self.model.score(views.to(self.device))])
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
