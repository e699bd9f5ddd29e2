"""The network as an ONNX graph: made once with torch, run without it.

A graph is made for one side of the views and holds no weights. They are put in by name from `model.safetensors` when
the graph is loaded, so they lie on disk once, and what runs is fp32 of exactly those numbers. The graph carries the
sha256 of the weights that it was made with and what torch answered to a fixed input: a graph of other weights is never
used, and one that answers otherwise is refused (see `runtime`).

What makes it faster than a plain export is exact: the "same" padding of TensorFlow's convolutions is written as the
numbers that it is for this side, into the convolutions themselves, and means over a feature map become
GlobalAveragePool. ONNX Runtime then stays in the blocked layout of its convolutions, where it would else copy the map
to and fro.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import tempfile
import warnings
from pathlib import Path
from types import MethodType

import numpy as np
import torch
from torch import nn

from .model import FakeDetForImageClassification

VERSION = 2  # raised when graphs of old versions must not be used any more
OPSET = 17
KEY = "fakedet"  # of the entry in the graph's metadata
INPUT, OUTPUTS, FAMILY = "pixels", ("logit", "cam"), "family"


def sides(config) -> dict[str, int]:
    """File name of each graph that a checkpoint has -> side in pixels of its views."""
    tiny = getattr(config, "tiny_input_size", 0)
    return {"model.onnx": config.input_size} | ({"model_tiny.onnx": tiny} if tiny else {})


def outputs(config, side: int) -> tuple[str, ...]:
    """Names of what a graph for views of `side` pixels gives: logit and cam, and where it tells families, family."""
    return (*OUTPUTS, FAMILY) if config.tells_families(side) else OUTPUTS


def check_input(side: int) -> np.ndarray:
    """The fixed views, float32 (3, 3, side, side), that a graph and torch must answer alike."""
    return np.random.default_rng(0).standard_normal((3, 3, side, side), dtype=np.float32)


class _Network(nn.Module):
    """Views in, raw logit, signed Grad-CAM and families (where told) out; its weights are named as the checkpoint's."""

    def __init__(self, model: FakeDetForImageClassification, side: int):
        super().__init__()
        layers = model.network_for(side)
        if layers is model:
            self.backbone, self.fc1, self.fc2 = layers.backbone, layers.fc1, layers.fc2
        else:
            self.tiny = layers
        self.tells_families = model.config.tells_families(side)
        if self.tells_families:
            self.family = model.family
        self.layers = (layers.backbone, layers.fc1, layers.fc2)  # a tuple: the names above are the ones that count

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        backbone, fc1, fc2 = self.layers
        features = backbone.forward_features(pixels)
        channels, height, width = (int(size) for size in features.shape[1:])  # numbers in the graph, not read each time
        pooled = features.mean((2, 3), keepdim=True).flatten(1)
        hidden = fc1(pooled)
        # `Layers.cam` of model.py, as one product of matrices
        weights = ((hidden > 0).to(hidden.dtype) * (fc2.weight / (height * width))) @ fc1.weight
        cam = weights.reshape(-1, 1, channels) @ features.reshape(-1, channels, height * width)
        found = fc2(torch.relu(hidden)).reshape(-1), cam.reshape(-1, height, width)
        return (*found, self.family(pooled)) if self.tells_families else found


def make_graph(model: FakeDetForImageClassification, weights_sha256: str, side: int, full: bool = False) -> bytes:
    """Exports a model.

    Args:
        model: On the CPU, float32, eval mode; it is not changed.
        weights_sha256: Of its model.safetensors.
        side: Side in pixels of the views; the number of views is free.
        full: Keep the weights inside, for programs other than fakedet.

    Returns:
        The ONNX file.

    Raises:
        ImportError: `onnx` is not installed (pip install onnx).
        Exception: Whatever torch's exporter raises for an operation that it does not know.
    """
    import onnx

    network = _Network(copy.deepcopy(model), side).eval()
    example = torch.from_numpy(check_input(side))
    with torch.no_grad():
        expected = model.score(example)
        pads = _fix_padding(network, example)
        if not full:  # the exporter merges weights that are equal, as new ones are; then their names would be gone
            for number, value in enumerate(network.state_dict().values()):
                value.copy_(torch.full_like(value, number + 1) if value.ndim == 0 else torch.rand_like(value) + 0.5)
    written, names = io.BytesIO(), outputs(model.config, side)
    with warnings.catch_warnings():
        # The exporter that traces: it needs a second where the newer one needs minutes, and one package less.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), written, dynamo=False, opset_version=OPSET, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # the mode of the modules is kept; so are the weights' names
            input_names=[INPUT], output_names=list(names),
            dynamic_axes={name: {0: "views"} for name in (INPUT, *names)},
        )  # fmt: skip
    graph = onnx.load_from_string(written.getvalue())
    _pad_in_convolutions(graph.graph, pads)
    _pool_globally(graph.graph, onnx)
    if not full:
        _take_weights_out(graph.graph, set(model.state_dict()), onnx)
    said = {name: found.double().flatten().tolist() for name, found in zip(names, expected, strict=True)}
    facts = {"version": VERSION, "weights": weights_sha256, "side": side, "torch": torch.__version__} | said
    graph.metadata_props.add(key=KEY, value=json.dumps(facts))
    return graph.SerializeToString()


def write_graph(data: bytes, path: Path) -> Path:
    """Writes a file as a whole: another process sees the old one, the new one, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
    return path


def _fix_padding(network: nn.Module, example: torch.Tensor) -> dict[str, list[int]]:
    """Makes each convolution with TensorFlow's "same" padding pad by the numbers that this input gives.

    PyTorch pads alike on both sides, so each is made to pad by the larger number, for which the map has the same size.

    Returns:
        Name of the weight -> the padding that is right: top, left, bottom, right.
    """
    from timm.layers import Conv2dSame

    names, found = {module: name for name, module in network.named_modules()}, {}

    def fix(conv: Conv2dSame, inputs: tuple) -> None:
        pads = []
        for side, kernel, stride, step in zip(
            inputs[0].shape[2:], conv.kernel_size, conv.stride, conv.dilation, strict=True
        ):
            total = max((math.ceil(side / stride) - 1) * stride + (kernel - 1) * step + 1 - side, 0)
            pads.append((total // 2, total - total // 2))
        (top, bottom), (left, right) = pads

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            padding = (bottom, right)
            return nn.functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

        conv.forward = MethodType(forward, conv)
        found[f"{names[conv]}.weight"] = [top, left, bottom, right]

    convs = [module for module in network.modules() if isinstance(module, Conv2dSame)]
    hooks = [conv.register_forward_pre_hook(fix) for conv in convs]
    network(example)
    for hook in hooks:
        hook.remove()
    return found


def _pad_in_convolutions(graph, pads: dict[str, list[int]]) -> None:
    """Writes the padding of `_fix_padding` into the convolutions."""
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in pads:
            next(item for item in node.attribute if item.name == "pads").ints[:] = pads[node.input[1]]


def _pool_globally(graph, onnx) -> None:
    """Turns ReduceMean over height and width into GlobalAveragePool."""
    for node in graph.node:
        settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "ReduceMean" and settings.get("axes") == [2, 3] and settings.get("keepdims", 1):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]


def _take_weights_out(graph, names: set[str], onnx) -> None:
    """Leaves name and shape of each weight and says that the numbers are elsewhere."""
    for tensor in graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value="model.safetensors")
