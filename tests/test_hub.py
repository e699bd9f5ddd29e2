"""Checkpoints: found by folder, bundled or Hub id; refused with a plain sentence when they cannot be used."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakedet import FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import checkpoint as hub
from fakedet.hub import pull

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = FakeDetForImageClassification(FakeDetConfig(backbone="test_efficientnet", input_size=64))
    return hub.save_checkpoint(model, tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change(path: Path, **values) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | values))


def test_a_folder_loads_with_its_name_and_digest(folder):
    checkpoint = hub.load_checkpoint(folder)
    assert checkpoint.id == folder.name and len(checkpoint.sha256) == 64 and checkpoint.revision is None
    assert not checkpoint.model.training


def test_no_name_means_the_bundled_checkpoint():
    checkpoint = hub.load_checkpoint()
    assert checkpoint.id == "bundled" and checkpoint.model.config.backbone.endswith("efficientnet_b0")


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("no config", lambda p: (p / "config.json").unlink(), "no config.json"),
        ("config not JSON", lambda p: (p / "config.json").write_text("{"), "config.json cannot be used"),
        ("someone else's", lambda p: change(p, model_type="vit"), "not the configuration of a fakedet model"),
        ("unknown key", lambda p: change(p, exec="rm"), "unknown keys exec"),
        ("out of range", lambda p: change(p, input_size=10**9), "input_size"),
        ("wrong type", lambda p: change(p, image_mean="abc"), "image_mean"),
        ("no such backbone", lambda p: change(p, backbone="../../etc/passwd"), "has no backbone named"),
        ("other backbone", lambda p: change(p, backbone="resnet18"), "does not fit resnet18"),
        ("no weights", lambda p: (p / "model.safetensors").unlink(), "no model.safetensors"),
        ("cut off", lambda p: (p / "model.safetensors").write_bytes((p / "model.safetensors").read_bytes()[:5000]),
         "corrupt"),
        ("a pickle", lambda p: torch.save({"a": torch.zeros(1)}, p / "model.safetensors"), "corrupt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_used_is_refused_with_a_reason(name, spoil, says, copy):
    spoil(copy)
    with pytest.raises(hub.ModelError, match=says) as refusal:
        hub.load_checkpoint(copy)
    assert "\n" not in str(refusal.value) and str(copy) not in str(refusal.value)


def test_weights_that_are_not_finite_are_refused(copy):
    state = load_file(copy / "model.safetensors")
    state["fc1.weight"][0, 0] = float("nan")
    save_file(state, copy / "model.safetensors")
    with pytest.raises(hub.ModelError, match=r"not finite, in fc1\.weight"):
        hub.load_checkpoint(copy)


def test_a_save_that_fails_half_way_leaves_the_old_checkpoint_whole(copy, monkeypatch):
    # A full disk while the weights are written.
    before = (copy / "model.safetensors").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        hub.save_checkpoint(hub.load_checkpoint(copy).model, copy)
    assert (copy / "model.safetensors").read_bytes() == before


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
    assert checkpoint.revision == commit and checkpoint.id == "lab/model"
    assert checkpoint.sha256 == hub.load_checkpoint(folder).sha256
    assert (checkpoint.folder / "README.md").read_text() == "# A card"
    assert hub.load_checkpoint(f"lab/model@{commit}").revision == commit
    assert not shelf.unknown, "the stand-in lacks a route"


def test_a_pinned_revision_stays_whatever_main_becomes(shelf, folder, tmp_path):
    repo = shelf.repo("lab/model")
    first = repo.tags["v1"] = repo.branches["main"]
    (tmp_path / "other").mkdir()
    shelf.add("lab/model", other(folder, tmp_path / "other"))
    newest = hub.load_checkpoint("lab/model")
    pinned = hub.load_checkpoint("lab/model", revision="v1")
    assert newest.revision == repo.branches["main"] != first
    assert pinned.revision == first and pinned.sha256 != newest.sha256
    shelf.stop()  # and without the Hub the cache still tells the two apart
    assert hub.load_checkpoint("lab/model@v1").sha256 == pinned.sha256
    assert hub.load_checkpoint("lab/model").sha256 == newest.sha256


def test_offline_mode_answers_from_the_cache_alone(shelf, monkeypatch):
    from huggingface_hub import constants

    expected = hub.load_checkpoint("lab/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shelf.requests.clear()
    checkpoint = hub.load_checkpoint("lab/model")
    assert checkpoint.revision == expected.revision and "local cache" in checkpoint.note and not shelf.requests


@pytest.mark.parametrize(
    ("name", "says"),
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
def test_what_cannot_be_had_or_used_is_said_in_one_sentence(shelf, folder, name, says):
    good = files(folder)
    config = json.loads(good["config.json"])
    shelf.add("lab/gated", good, gated=True)
    shelf.add("lab/words", {"README.md": b"words"})
    shelf.add("lab/vit", good | {"config.json": b'{"model_type": "vit"}'})
    shelf.add("lab/swapped", good | {"config.json": json.dumps(config | {"backbone": "resnet18"}).encode()})
    shelf.add("lab/cut", good | {"model.safetensors": good["model.safetensors"][:5000]})
    with pytest.raises(hub.ModelError, match=says) as refused:
        hub.load_checkpoint(name)
    assert "\n" not in str(refused.value) and str(shelf.url) not in str(refused.value)
    if name == "lab/vit":  # a stranger's gigabytes are not fetched to find that out
        assert not any("safetensors" in line for line in shelf.requests)


@pytest.mark.parametrize(("token", "says"), [("hf_wrong", "token in HF_TOKEN or from the login is not valid"),
                                             ("", "does not exist on the Hub, or is private")])  # fmt: skip
def test_a_private_model_opens_to_the_token_and_to_no_other(shelf, folder, monkeypatch, token, says):
    shelf.add("lab/private", files(folder), private=True)
    assert hub.load_checkpoint("lab/private").revision
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(hub.ModelError, match=says) as refused:
        hub.load_checkpoint("lab/private")
    assert "hf_" not in str(refused.value)


def test_a_forbidden_model_says_so(shelf):
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


@pytest.mark.parametrize(("pattern", "kind", "says"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_the_copy_from_before_answers(shelf, folder, tmp_path, monkeypatch, pattern, kind, says):
    # What a running service meets: a new version is on the Hub and cannot be fetched whole.
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
    assert "local cache" in checkpoint.note and re.search(says, checkpoint.note)
    with pytest.raises(hub.ModelError, match="is not in the local cache and "):
        hub.load_checkpoint(f"lab/model@{shelf.repo('lab/model').branches['main']}")
    shelf.faults.clear()
    after = hub.load_checkpoint("lab/model")  # nothing half-written is left behind
    while kind == "stall" and after.revision == before.revision and time.monotonic() - began < 60:
        after = hub.load_checkpoint("lab/model")  # the download that was given up may still hold the client's lock
    assert after.revision == shelf.repo("lab/model").branches["main"] and after.sha256 != before.sha256


def test_a_connection_that_is_cut_once_is_taken_up_again(shelf):
    fault = shelf.fault("GET /lab/model/resolve/.*README", "cut", times=1)
    with pytest.raises(hub.ModelError):
        hub.load_checkpoint("lab/model")
    assert fault.met == 1 and hub.load_checkpoint("lab/model").note.endswith("fetched from the Hub.")


def test_a_new_version_that_is_no_model_does_not_replace_the_cached_one(shelf, folder):
    before = hub.load_checkpoint("lab/model")
    shelf.add("lab/model", files(folder) | {"model.safetensors": b"nonsense"})
    with pytest.raises(hub.ModelError, match="corrupt"):
        hub.load_checkpoint("lab/model")
    shelf.stop()
    assert hub.load_checkpoint("lab/model").sha256 == before.sha256


def test_a_full_disk_is_named_and_leaves_no_half_file(shelf, tmp_path):
    # A limit on the size of a file is the full disk that can be had without rights; the error is the same kind.
    home = tmp_path / "home"
    code = (
        "from fakedet import hub\ntry: hub.load_checkpoint('lab/model')\nexcept hub.ModelError as e: print('SAID', e)"
    )
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | shelf.environment(home),
                         capture_output=True, text=True, preexec_fn=small, timeout=100)  # fmt: skip
    assert "SAID lab/model is not in the local cache and there is no room left in the cache folder" in run.stdout, run
    assert not [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 50_000]


def test_a_hub_that_is_gone_without_a_cached_copy_is_an_error_not_another_model(shelf):
    shelf.stop()
    with pytest.raises(hub.ModelError, match=r"not in the local cache and the Hub cannot be reached \(ConnectError\)"):
        hub.load_checkpoint("lab/model")


def test_a_host_that_is_gone_is_the_same_as_a_hub_that_is_down(shelf):
    hub.load_checkpoint("lab/model")
    shelf.stop()
    assert "the Hub cannot be reached (ConnectError)" in hub.load_checkpoint("lab/model").note


# --- hostile checkpoints -------------------------------------------------------------------------------------------


def raw(folder, header: dict | bytes, body: bytes = b"", length: int | None = None) -> None:
    """Writes a safetensors file byte by byte."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + text + body)


def reheaded(folder, turn) -> None:
    """Changes the header of a checkpoint's weights, and nothing else."""
    data = (folder / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    turn(header)
    raw(folder, header, data[end:])


def retyped(folder, dtype: torch.dtype) -> None:
    state = load_file(folder / "model.safetensors")
    save_file(state | {"fc2.bias": state["fc2.bias"].to(dtype)}, folder / "model.safetensors")


def overlap(header: dict) -> None:
    header["fc1.weight"]["data_offsets"] = header["fc2.weight"]["data_offsets"]


def linked(folder, name: str, target) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to(target)


def exploding(folder) -> None:
    state = load_file(folder / "model.safetensors")
    for key in ("fc1.weight", "fc1.bias", "fc2.weight"):
        state[key] = torch.full_like(state[key], 3e38)
    save_file(state, folder / "model.safetensors")


HOSTILE = {
    "a header of exabytes": (lambda p: raw(p, b"{}", length=2**62), "corrupt"),
    "a header of 50 MB": (lambda p: raw(p, b" " * 50_000_000 + b"{}"), "corrupt"),
    "a header that is a list": (lambda p: raw(p, b"[1]"), "corrupt"),
    "a header nested for ever": (lambda p: raw(p, b'{"a":' * 100_000), "corrupt"),
    "an empty file": (lambda p: (p / "model.safetensors").write_bytes(b""), "corrupt"),
    "a shape of petabytes": (
        lambda p: raw(p, {"fc1.weight": {"dtype": "F32", "shape": [2**30, 2**20], "data_offsets": [0, 2**52]}}),
        "does not fit",
    ),
    "tensors that share bytes": (lambda p: reheaded(p, overlap), "corrupt"),
    "a tensor too many": (
        lambda p: reheaded(p, lambda h: h.update(x={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})),
        "does not fit",
    ),
    "numbers of another kind": (lambda p: retyped(p, torch.int8), "does not fit"),
    "64-bit floats": (lambda p: retyped(p, torch.float64), "does not fit"),
    "numbers that explode": (exploding, "not finite"),
    "a network of gigabytes": (lambda p: change(p, hidden_size=8192), "does not fit"),
    "another network of gigabytes": (lambda p: change(p, backbone="resnetv2_152x4_bit"), "does not fit"),
    "a backbone from elsewhere": (lambda p: change(p, backbone="hf-hub:someone/else"), "has no backbone named"),
    "a number that is none": (lambda p: change(p, threshold=float("nan")), "threshold"),
    "a truth for a number": (lambda p: change(p, max_views=True), "max_views"),
    "a configuration of 2 MB": (lambda p: change(p, architectures=["x" * 2**21]), "config.json cannot be used"),
    "a configuration nested for ever": (lambda p: (p / "config.json").write_text("[" * 100_000), "cannot be used"),
    "a link to a device": (lambda p: linked(p, "model.safetensors", "/dev/zero"), "not a file of"),
    "a link to another folder": (lambda p: linked(p, "config.json", "/etc/hostname"), "not a file of"),
    "a pipe": (lambda p: ((p / "config.json").unlink(), os.mkfifo(p / "config.json")), "not a file of"),
}


@pytest.mark.parametrize(("spoil", "says"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_checkpoint_is_refused_before_it_costs_anything(spoil, says, copy):
    spoil(copy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(hub.ModelError, match=says) as refusal:
        hub.load_checkpoint(copy)
    assert "\n" not in str(refusal.value) and str(copy) not in str(refusal.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB
