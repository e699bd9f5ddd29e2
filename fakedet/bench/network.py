"""Benchmark of the network alone, against eager PyTorch and the limit set by the processor's matrix product."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import torch

from fakedet.detector import Detector
from fakedet.network import graph, graph_export
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.onnx_runtime import session_options

from .baselines import SIDE, HookedGradCam
from .timing import time_interleaved, timing_rows


class PlainNetwork(torch.nn.Module):
    """The layers of a checkpoint without the map: (N, 3, S, S) -> logits (N, 1)."""

    def __init__(self, model: FakeDetForImageClassification):
        super().__init__()
        self.backbone, self.fc1, self.fc2 = model.backbone, model.fc1, model.fc2

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(self.backbone(pixels).mean((2, 3)))))


def bench_network(detector: Detector, seconds: float) -> list[dict]:
    """Times the network at the model's own size, for one view and nine, and at 224 pixels.

    Args:
        detector: Provides model and runtime.
        seconds: Per size and number of views.

    Returns:
        Rows of `timing_rows`.
    """
    model = detector.checkpoint.model.to(memory_format=torch.contiguous_format)  # PyTorch's default layout
    hooked, rows = HookedGradCam(PlainNetwork(model), model.backbone), []
    ours = "fakedet (onnx), logit and map" if detector.runtime.name == "onnx" else "graph, logit and map"
    for side, count in ((detector.config.input_size, 1), (detector.config.input_size, 9), (SIDE, 1)):
        with_map, without_map = _graph_runners(model, detector.checkpoint.sha256, side)
        tensor = torch.from_numpy(np.random.default_rng(1).standard_normal((count, 3, side, side), dtype=np.float32))
        pixels = tensor.numpy()
        timings = time_interleaved(
            {
                ours: lambda run=with_map, p=pixels: run(p),
                "the same without the map": lambda run=without_map, p=pixels: run(p),
                "same network, PyTorch eager, forward alone": lambda t=tensor: hooked.forward(t),
                "same network, PyTorch eager, Grad-CAM by hooks": lambda t=tensor: hooked.grad_cam(t),
            },
            seconds,
            warm_up=True,
        )
        part = f"network, {count} view{'s' * (count > 1)} of {side} px"
        rows += timing_rows(part, timings, ours)
        rows.append(_limit_row(part, hooked.model, tensor, timings[ours]))
    return rows


def _graph_runners(model: FakeDetForImageClassification, sha256: str, side: int) -> list[Callable]:
    """Functions that run the exported graph on pixels (N, 3, side, side), with the map and without."""
    import onnx
    import onnxruntime

    with_map = onnx.load_from_string(graph_export.make_graph(model, sha256, side, full=True))
    without_map = onnx.ModelProto()
    without_map.CopyFrom(with_map)
    del without_map.graph.output[1]
    runners = []
    for proto in (with_map, without_map):
        options = session_options(torch.get_num_threads())
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        runners.append(lambda pixels, session=session: session.run(None, {graph.INPUT: pixels}))
    return runners


def _limit_row(part: str, model: torch.nn.Module, pixels: torch.Tensor, ours: list[float]) -> dict:
    """The machine's limit: the network's operations at the speed of a large matrix product.

    Args:
        part: Name of the part.
        model: The network.
        pixels: Its input.
        ours: Milliseconds of each turn of fakedet's graph.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pixels)
    matrix = torch.rand(2048, 2048)
    fastest_ms = min(time_interleaved({"product": lambda: matrix @ matrix}, 1)["product"])
    gflops = 2 * 2048**3 / fastest_ms / 1e6  # 1e9 operations per second
    min_ms = counter.get_total_flops() / gflops / 1e6
    name = f"machine's limit: {counter.get_total_flops() / 1e9:.3f} GFLOP at {gflops:.0f} GFLOP/s"
    ratio = round(min_ms / statistics.median(ours), 2)
    return {"part": part, "what": name, "ms": round(min_ms, 2), "turns": 1, "times_ours": [ratio] * 3}
