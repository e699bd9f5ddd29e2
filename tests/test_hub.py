"""Checkpoints from the Hub: a stand-in with faults, the local cache, and one plain sentence per refusal."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkpoint_material import save_small
from safetensors.torch import load_file, save_file

from fakedet.hub import checkpoint as hub
from fakedet.hub import pull

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_small(tmp_path_factory.mktemp("model"))


@pytest.fixture
def shelf(stand_in, folder):
    """The stand-in with the repository "lab/model" in it."""
    stand_in.add("lab/model", files(folder))
    return stand_in


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": b"# A card"}


def other(folder: Path, copy: Path) -> dict[str, bytes]:
    """The same repository with other weights."""
    state = load_file(folder / "model.safetensors")
    state["fc2.bias"] += 1
    save_file(state, copy / "model.safetensors")
    return files(folder) | {"model.safetensors": (copy / "model.safetensors").read_bytes()}


def test_a_hub_id_is_fetched_and_carries_its_commit(shelf, folder):
    commit = shelf.repo("lab/model").branches["main"]
    checkpoint = hub.load_checkpoint("lab/model")
    assert checkpoint.revision == commit
    assert checkpoint.id == "lab/model"
    assert checkpoint.sha256 == hub.load_checkpoint(folder).sha256
    assert (checkpoint.folder / "README.md").read_text() == "# A card"
    assert hub.load_checkpoint(f"lab/model@{commit}").revision == commit
    assert not shelf.unknown, "the stand-in lacks a route"


def test_a_pinned_revision_does_not_follow_main(shelf, folder, tmp_path):
    repo = shelf.repo("lab/model")
    first = repo.tags["v1"] = repo.branches["main"]
    (tmp_path / "other").mkdir()
    shelf.add("lab/model", other(folder, tmp_path / "other"))
    newest = hub.load_checkpoint("lab/model")
    pinned = hub.load_checkpoint("lab/model", revision="v1")
    assert newest.revision == repo.branches["main"] != first
    assert pinned.revision == first
    assert pinned.sha256 != newest.sha256
    shelf.stop()  # without the Hub the cache still distinguishes the two
    assert hub.load_checkpoint("lab/model@v1").sha256 == pinned.sha256
    assert hub.load_checkpoint("lab/model").sha256 == newest.sha256


def test_offline_mode_uses_the_cache_alone(shelf, monkeypatch):
    from huggingface_hub import constants

    expected = hub.load_checkpoint("lab/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shelf.requests.clear()
    checkpoint = hub.load_checkpoint("lab/model")
    assert checkpoint.revision == expected.revision
    assert "local cache" in checkpoint.note
    assert not shelf.requests


def test_a_mistyped_path_is_refused_by_name_without_a_network(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(hub.ModelError, match="neither a folder here nor a Hub id"):
        hub.load_checkpoint("/no/such/folder")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab/nothing", "does not exist on the Hub, or is private"),
        ("lab/model@v9", "no revision 'v9'"),
        ("lab/gated", "is gated"),
        ("lab/words", r"has no config\.json and no model\.safetensors: it is not a fakedet model"),
        ("lab/vit", "not the configuration of a fakedet model"),
        ("lab/swapped", "does not fit resnet18"),
        ("lab/cut", "corrupt"),
        ("no such/id/at all", "neither a folder here nor a Hub id"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_in_one_sentence(shelf, folder, name, message):
    good = files(folder)
    config = json.loads(good["config.json"])
    shelf.add("lab/gated", good, gated=True)
    shelf.add("lab/words", {"README.md": b"words"})
    shelf.add("lab/vit", good | {"config.json": b'{"model_type": "vit"}'})
    shelf.add("lab/swapped", good | {"config.json": json.dumps(config | {"backbone": "resnet18"}).encode()})
    shelf.add("lab/cut", good | {"model.safetensors": good["model.safetensors"][:5000]})
    with pytest.raises(hub.ModelError, match=message) as refused:
        hub.load_checkpoint(name)
    assert "\n" not in str(refused.value)
    assert str(shelf.url) not in str(refused.value)
    if name == "lab/vit":  # the weights are not downloaded to find this out
        assert not any("safetensors" in line for line in shelf.requests)


@pytest.mark.parametrize(("token", "message"), [("hf_wrong", "token in HF_TOKEN or from the login is not valid"),
                                             ("", "does not exist on the Hub, or is private")])  # fmt: skip
def test_a_private_model_needs_its_token(shelf, folder, monkeypatch, token, message):
    shelf.add("lab/private", files(folder), private=True)
    assert hub.load_checkpoint("lab/private").revision
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(hub.ModelError, match=message) as refused:
        hub.load_checkpoint("lab/private")
    assert "hf_" not in str(refused.value)


def test_a_forbidden_model_is_refused(shelf):
    shelf.fault("api/models/lab/model", "403")
    with pytest.raises(hub.ModelError, match=r"refuses access to lab/model \(403\)"):
        hub.load_checkpoint("lab/model")


FAULTS = {
    "the Hub is down": ("GET /api/models", "503", r"answers with an error \(503\)"),
    "the store is broken": ("GET /lfs/", "500", r"answers with an error \(500\)"),
    "one cut": ("GET /lfs/", "cut", "cannot be reached"),
    "the Hub sleeps": ("GET /api/models", "late", "cannot be reached"),
    "a download stalls": ("GET /lfs/", "stall", "too slow"),
    "other bytes": ("GET /lfs/", "wrong", "does not have the sha256"),
    "other text": ("GET /lab/model/resolve/.*config", "wrong", "does not have the sha256"),
}


@pytest.mark.parametrize(("pattern", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_after_a_fault_the_cached_copy_is_used(shelf, folder, tmp_path, monkeypatch, pattern, kind, message):
    # As for a running service: a new version is on the Hub and cannot be downloaded completely.
    monkeypatch.setattr(pull, "STALL_S", 3.0)
    monkeypatch.setattr(pull, "TIMEOUT_S", 1.0)
    before = hub.load_checkpoint("lab/model")
    (tmp_path / "other").mkdir()
    new = other(folder, tmp_path / "other")
    new["config.json"] = json.dumps(json.loads(new["config.json"]) | {"calibration_bias": 0.25}).encode()
    shelf.add("lab/model", new)
    shelf.fault(pattern, kind, seconds=5)
    began = time.monotonic()
    checkpoint = hub.load_checkpoint("lab/model")
    assert time.monotonic() - began < 20
    assert (checkpoint.revision, checkpoint.sha256) == (before.revision, before.sha256)
    assert "local cache" in checkpoint.note
    assert re.search(message, checkpoint.note)
    with pytest.raises(hub.ModelError, match="is not in the local cache and "):
        hub.load_checkpoint(f"lab/model@{shelf.repo('lab/model').branches['main']}")
    shelf.faults.clear()
    after = hub.load_checkpoint("lab/model")  # nothing half-written is left behind
    while kind == "stall" and after.revision == before.revision and time.monotonic() - began < 60:
        after = hub.load_checkpoint("lab/model")  # the abandoned download may still hold the client's lock
    assert after.revision == shelf.repo("lab/model").branches["main"]
    assert after.sha256 != before.sha256


def test_a_connection_that_is_cut_once_is_resumed(shelf):
    fault = shelf.fault("GET /lab/model/resolve/.*README", "cut", times=1)
    with pytest.raises(hub.ModelError):
        hub.load_checkpoint("lab/model")
    assert fault.met == 1
    assert hub.load_checkpoint("lab/model").note.endswith("fetched from the Hub.")


def test_a_broken_new_version_does_not_replace_the_cached_one(shelf, folder):
    before = hub.load_checkpoint("lab/model")
    shelf.add("lab/model", files(folder) | {"model.safetensors": b"nonsense"})
    with pytest.raises(hub.ModelError, match="corrupt"):
        hub.load_checkpoint("lab/model")
    shelf.stop()
    assert hub.load_checkpoint("lab/model").sha256 == before.sha256


@pytest.mark.integration
def test_a_full_disk_is_named_and_leaves_no_half_file(shelf, tmp_path):
    # A limit on the file size stands in for a full disk: the error is of the same kind and needs no privileges.
    home = tmp_path / "home"
    code = (
        "from fakedet import hub\ntry: hub.load_checkpoint('lab/model')\nexcept hub.ModelError as e: print('SAID', e)"
    )
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | shelf.environment(home),
                         capture_output=True, text=True, preexec_fn=small, timeout=100)  # fmt: skip
    assert "SAID lab/model is not in the local cache and there is no room left in the cache folder" in run.stdout, run
    assert not [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 50_000]


def test_an_unreachable_hub_without_a_cached_copy_is_an_error(shelf):
    shelf.stop()
    with pytest.raises(hub.ModelError, match=r"not in the local cache and the Hub cannot be reached \(ConnectError\)"):
        hub.load_checkpoint("lab/model")


def test_an_unreachable_hub_with_a_cached_copy_is_no_error(shelf):
    hub.load_checkpoint("lab/model")
    shelf.stop()
    assert "the Hub cannot be reached (ConnectError)" in hub.load_checkpoint("lab/model").note
