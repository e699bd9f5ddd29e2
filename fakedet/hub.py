"""Where a checkpoint comes from (Hub id, folder, bundled) and how one is written.

Only safetensors are read, and only into our own classes: no pickle, no code from a repository. A checkpoint is
checked (configuration, tensor names, shapes, finite values) before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .model import FakeDetConfig, FakeDetForImageClassification
from .processing import FakeDetImageProcessor

BUNDLED = Path(__file__).resolve().parent / "pretrained"
WEIGHTS = "model.safetensors"
NEEDED = ("config.json", WEIGHTS)
FILES = (*NEEDED, "README.md", "report.json")
TIMEOUT_S = 5.0


class ModelError(RuntimeError):
    """A checkpoint cannot be had or cannot be used; the message says why in one plain sentence."""


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
    partial = folder / (WEIGHTS + ".partial")
    save_file(state, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)
    model.config.dtype = "float32"
    model.config.architectures = [type(model).__name__]
    model.config.check()
    partial = folder / "config.json.partial"
    partial.write_text(model.config.to_json_string())
    os.replace(partial, folder / "config.json")
    FakeDetImageProcessor().save_pretrained(folder)
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
    folder, note = fetch(name, revision or tag or None)
    # the Hub cache names a snapshot's folder after its commit
    return load_folder(folder, name, folder.name, note)


def fetch(repo_id: str, revision: str | None) -> tuple[Path, str]:
    """Brings a checkpoint's files from the Hub, or from the local cache when the Hub does not answer in seconds.

    The Hub is asked once which commit is meant (no retries: an app that starts must not hang), then exactly that
    commit is fetched.

    Returns:
        The snapshot folder and a sentence on where it came from.

    Raises:
        ModelError: Unknown id, no access, no such revision or file, or unreachable and not cached.
    """
    import httpx2
    from huggingface_hub import HfApi, constants
    from huggingface_hub import errors as hub

    try:
        if constants.HF_HUB_OFFLINE:
            raise hub.OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        commit = HfApi().model_info(repo_id, revision=revision, timeout=TIMEOUT_S).sha
        folder = download(repo_id, commit, local=False)
        # the cache's own note of which commit a branch or tag means, for the day when the Hub does not answer
        ref = folder.parents[1] / "refs" / (revision or "main")
        if commit != revision:
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(commit)
        return folder, f"{repo_id} answers, fetched from the Hub."
    except hub.HFValidationError:
        raise ModelError(f"'{repo_id}' is neither a folder here nor a Hub id (owner/name).") from None
    except hub.GatedRepoError:
        raise ModelError(f"{repo_id} on the Hub is gated: ask for access on its page and log in (HF_TOKEN).") from None
    except hub.RevisionNotFoundError:
        raise ModelError(f"{repo_id} on the Hub has no revision '{revision}'.") from None
    except hub.RepositoryNotFoundError:
        raise ModelError(f"{repo_id} does not exist on the Hub, or is private: check the id or log in.") from None
    except hub.RemoteEntryNotFoundError:
        raise ModelError(f"{repo_id} on the Hub has no config.json or {WEIGHTS}: it is not a fakedet model.") from None
    except (hub.HfHubHTTPError, hub.OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise ModelError(f"The Hub refuses access to {repo_id} ({status}): log in or set HF_TOKEN.") from None
        reason = f"the Hub cannot be reached ({type(error).__name__})"
    try:
        return download(repo_id, revision, local=True), f"{repo_id} answers from the local cache: {reason}."
    except hub.LocalEntryNotFoundError:
        raise ModelError(f"{repo_id} is not in the local cache and {reason}.") from None


def download(repo_id: str, revision: str | None, local: bool) -> Path:
    """The snapshot folder with a checkpoint's files, from the network or (`local`) the cache alone.

    Raises:
        huggingface_hub.errors: As `hf_hub_download` does, for a file that is needed; the card may be missing.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    folder = None
    for name in FILES:
        try:
            path = hf_hub_download(repo_id, name, revision=revision, etag_timeout=TIMEOUT_S, local_files_only=local)
            folder = Path(path).parent
        except (hub.LocalEntryNotFoundError, hub.RemoteEntryNotFoundError):
            if name in NEEDED:
                raise
    return folder
