"""Where a checkpoint comes from (Hub id, folder, bundled) and how one is written.

Only safetensors are read, and only into our own classes: no pickle, no code from a repository. A checkpoint is
checked (configuration, tensor names, shapes, finite values) before it is used.
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
from safetensors.torch import load_file, save_file

from .model import FakeDetConfig, FakeDetForImageClassification
from .processing import FakeDetImageProcessor
from .pull import ModelError, fetch, remember

BUNDLED = Path(__file__).resolve().parent / "pretrained"
WEIGHTS = "model.safetensors"
NEEDED = ("config.json", WEIGHTS)
GRAPHS = ("model.onnx", "model_tiny.onnx")  # see graph.py; made anew where they are missing
FILES = (*NEEDED, "README.md", "report.json", *GRAPHS)
PARTIAL = ".partial-"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model and where it came from.

    Attributes:
        model: In float32, eval mode.
        id: Hub id, folder name, or "bundled".
        revision: Commit sha on the Hub, else None.
        sha256: Of the weights file, hex.
        folder: Where its files lie.
        note: One sentence on why this one answers.
    """

    model: FakeDetForImageClassification
    id: str
    revision: str | None
    sha256: str
    folder: Path
    note: str


def save_checkpoint(model: FakeDetForImageClassification, folder: str | Path, half: bool = False) -> Path:
    """Writes config.json, model.safetensors and preprocessor_config.json, each replaced as a whole.

    Nothing is replaced before all of it is written: a full disk leaves the checkpoint that was there.

    Args:
        model: Any device or dtype.
        folder: Made when missing.
        half: Store fp16. The configuration still says float32, so that every loader computes in float32.

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
    for left in folder.glob(PARTIAL + "*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder, ignore_cleanup_errors=True) as room:
        save_file(state, Path(room, WEIGHTS), metadata={"format": "pt"})
        Path(room, "config.json").write_text(model.config.to_json_string())
        FakeDetImageProcessor().save_pretrained(room)
        for path in sorted(Path(room).iterdir(), reverse=True):  # all is written: from here on only names change
            os.replace(path, folder / path.name)
    return folder


def read_config(path: Path) -> FakeDetConfig:
    """The configuration in a config.json.

    Raises:
        ModelError: Not JSON, not ours, an unknown key, or a value out of range.
    """
    try:
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

    Raises:
        ModelError: Files missing or corrupt, wrong architecture, values that are not finite.
    """
    config = read_config(folder / "config.json")
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"the checkpoint has no {WEIGHTS}")
    try:
        model = FakeDetForImageClassification(config)
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{WEIGHTS} is corrupt: {error}") from None
    except ValueError as error:
        raise ModelError(str(error)) from None
    expected = model.state_dict()
    wrong = [key for key in expected.keys() | state.keys()
             if key not in state or key not in expected or state[key].shape != expected[key].shape]  # fmt: skip
    if wrong:
        count = len(wrong)
        raise ModelError(f"{WEIGHTS} does not fit {config.backbone}: {count} tensors differ, {min(wrong)} among them")
    if bad := [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ModelError(f"{WEIGHTS} holds values that are not finite, in {bad[0]}")
    model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    return Checkpoint(model.eval(), id, revision, sha256, folder, note)


def load_checkpoint(model: str | Path | None = None, revision: str | None = None) -> Checkpoint:
    """Finds and loads a checkpoint.

    Args:
        model: "owner/name" on the Hub, optionally "owner/name@revision"; a folder; None or "bundled".
        revision: Branch, tag or commit on the Hub.

    Raises:
        ModelError: It cannot be had or used. Nothing else is used in its place: that is the caller's choice.
    """
    if model is None or str(model) in ("", "bundled"):
        return load_folder(BUNDLED, "bundled", None, "The bundled checkpoint answers.")
    if Path(model).is_dir():
        return load_folder(Path(model), Path(model).resolve().name, None, "A local checkpoint folder answers.")
    name, _, tag = str(model).partition("@")
    revision = revision or tag or None
    folder, note = fetch(name, revision, FILES, NEEDED, read_config)
    # the Hub cache names a snapshot's folder after its commit
    checkpoint = load_folder(folder, name, folder.name, note)
    remember(folder, revision)  # only now: a commit that cannot be used must not replace one that can
    return checkpoint
