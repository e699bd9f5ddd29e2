"""Checkpoints in folders: loading, saving, and the refusal of broken and hostile ones in one plain sentence."""

import json
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
from checkpoint_material import save_small
from safetensors.torch import load_file, save_file

from fakedet.hub import checkpoint as hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_small(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change(path: Path, **values) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | values))


def test_a_folder_loads_with_its_name_and_digest(folder):
    checkpoint = hub.load_checkpoint(folder)
    assert checkpoint.id == folder.name
    assert len(checkpoint.sha256) == 64
    assert checkpoint.revision is None
    assert not checkpoint.model.training


def test_no_name_means_the_bundled_checkpoint():
    checkpoint = hub.load_checkpoint()
    assert checkpoint.id == "bundled"
    assert checkpoint.model.config.backbone.endswith("efficientnet_b0")


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
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
def test_an_unusable_checkpoint_is_refused_with_a_reason(name, spoil, message, copy):
    spoil(copy)
    with pytest.raises(hub.ModelError, match=message) as refusal:
        hub.load_checkpoint(copy)
    assert "\n" not in str(refusal.value)
    assert str(copy) not in str(refusal.value)


def test_weights_that_are_not_finite_are_refused(copy):
    state = load_file(copy / "model.safetensors")
    state["fc1.weight"][0, 0] = float("nan")
    save_file(state, copy / "model.safetensors")
    with pytest.raises(hub.ModelError, match=r"not finite, in fc1\.weight"):
        hub.load_checkpoint(copy)


def test_a_save_that_fails_half_way_leaves_the_old_checkpoint_whole(copy, monkeypatch):
    # As when the disk is full while the weights are written.
    before = (copy / "model.safetensors").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        hub.save_checkpoint(hub.load_checkpoint(copy).model, copy)
    assert (copy / "model.safetensors").read_bytes() == before


def write_raw(folder, header: dict | bytes, body: bytes = b"", length: int | None = None) -> None:
    """Writes a safetensors file byte by byte."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + text + body)


def edit_header(folder, turn) -> None:
    """Changes the header of a checkpoint's weights, and nothing else."""
    data = (folder / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    turn(header)
    write_raw(folder, header, data[end:])


def change_type(folder, dtype: torch.dtype) -> None:
    state = load_file(folder / "model.safetensors")
    save_file(state | {"fc2.bias": state["fc2.bias"].to(dtype)}, folder / "model.safetensors")


def share_bytes(header: dict) -> None:
    header["fc1.weight"]["data_offsets"] = header["fc2.weight"]["data_offsets"]


def make_link(folder, name: str, target) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to(target)


def make_overflow(folder) -> None:
    state = load_file(folder / "model.safetensors")
    for key in ("fc1.weight", "fc1.bias", "fc2.weight"):
        state[key] = torch.full_like(state[key], 3e38)
    save_file(state, folder / "model.safetensors")


HOSTILE = {
    "a header of exabytes": (lambda p: write_raw(p, b"{}", length=2**62), "corrupt"),
    "a header of 50 MB": (lambda p: write_raw(p, b" " * 50_000_000 + b"{}"), "corrupt"),
    "a header that is a list": (lambda p: write_raw(p, b"[1]"), "corrupt"),
    "a deeply nested header": (lambda p: write_raw(p, b'{"a":' * 100_000), "corrupt"),
    "an empty file": (lambda p: (p / "model.safetensors").write_bytes(b""), "corrupt"),
    "a shape of petabytes": (
        lambda p: write_raw(p, {"fc1.weight": {"dtype": "F32", "shape": [2**30, 2**20], "data_offsets": [0, 2**52]}}),
        "does not fit",
    ),
    "tensors that share bytes": (lambda p: edit_header(p, share_bytes), "corrupt"),
    "a tensor too many": (
        lambda p: edit_header(p, lambda h: h.update(x={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})),
        "does not fit",
    ),
    "weights of another type": (lambda p: change_type(p, torch.int8), "does not fit"),
    "64-bit floats": (lambda p: change_type(p, torch.float64), "does not fit"),
    "weights that overflow": (make_overflow, "not finite"),
    "a network of gigabytes": (lambda p: change(p, hidden_size=8192), "does not fit"),
    "another network of gigabytes": (lambda p: change(p, backbone="resnetv2_152x4_bit"), "does not fit"),
    "a backbone from the Hub": (lambda p: change(p, backbone="hf-hub:someone/else"), "has no backbone named"),
    "NaN for a number": (lambda p: change(p, threshold=float("nan")), "threshold"),
    "true for a number": (lambda p: change(p, max_views=True), "max_views"),
    "a configuration of 2 MB": (lambda p: change(p, architectures=["x" * 2**21]), "config.json cannot be used"),
    "a deeply nested configuration": (lambda p: (p / "config.json").write_text("[" * 100_000), "cannot be used"),
    "a link to a device": (lambda p: make_link(p, "model.safetensors", "/dev/zero"), "not a file of"),
    "a link to another folder": (lambda p: make_link(p, "config.json", "/etc/hostname"), "not a file of"),
    "a pipe": (lambda p: ((p / "config.json").unlink(), os.mkfifo(p / "config.json")), "not a file of"),
}


@pytest.mark.parametrize(("spoil", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_checkpoint_is_refused_before_it_costs_memory(spoil, message, copy):
    spoil(copy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(hub.ModelError, match=message) as refusal:
        hub.load_checkpoint(copy)
    assert "\n" not in str(refusal.value)
    assert str(copy) not in str(refusal.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB
