"""Exports the network as an ONNX graph, which runs without torch.

A graph is exported for one view size and holds no weights: they are inserted by name from `model.safetensors` when the
graph is loaded, so they are stored once and run in fp32. The graph's metadata hold the sha256 of the weights and
torch's outputs for a fixed input: `onnx_runtime` refuses a graph of other weights, or one with other outputs.

Two exact changes make it faster than a plain export. The "same" padding of TensorFlow's convolutions becomes constant
padding of the convolutions themselves, and means over a feature map become GlobalAveragePool. ONNX Runtime then keeps
the blocked layout of its convolutions and need not convert the feature map back and forth.
"""

from __future__ import annotations

import copy
import io
import json
import math
import warnings
from types import MethodType

import torch
from torch import nn

from .graph import INPUT, KEY, VERSION, check_input, outputs
from .model import FakeDetForImageClassification, features_and_levels

OPSET = 17


class _Network(nn.Module):
    """Views in; raw logit, signed Grad-CAM, families and kinds, if any, out. Weights keep their names."""

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
        self.levels = list(model.config.kind_levels) if model.config.tells_kinds(side) else None
        if self.levels is not None:
            self.kind = model.kind
        self.layers = (layers.backbone, layers.fc1, layers.fc2)  # a tuple registers no modules, so the names above stay

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        backbone, fc1, fc2 = self.layers
        if self.levels is None:
            features = backbone.forward_features(pixels)
            pooled = features.mean((2, 3), keepdim=True).flatten(1)
        else:
            features, pooled, levels = features_and_levels(backbone, pixels, self.levels)
        channels, height, width = (int(size) for size in features.shape[1:])  # constants in the graph
        hidden = fc1(pooled)
        # `Layers.cam` of model.py as one matrix product
        weights = ((hidden > 0).to(hidden.dtype) * (fc2.weight / (height * width))) @ fc1.weight
        cam = weights.reshape(-1, 1, channels) @ features.reshape(-1, channels, height * width)
        results = [fc2(torch.relu(hidden)).reshape(-1), cam.reshape(-1, height, width)]
        if self.tells_families:
            results.append(self.family(pooled))
        if self.levels is not None:
            results.append(self.kind(torch.cat(levels, 1)))
        return tuple(results)


def make_graph(model: FakeDetForImageClassification, weights_sha256: str, side: int, full: bool = False) -> bytes:
    """Exports a model.

    Args:
        model: On the CPU, float32, eval mode; it stays unchanged.
        weights_sha256: sha256 of its model.safetensors, hex.
        side: Side in pixels of the views; their number is dynamic.
        full: Include the weights, for programs other than fakedet.

    Returns:
        The ONNX file.

    Raises:
        ImportError: `onnx` is not installed (pip install onnx).
        Exception: torch's exporter does not support an operation; it has no common type of error.
    """
    import onnx

    network = _Network(copy.deepcopy(model), side).eval()
    example = torch.from_numpy(check_input(side))
    with torch.no_grad():
        expected = model.score(example)
        pads = _fix_padding(network, example)
        if not full:  # the exporter merges equal weights, as untrained ones are, and their names would be lost
            for number, value in enumerate(network.state_dict().values()):
                value.copy_(torch.full_like(value, number + 1) if value.ndim == 0 else torch.rand_like(value) + 0.5)
    names = outputs(model.config, side)
    exported = onnx.load_from_string(_trace(network, example, names))
    _pad_in_convolutions(exported.graph, pads)
    _pool_globally(exported.graph, onnx)
    if not full:
        _take_weights_out(exported.graph, set(model.state_dict()), onnx)
    answers = {name: values.double().flatten().tolist() for name, values in zip(names, expected, strict=True)}
    facts = {"version": VERSION, "weights": weights_sha256, "side": side, "torch": torch.__version__} | answers
    exported.metadata_props.add(key=KEY, value=json.dumps(facts))
    return exported.SerializeToString()


def _trace(network: nn.Module, example: torch.Tensor, names: tuple[str, ...]) -> bytes:
    """The ONNX file of torch's tracing exporter: it needs a second; the newer one needs minutes and another package."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), file, dynamo=False, opset_version=OPSET, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps the modules' mode, and with it the names of the weights
            input_names=[INPUT], output_names=list(names),
            dynamic_axes={name: {0: "views"} for name in (INPUT, *names)},
        )  # fmt: skip
    return file.getvalue()


def _fix_padding(network: nn.Module, example: torch.Tensor) -> dict[str, list[int]]:
    """Replaces TensorFlow's "same" padding by constant padding, as computed for the size of this input.

    PyTorch pads both sides alike, so each convolution pads by the larger number, which gives a map of the same size.

    Returns:
        {name of the weight: correct padding [top, left, bottom, right]}.
    """
    from timm.layers import Conv2dSame

    names, paddings = {module: name for name, module in network.named_modules()}, {}

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
        paddings[f"{names[conv]}.weight"] = [top, left, bottom, right]

    convs = [module for module in network.modules() if isinstance(module, Conv2dSame)]
    hooks = [conv.register_forward_pre_hook(fix) for conv in convs]
    network(example)
    for hook in hooks:
        hook.remove()
    return paddings


def _pad_in_convolutions(graph, pads: dict[str, list[int]]) -> None:
    """Sets the paddings of `_fix_padding` on the convolutions."""
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in pads:
            next(item for item in node.attribute if item.name == "pads").ints[:] = pads[node.input[1]]


def _pool_globally(graph, onnx) -> None:
    """Replaces ReduceMean over height and width by GlobalAveragePool."""
    for node in graph.node:
        settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "ReduceMean" and settings.get("axes") == [2, 3] and settings.get("keepdims", 1):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]


def _take_weights_out(graph, names: set[str], onnx) -> None:
    """Keeps name and shape of each weight and marks its values as external."""
    for tensor in graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value="model.safetensors")
