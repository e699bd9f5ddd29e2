"""Loads checkpoints (Hub id, folder, bundled) and saves them.

Only safetensors are read, and only into our own classes: no pickle, no code from a repository. Configuration, tensor
names, shapes and finite values are checked before a checkpoint is used. Loading needs no torch where ONNX graphs of the
weights are at hand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fakedet.network import graph
from fakedet.network.settings import Settings

from . import weights
from .pull import ModelError, fetch, save_ref

if TYPE_CHECKING:
    from fakedet.network.model import FakeDetForImageClassification

BUNDLED = Path(__file__).resolve().parents[1] / "pretrained"
WEIGHTS = weights.NAME
REQUIRED = ("config.json", WEIGHTS)
GRAPHS = ("model.onnx", "model_tiny.onnx")  # see network/graph_export.py; exported on demand where missing
FILES = (*REQUIRED, "README.md", "report.json", *GRAPHS)
PARTIAL = ".partial-"
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
MAX_CONFIG, MAX_WEIGHTS = 2**20, 4 * 2**30  # bytes


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint and its origin.

    Attributes:
        settings: Of config.json.
        weights: Tensors by name; floats are float32. One that holds values that are not finite raises a ModelError
            when it is asked for.
        id: Hub id, folder name, or "bundled".
        revision: Commit sha on the Hub, else None.
        sha256: Of the weights file, hex.
        folder: Folder of its files.
        note: One sentence on why this checkpoint is used.
    """

    settings: Settings
    weights: weights.Tensors
    id: str
    revision: str | None
    sha256: str
    folder: Path
    note: str

    @property
    def parameters(self) -> int:
        """How many numbers were learned; the statistics of batch normalisation are not counted."""
        return sum(self.weights.size(key) for key in self.weights if not key.endswith(BUFFERS))

    @cached_property
    def model(self) -> FakeDetForImageClassification:
        """The network in PyTorch, in float32 and eval mode; built and checked when first asked for.

        Raises:
            ModelError: PyTorch is not installed, or the weights do not fit the settings or give infinite outputs.
        """
        require_torch("the PyTorch model")
        from .torch_model import build_model

        return build_model(self.settings, self.weights)


def save_checkpoint(model: FakeDetForImageClassification, folder: str | Path, half: bool = False) -> Path:
    """Writes config.json, model.safetensors and preprocessor_config.json.

    All files are written to a temporary folder first, so that a full disk leaves the previous checkpoint whole.

    Args:
        model: Any device or dtype.
        folder: Created if missing.
        half: Store fp16. config.json still says float32, so that every loader computes in float32.

    Returns:
        The folder.
    """
    import torch
    from safetensors.torch import save_file

    from fakedet.network.processing import FakeDetImageProcessor

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in model.state_dict().items()
    }
    model.config.dtype = "float32"
    model.config.architectures = [type(model).__name__]
    model.config.check()
    for leftover in folder.glob(PARTIAL + "*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder, ignore_cleanup_errors=True) as temporary:
        save_file(state, Path(temporary, WEIGHTS), metadata={"format": "pt"})
        Path(temporary, "config.json").write_text(model.config.to_json_string())
        FakeDetImageProcessor().save_pretrained(temporary)
        for path in sorted(Path(temporary).iterdir(), reverse=True):  # all is written: only renames from here on
            os.replace(path, folder / path.name)
    return folder


def read_config(path: Path) -> Settings:
    """Reads and checks a config.json.

    Raises:
        ModelError: Not JSON, not of fakedet, an unknown key, or a value out of range.
    """
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ValueError("it is larger than 1 MB")
        return Settings.from_dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise ModelError("the checkpoint has no config.json") from None
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise ModelError(f"the checkpoint's config.json cannot be used: {error}") from None


def load_folder(folder: Path, id: str, revision: str | None, note: str) -> Checkpoint:
    """Loads and checks a checkpoint folder.

    Where its graphs name exactly these weights, the weights were checked when the graphs were exported, and the runtime
    compares the graphs' outputs with PyTorch's. Otherwise the network is built in PyTorch and checked here.

    Args:
        folder: With config.json and model.safetensors.
        id, revision, note: As in `Checkpoint`.

    Raises:
        ModelError: Files missing or corrupt, wrong architecture, values that are not finite; or there is no graph, and
            PyTorch is not installed.
    """
    settings = read_config(checked_file(folder, "config.json"))
    data = checked_file(folder, WEIGHTS).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    header = weights.read_header(data)
    weights.check_head(header, settings)
    with_graphs = has_graphs(folder, settings, sha256)
    if not with_graphs and importlib.util.find_spec("torch"):
        from .torch_model import check_shapes

        check_shapes(header, settings)
    checkpoint = Checkpoint(settings, weights.Tensors(data), id, revision, sha256, folder, note)
    if not with_graphs:
        require_torch("a checkpoint without an ONNX graph of its weights")
        checkpoint.model  # builds and checks the network
    return checkpoint


def has_graphs(folder: Path, settings: Settings, sha256: str) -> bool:
    """Whether files that name these weights are there for all graphs, in the folder or in the cache of graphs."""
    return all(
        graph.names_weights(folder / name, sha256) or graph.names_weights(graph.cache_path(sha256, side), sha256)
        for name, side in graph.sides(settings).items()
    )


def require_torch(what: str) -> None:
    """Makes sure that PyTorch and what the network stands on are installed.

    Raises:
        ModelError: `what` needs one that is missing; names the extra to install.
    """
    missing = [name for name in ("torch", "timm", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"{what} needs {missing[0]}, which is not installed: pip install 'fakedet[torch]'")


def checked_file(folder: Path, name: str) -> Path:
    """The path of a checkpoint's file, after a check that it is a regular file of this folder or of its Hub cache.

    Raises:
        ModelError: Missing, not a file, too large, or a link to another place.
    """
    path, home = (folder / name), folder.resolve()
    if not path.exists():
        raise ModelError(f"the checkpoint has no {name}")
    # in the Hub cache a snapshot's files are links to blobs
    homes = [home, home.parents[1]] if home.parent.name == "snapshots" else [home]
    if not path.is_file() or not any(path.resolve().is_relative_to(allowed) for allowed in homes):
        raise ModelError(f"{name} is not a file of the checkpoint's own folder")
    if path.stat().st_size > MAX_WEIGHTS:
        raise ModelError(f"{name} is larger than 4 GB")
    return path


def load_checkpoint(model: str | Path | None = None, revision: str | None = None) -> Checkpoint:
    """Finds and loads a checkpoint.

    Args:
        model: "owner/name" on the Hub, optionally "owner/name@revision"; a folder; None or "bundled".
        revision: Branch, tag or commit on the Hub.

    Raises:
        ModelError: It cannot be loaded or used. There is no fallback: that is the caller's choice.
    """
    if model is None or str(model) in ("", "bundled"):
        return load_folder(BUNDLED, "bundled", None, "The bundled checkpoint answers.")
    if Path(model).is_dir():
        return load_folder(Path(model), Path(model).resolve().name, None, "A local checkpoint folder answers.")
    name, _, tag = str(model).partition("@")
    revision = revision or tag or None
    folder, note = fetch(name, revision, FILES, REQUIRED, read_config)
    # the Hub cache names the folder of a snapshot after its commit
    checkpoint = load_folder(folder, name, folder.name, note)
    save_ref(folder, revision)  # only now: a commit that cannot be used must not replace one that can
    return checkpoint
