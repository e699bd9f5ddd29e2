"""The files of ONNX graphs: their names, their inputs and outputs, and where they are cached. Needs no torch.

`graph_export.py` makes a graph, `onnx_runtime.py` checks and runs it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from pathlib import Path

import numpy as np

from .settings import Settings

VERSION = 2  # increased when older graphs must no longer be used
KEY = "fakedet"  # of the metadata entry
INPUT, OUTPUTS, FAMILY, KIND = "pixels", ("logit", "cam"), "family", "kind"
MAX_BYTES = 64 * 2**20  # of a graph file; ours have about 100 kB


class RuntimeUnavailable(ValueError):
    """The network cannot be run as asked; the message gives the reason."""


def sides(config: Settings) -> dict[str, int]:
    """{file name of a graph: side in pixels of its views}, for all graphs of a checkpoint."""
    tiny = config.tiny_input_size
    return {"model.onnx": config.input_size} | ({"model_tiny.onnx": tiny} if tiny else {})


def outputs(config: Settings, side: int) -> tuple[str, ...]:
    """Outputs of the graph for views of `side` pixels: logit, cam, then family and kind where the model has them."""
    optional = {FAMILY: config.tells_families(side), KIND: config.tells_kinds(side)}
    return (*OUTPUTS, *(name for name, given in optional.items() if given))


def check_input(side: int, views: int = 3) -> np.ndarray:
    """The fixed views, float32 (views, 3, side, side), for which a graph and torch must agree, or the first of them."""
    return np.random.default_rng(0).standard_normal((views, 3, side, side), dtype=np.float32)


def cache_path(weights_sha256: str, side: int) -> Path:
    """File of a graph that was exported on demand, in FAKEDET_CACHE or the user's cache folder."""
    return _cache() / f"{weights_sha256}-{side}-v{VERSION}.onnx"


def checked_path(data: bytes, library: str) -> Path:
    """File whose presence says that this graph's outputs were compared with torch's on this machine, and found right.

    Args:
        data: The graph, which names its weights.
        library: Version of what runs it.
    """
    place = f"{library} {platform.node()} {platform.machine()}"
    return _cache() / f"{hashlib.sha256(data + place.encode()).hexdigest()}.checked"


def _cache() -> Path:
    root = os.environ.get("FAKEDET_CACHE")
    return Path(root or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fakedet"))


def names_weights(path: Path, weights_sha256: str) -> bool:
    """Whether a file may be a graph of these weights: it is small enough and holds their sha256."""
    try:
        return path.is_file() and path.stat().st_size <= MAX_BYTES and weights_sha256.encode() in path.read_bytes()
    except OSError:
        return False


def write_graph(data: bytes, path: Path) -> Path:
    """Replaces a file atomically: other processes see the old one, the new one, or none."""
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
