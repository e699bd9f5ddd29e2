"""Loads checkpoints (Hub id, folder, bundled) and saves them.

Only safetensors are read, and only into our own classes: no pickle, no code from a repository. Configuration, tensor
names, shapes and finite values are checked before a checkpoint is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.processing import FakeDetImageProcessor

from .pull import ModelError, fetch, save_ref

BUNDLED = Path(__file__).resolve().parents[1] / "pretrained"
WEIGHTS = "model.safetensors"
REQUIRED = ("config.json", WEIGHTS)
GRAPHS = ("model.onnx", "model_tiny.onnx")  # see network/graph.py; exported on demand where missing
FILES = (*REQUIRED, "README.md", "report.json", *GRAPHS)
PARTIAL = ".partial-"
MAX_CONFIG, MAX_HEADER, MAX_WEIGHTS = 2**20, 8 * 2**20, 4 * 2**30  # bytes
FLOATS = ("F16", "BF16", "F32")  # types in which weights may be stored


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model and its origin.

    Attributes:
        model: In float32, eval mode.
        id: Hub id, folder name, or "bundled".
        revision: Commit sha on the Hub, else None.
        sha256: Of the weights file, hex.
        folder: Folder of its files.
        note: One sentence on why this checkpoint is used.
    """

    model: FakeDetForImageClassification
    id: str
    revision: str | None
    sha256: str
    folder: Path
    note: str


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


def read_config(path: Path) -> FakeDetConfig:
    """Reads and checks a config.json.

    Raises:
        ModelError: Not JSON, not of fakedet, an unknown key, or a value out of range.
    """
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ValueError("it is larger than 1 MB")
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or values.get("model_type") != FakeDetConfig.model_type:
            raise ValueError("it is not the configuration of a fakedet model")
        known = set(FakeDetConfig().to_dict()) | {"dtype", "torch_dtype", "architectures", "auto_map", "_name_or_path"}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown keys {', '.join(unknown)[:200]}")
        return FakeDetConfig.from_dict(values)
    except FileNotFoundError:
        raise ModelError("the checkpoint has no config.json") from None
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise ModelError(f"the checkpoint's config.json cannot be used: {error}") from None


def load_folder(folder: Path, id: str, revision: str | None, note: str) -> Checkpoint:
    """Loads and checks a checkpoint folder.

    Args:
        folder: With config.json and model.safetensors.
        id, revision, note: As in `Checkpoint`.

    Raises:
        ModelError: Files missing or corrupt, wrong architecture, values that are not finite.
    """
    config = read_config(checked_file(folder, "config.json"))
    data = checked_file(folder, WEIGHTS).read_bytes()
    try:
        with torch.device("meta"):  # shapes only: the configuration may ask for gigabytes
            expected = FakeDetForImageClassification(config).state_dict()
    except Exception as error:  # timm has no common type of error for a name or a size that does not work
        raise ModelError(str(error).strip().splitlines()[0][:300]) from None
    check_header(data, expected, config)
    try:
        state = load(data)
    except SafetensorError as error:
        raise ModelError(f"{WEIGHTS} is corrupt: {error}") from None
    if bad := [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ModelError(f"{WEIGHTS} holds values that are not finite, in {bad[0]}")
    model = FakeDetForImageClassification(config)
    model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    model.eval()
    with torch.inference_mode():
        side = config.input_size
        output = model(pixel_values=torch.linspace(-2, 2, 3 * side * side).reshape(1, 3, side, side))
    if not (output.logit.isfinite().all() and output.cam.isfinite().all()):
        raise ModelError(f"{WEIGHTS} gives outputs that are not finite")
    return Checkpoint(model, id, revision, hashlib.sha256(data).hexdigest(), folder, note)


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


def check_header(data: bytes, expected: dict[str, torch.Tensor], config: FakeDetConfig) -> None:
    """Compares the header of a safetensors file with the network, before any tensor is loaded.

    Args:
        data: The file.
        expected: The network's state, on the meta device.
        config: Of the network.

    Raises:
        ModelError: Not a safetensors file, or tensors of other names, shapes or types.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        if length > MAX_HEADER:
            raise ValueError("its header is too large")
        header = json.loads(data[8 : 8 + length])
        stored = {key: (row["dtype"], list(row["shape"])) for key, row in header.items() if key != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{WEIGHTS} is corrupt: {type(error).__name__} in its header") from None
    types = {key: FLOATS if value.is_floating_point() else ("I64",) for key, value in expected.items()}
    wrong = [key for key in expected.keys() | stored.keys()
             if key not in stored or key not in expected or stored[key][1] != list(expected[key].shape)
             or stored[key][0] not in types[key]]  # fmt: skip
    if wrong:
        count = len(wrong)
        raise ModelError(
            f"{WEIGHTS} does not fit {config.backbone}: {count} tensors differ, among them {min(wrong)[:100]}"
        )


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
