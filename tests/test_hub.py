"""Checkpoints: found by folder, bundled or Hub id; refused with a plain sentence when they cannot be used."""

import http.server
import json
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakedet import FakeDetConfig, FakeDetForImageClassification, hub


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
        ("no such backbone", lambda p: change(p, backbone="../../etc/passwd"), "knows no backbone"),
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


class Shelf(http.server.BaseHTTPRequestHandler):
    """The few routes of the Hub that a download needs, over real HTTP: repository "lab/model" at one commit."""

    COMMIT = "0123456789abcdef0123456789abcdef01234567"
    root: Path
    alive = True

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body: bool) -> None:
        if not self.alive:
            return self.fail(503, "Unavailable")
        parts = unquote(self.path).split("?")[0].strip("/").split("/")
        asks = parts[:2] == ["api", "models"]
        owner, name, verb, *rest = [*(parts[2:] if asks else parts), "", ""]
        if (owner, name) != ("lab", "model"):
            gated = owner == "gated"
            return self.fail(403 if gated else 404, "GatedRepo" if gated else "RepoNotFound")
        if verb and rest[0] not in ("main", self.COMMIT):
            return self.fail(404, "RevisionNotFound")
        if asks:
            data = json.dumps({"id": "lab/model", "sha": self.COMMIT}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            return self.wfile.write(data) if body else None
        path = self.root / "/".join(parts[4:])
        if not path.is_file():
            return self.fail(404, "EntryNotFound")
        data = path.read_bytes()
        self.send_response(200)
        for name, value in {"X-Repo-Commit": self.COMMIT, "ETag": f'"{hash(data) & 0xFFFFFFFF:x}"',
                            "Content-Length": str(len(data)), "Accept-Ranges": "bytes"}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def shelf(folder, tmp_path, monkeypatch):
    """A stand-in for the Hub on loopback that the real client talks to; its cache lies in tmp_path."""
    from huggingface_hub import constants

    handler = type("Handler", (Shelf,), {"root": folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    handler.server = server
    yield handler
    server.shutdown()
    server.server_close()


def test_a_hub_id_is_fetched_and_carries_its_commit(shelf, folder):
    checkpoint = hub.load_checkpoint("lab/model")
    assert checkpoint.revision == shelf.COMMIT and checkpoint.id == "lab/model"
    assert checkpoint.sha256 == hub.load_checkpoint(folder).sha256
    assert hub.load_checkpoint(f"lab/model@{shelf.COMMIT}").revision == shelf.COMMIT


def test_without_the_hub_the_local_cache_answers_and_says_so(shelf):
    hub.load_checkpoint("lab/model")
    shelf.alive = False
    began = time.monotonic()
    checkpoint = hub.load_checkpoint("lab/model")
    assert checkpoint.revision == shelf.COMMIT and "local cache" in checkpoint.note
    assert time.monotonic() - began < 2 * hub.TIMEOUT_S


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lab/nothing", "does not exist on the Hub, or is private"),
        ("lab/model@v9", "no revision 'v9'"),
        ("gated/model", "is gated"),
        ("no such/id/at all", "neither a folder here nor a Hub id"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_sentence(shelf, name, says):
    with pytest.raises(hub.ModelError, match=says):
        hub.load_checkpoint(name)


def test_an_unreachable_hub_without_a_cached_copy_is_an_error_not_another_model(shelf):
    shelf.alive = False
    with pytest.raises(hub.ModelError, match="not in the local cache"):
        hub.load_checkpoint("lab/model")


def test_a_host_that_is_gone_is_the_same_as_a_hub_that_is_down(shelf):
    hub.load_checkpoint("lab/model")
    shelf.server.shutdown()
    shelf.server.server_close()
    assert "the Hub cannot be reached (ConnectError)" in hub.load_checkpoint("lab/model").note
