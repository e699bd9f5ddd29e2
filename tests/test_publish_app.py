"""The app and the models that it pulls from the Hub, as processes, against a stand-in."""

from pathlib import Path

import pytest
from conftest import App, connect
from gradio_client import Client, handle_file
from hub_stand_in import Hub
from publish_material import ROOT, draw_photos, small_checkpoint
from safetensors.torch import load_file, save_file

from fakedet import Detector
from fakedet.hub import checkpoint as hub
from train.publish import main as publish

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def far():
    """The stand-in of this module."""
    with Hub() as started:
        yield started


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    draw_photos(folder, 3)
    return [*sorted(folder.rglob("*.png")), *sorted((ROOT / "examples" / "images").glob("photo_*.jpg"))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pictures) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("app"), pictures)


def test_the_app_pulls_the_pushed_model_and_answers_as_the_local_one(far, trained, pictures, tmp_path, monkeypatch):
    connect(far, monkeypatch, tmp_path / "client")
    assert publish(["model", "--model", str(trained), "--repo", "lab/one", "--private"]) == 0
    repo, local = far.repo("lab/one"), Detector.from_pretrained(trained)
    # the folder that a Space gets, started as a Space starts it
    assert (
        publish(["space", "--repo", "lab/show", "--model", "lab/one@v1", "--output_dir", str(tmp_path / "space")]) == 0
    )
    variables = {"FAKEDET_MODEL": "lab/one@v1", "SPACE_ID": "lab/show", "HOME": "/dev/null/home"}
    started = App(tmp_path, tmp_path / "space", **far.environment(tmp_path / "cache"), **variables)
    try:
        client, expected = Client(started.url, verbose=False), [local.predict(path).p_fake for path in pictures]
        assert max(expected) - min(expected) > 0.05, "the comparison below would be empty"
        for path, p_fake in zip(pictures, expected, strict=True):
            answer = client.predict(handle_file(str(path)), api_name="/predict")
            assert answer["p_fake"] == pytest.approx(p_fake, abs=1e-4)
            assert (answer["model"]["id"], answer["model"]["revision"]) == ("lab/one", repo.tags["v1"])
    finally:
        started.stop()
    assert "lab/one answers, fetched from the Hub." in started.log.read_text()


def test_the_app_keeps_the_model_it_has_when_the_newest_comes_damaged(far, trained, pictures, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    connect(far, monkeypatch, cache / "hub")
    good = {path.name: path.read_bytes() for path in trained.glob("*.*")}
    first = far.add("lab/served", good).branches["main"]
    hub.load_checkpoint("lab/served")  # a start before
    state = load_file(trained / "model.safetensors")
    state["fc2.bias"] += 1
    save_file(state, tmp_path / "new.safetensors")
    repo = far.add("lab/served", good | {"model.safetensors": (tmp_path / "new.safetensors").read_bytes()})
    far.fault(f"GET /lfs/{repo.files['model.safetensors'].sha256}", "wrong")
    started = App(tmp_path, FAKEDET_MODEL="lab/served", **far.environment(cache))
    try:
        answer = Client(started.url, verbose=False).predict(handle_file(str(pictures[0])), api_name="/predict")
    finally:
        started.stop()
        far.faults.clear()
    assert answer["model"]["revision"] == first != repo.branches["main"]
    assert answer["p_fake"] == pytest.approx(Detector.from_pretrained(trained).predict(pictures[0]).p_fake, abs=1e-4)
    log = started.log.read_text()
    assert "lab/served answers from the local cache: model.safetensors does not have the sha256" in log
