"""Runs the network: views in, one raw logit and one map per view out. Same outputs whatever runs it."""

from __future__ import annotations

import numpy as np
import torch

from .model import FakeDetForImageClassification

RUNTIMES = ("torch",)


class TorchRuntime:
    """PyTorch in channels_last and inference mode, on the given device."""

    name = "torch"

    def __init__(self, model: FakeDetForImageClassification, device: str | torch.device | None = None):
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Raw logits float32 (N,) and signed Grad-CAM maps float32 (N, h, w) for pixels (N, 3, S, S)."""
        out = self.model(pixels.to(self.device))
        return out.logit.float().cpu().numpy(), out.cam.float().cpu().numpy()


def make_runtime(model: FakeDetForImageClassification, runtime: str = "auto") -> TorchRuntime:
    """The runtime by name; "auto" takes the fastest that is installed and agrees.

    Raises:
        ValueError: No runtime of that name.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise ValueError(f"no runtime named {runtime!r}; there are: auto, {', '.join(RUNTIMES)}")
    return TorchRuntime(model)
