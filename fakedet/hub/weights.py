"""Reads and checks model.safetensors with numpy alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

import numpy as np
from safetensors import SafetensorError, deserialize

from fakedet.network.settings import Settings

from .pull import ModelError

NAME = "model.safetensors"
MAX_HEADER = 8 * 2**20  # bytes
FLOATS = {"F16": np.float16, "BF16": np.uint16, "F32": np.float32}  # how each stored type is read
INTEGER = "I64"

Header = dict[str, tuple[str, list[int]]]  # of each tensor: type and shape


def read_header(data: bytes) -> Header:
    """The tensors that a safetensors file says it holds.

    Raises:
        ModelError: Not a safetensors file.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        if length > MAX_HEADER:
            raise ValueError("its header is too large")
        header = json.loads(data[8 : 8 + length])
        return {key: (row["dtype"], list(row["shape"])) for key, row in header.items() if key != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{NAME} is corrupt: {type(error).__name__} in its header") from None


def check_header(stored: Header, expected: dict[str, tuple[tuple[str, ...], list[int]]], backbone: str) -> None:
    """Compares a file's tensors with those of the network.

    Args:
        stored: From `read_header`.
        expected: Of each tensor: the allowed types, and the shape.
        backbone: Name for the message.

    Raises:
        ModelError: Tensors of other names, shapes or types.
    """
    wrong = [key for key in expected.keys() | stored.keys()
             if key not in stored or key not in expected or stored[key][1] != expected[key][1]
             or stored[key][0] not in expected[key][0]]  # fmt: skip
    if wrong:
        raise ModelError(f"{NAME} does not fit {backbone}: {len(wrong)} tensors differ, among them {min(wrong)[:100]}")


def check_head(stored: Header, settings: Settings) -> None:
    """Compares the tensors of the head, whose shapes follow from the settings alone, and all types.

    Raises:
        ModelError: Tensors of other names, shapes or types.
    """
    stored_head = {key: value for key, value in stored.items() if "backbone." not in key}
    floats, hidden = tuple(FLOATS), settings.hidden_size
    expected = {}
    for prefix in ("", "tiny.") if settings.tiny_network else ("",):
        channels = stored.get(f"{prefix}fc1.weight", ("", []))[1][1:]
        shapes = {"fc1.weight": [hidden, *channels], "fc1.bias": [hidden], "fc2.weight": [1, hidden], "fc2.bias": [1]}
        if settings.families and not prefix:
            count = len(settings.families)
            shapes |= {"family.weight": [count, *channels], "family.bias": [count]}
        if settings.kinds and not prefix:
            count, width = len(settings.kinds), stored.get("kind.weight", ("", []))[1][1:]  # by the backbone's stages
            shapes |= {"kind.weight": [count, *width], "kind.bias": [count]}
        expected |= {prefix + key: (floats, shape) for key, shape in shapes.items()}
    check_header(stored_head, expected, settings.backbone)
    if wrong := [key for key, (kind, _) in stored.items() if kind not in (*FLOATS, INTEGER)]:
        raise ModelError(f"{NAME} holds a tensor of another type than weights have, {min(wrong)[:100]}")


class Tensors(Mapping):
    """The tensors of a safetensors file by name; floats as float32, which loses nothing.

    A tensor is converted when it is first asked for: one picture needs one of two networks.

    Args:
        data: A file whose header was checked.

    Raises:
        ModelError: It is corrupt; when a tensor is asked for: it holds values that are not finite.
    """

    def __init__(self, data: bytes):
        try:
            self._tensors: dict[str, dict | np.ndarray] = dict(deserialize(data))
        except SafetensorError as error:
            raise ModelError(f"{NAME} is corrupt: {error}") from None

    def __getitem__(self, key: str) -> np.ndarray:
        tensor = self._tensors[key]
        if isinstance(tensor, dict):  # as stored; its bytes are given up
            tensor = self._tensors[key] = as_array(key, tensor)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def size(self, key: str) -> int:
        """How many numbers a tensor holds."""
        tensor = self._tensors[key]
        return math.prod(tensor["shape"] if isinstance(tensor, dict) else tensor.shape)


def as_array(key: str, stored: dict) -> np.ndarray:
    """A tensor that safetensors has read.

    Raises:
        ModelError: It holds values that are not finite.
    """
    values = np.frombuffer(stored["data"], FLOATS.get(stored["dtype"], np.int64)).reshape(stored["shape"])
    if stored["dtype"] == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    if stored["dtype"] in FLOATS:
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ModelError(f"{NAME} holds values that are not finite, in {key}")
    return values
