"""The network alone, beside eager PyTorch and what the processor's matrix product would allow. See bench.py."""

from __future__ import annotations

import statistics

import numpy as np
import torch

from fakedet.detector import Detector
from fakedet.network import graph
from fakedet.network.runtime import session_options

from .rivals import SIDE, Hooked
from .turns import in_turns, rows_of


def network(detector: Detector, seconds: float) -> list[dict]:
    """The network alone: at the model's own size, one view and nine, and at 224 pixels."""
    import onnx
    import onnxruntime

    checkpoint, runtime, rows = detector.checkpoint, detector.runtime, []
    model = checkpoint.model.to(memory_format=torch.contiguous_format)  # as eager PyTorch comes

    def session(data: bytes) -> onnxruntime.InferenceSession:
        options = session_options(torch.get_num_threads())
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.fc1, self.fc2 = model.backbone, model.fc1, model.fc2

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.fc2(torch.relu(self.fc1(self.backbone(pixels).mean((2, 3)))))

    hooked = Hooked(Plain(), model.backbone)
    for side, count in ((detector.config.input_size, 1), (detector.config.input_size, 9), (SIDE, 1)):
        whole = onnx.load_from_string(graph.make_graph(model, checkpoint.sha256, side, full=True))
        bare = onnx.ModelProto()
        bare.CopyFrom(whole)
        del bare.graph.output[1]
        mapped, scored = session(whole.SerializeToString()), session(bare.SerializeToString())
        tensor = torch.from_numpy(np.random.default_rng(1).standard_normal((count, 3, side, side), dtype=np.float32))
        pixels = {graph.INPUT: tensor.numpy()}
        ours = f"fakedet ({runtime.name}), logit and map" if runtime.name == "onnx" else "graph, logit and map"
        taken = in_turns(
            {
                ours: lambda s=mapped, p=pixels: s.run(None, p),
                "the same without the map": lambda s=scored, p=pixels: s.run(None, p),
                "same network, PyTorch eager, forward alone": lambda t=tensor: hooked.forward(t),
                "same network, PyTorch eager, Grad-CAM by hooks": lambda t=tensor: hooked.grad_cam(t),
            },
            seconds,
            warm=True,
        )
        rows += rows_of(f"network, {count} view{'s' * (count > 1)} of {side} px", taken, ours)
        rows.append(_limit(hooked.model, tensor, taken[ours]))
    return rows


def _limit(model: torch.nn.Module, pixels: torch.Tensor, ours: list[float]) -> dict:
    """The machine's limit: the network's operations at the speed of a large product of matrices."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pixels)
    one = torch.rand(2048, 2048)
    peak = 2 * 2048**3 / min(in_turns({"product": lambda: one @ one}, 1)["product"]) / 1e6  # operations a second / 1e9
    least = counter.get_total_flops() / peak / 1e6
    told = f"machine's limit: {counter.get_total_flops() / 1e9:.3f} GFLOP at {peak:.0f} GFLOP/s"
    part = f"network, {len(pixels)} view{'s' * (len(pixels) > 1)} of {pixels.shape[-1]} px"
    ratio = round(least / statistics.median(ours), 2)
    return {"part": part, "what": told, "ms": round(least, 2), "turns": 1, "times_ours": [ratio] * 3}
