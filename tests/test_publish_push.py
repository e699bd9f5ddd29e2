"""Pushes that fail, are cut or meet another push: what is reported, and what the repository then holds."""

import argparse
import re
import threading
import time
from pathlib import Path

import pytest
from hub_stand_in import TOKEN
from publish_material import small_checkpoint

from train.publish import after_training, before_training
from train.publish import main as publish
from train.publishing import push


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small checkpoint in a folder of the name `one`."""
    return small_checkpoint(tmp_path_factory.mktemp("push"))


PUSH_FAULTS = {
    "no token": (None, None, "set HF_TOKEN to one that may write"),
    "someone else's": (None, None, "may not write to other/one"),
    "no name": (None, None, "is no Hub id"),
    "the Hub fails": ("POST .*commit", "500", r"answers with an error \(500"),
    "cut in the commit": ("POST .*commit", "cut", "connection broke"),
    "silence": ("POST .*commit", "late", "connection broke"),
    "refused card": ("validate-yaml", "404", r"answers with an error \(404"),
}


@pytest.mark.parametrize(("pattern", "kind", "message"), PUSH_FAULTS.values(), ids=PUSH_FAULTS)
def test_a_push_that_fails_says_why_and_changes_nothing(stand_in, trained, monkeypatch, capsys, pattern, kind, message):
    monkeypatch.setattr(push, "TIMEOUT_S", 2.0)
    stand_in.add("lab/one", {"README.md": b"# before"})
    if pattern:
        stand_in.fault(pattern, kind, seconds=6)
    if "HF_TOKEN" in message:
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    repo = "other/one" if "other" in message else "a/b/c" if "Hub id" in message else "lab/one"
    assert publish(["model", "--model", str(trained), "--repo", repo]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert not [leak for leak in ("Traceback", TOKEN, stand_in.url) if leak in error]
    assert list(stand_in.repo("lab/one").files) == ["README.md"]
    stand_in.faults.clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert publish(["model", "--model", str(trained), "--repo", "lab/one"]) == 0


def test_a_training_that_cannot_push_says_so_before_or_how_to_push_later(stand_in, trained, monkeypatch):
    args = argparse.Namespace(output_dir=str(trained), hub_model_id=None, hub_private_repo=False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(SystemExit, match="--push_to_hub: The Hub wants a valid token"):
        before_training(args)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    before_training(args)
    assert args.hub_model_id == "lab/one"  # the output folder's name, in one's own account
    stand_in.fault("POST .*commit", "503")
    with pytest.raises(SystemExit, match=r"but not pushed: .*\(503.*\nLater: python train/publish.py model --model"):
        after_training(args)


def test_an_upload_that_is_cut_is_taken_up_again(stand_in, trained, capsys):
    fault = stand_in.fault("PUT /lfs/", "cut", times=1)
    assert publish(["model", "--model", str(trained), "--repo", "lab/cut"]) == 0 and fault.met == 1
    weights = stand_in.repo("lab/cut").files["model.safetensors"].data
    assert weights == (trained / "model.safetensors").read_bytes()


def test_an_upload_that_is_always_cut_ends_with_a_sentence(stand_in, trained, capsys, monkeypatch):
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http.time, "sleep", lambda _: None)  # the client's own pauses, 23 s in sum
    stand_in.fault("PUT /lfs/", "cut")
    assert publish(["model", "--model", str(trained), "--repo", "lab/cut"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search("publish: Error while uploading '[a-z.]+' to the Hub: .*again", error)
    assert list(stand_in.repo("lab/cut").files) == [".gitattributes"]


def test_of_two_pushes_at_once_one_is_told(stand_in, trained, capsys):
    repo = stand_in.add("lab/race", {"README.md": b"# before"})
    stand_in.fault("POST .*/preupload/", "late", times=1, seconds=1.0)

    def other() -> None:
        while not any("/preupload/" in line for line in stand_in.requests):
            time.sleep(0.01)
        repo.commit({}, "somebody was faster")

    thread = threading.Thread(target=other)
    thread.start()
    assert publish(["model", "--model", str(trained), "--repo", "lab/race"]) == 2
    thread.join()
    assert "Somebody else changed lab/race meanwhile" in capsys.readouterr().err
    assert repo.messages == ["start", "somebody was faster"] and not repo.tags
