"""train/refit.py: the last layer fitted anew on the features of a frozen network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_material import make_place, picture, run
from family_material import network
from safetensors.torch import load_file, save_file

from fakedet import Detector
from train import refit
from train.learning import last_layer

SPLITS = ("--data", "data", "--train_split", "validation", "--split", "test")


@pytest.fixture
def place(tmp_path):
    """A data set whose AI-generated pictures are brighter, and a checkpoint that takes bright ones for photographs."""
    make_place(tmp_path)
    weights = tmp_path / "model" / "model.safetensors"
    state = load_file(weights)
    save_file(state | {"fc2.weight": -state["fc2.weight"]}, weights, {"format": "pt"})
    return tmp_path


def test_the_checkpoint_ranks_as_the_features_do_and_the_backbone_stays(place):
    before = load_file(place / "model" / "model.safetensors")
    done = run("refit.py", place, "--model", "model", *SPLITS, "--share", "1")
    assert done.returncode == 0, done.stderr
    assert "trained layer: AUC 0." in done.stdout and "linear layer: AUC 1.0" in done.stdout
    after = load_file(place / "model" / "model.safetensors")
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    assert changed and changed <= {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    detector = Detector.from_pretrained(place / "model")
    dark, bright = (detector.predict(picture(99, brightness=brightness)).logit for brightness in (0, 100))
    assert bright > dark


def test_a_dry_run_writes_nothing(place):
    weights = place / "model" / "model.safetensors"
    before = weights.read_bytes()
    done = run("refit.py", place, "--model", "model", *SPLITS, "--dry_run")
    assert done.returncode == 0 and "AUC" in done.stdout and weights.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("--model", "model", "--data", "data", "--train_split", "missing"), "no split missing"),
     (("--model", "model", "--data", "nowhere"), "nowhere"),
     (("--model", "model", *SPLITS, "--share", "1.5"), "--share")],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_sentence(place, arguments, reason, monkeypatch, capsys):
    monkeypatch.chdir(place)
    try:
        code = refit.main(list(arguments))
    except SystemExit as stopped:  # argparse
        code = stopped.code
    assert code == 2 and reason in capsys.readouterr().err


def test_the_new_logit_is_the_mean_of_both_at_the_same_spread():
    model = network()
    torch.nn.init.normal_(model.fc1.bias, std=0.5)
    rng = np.random.default_rng(0)
    pooled = rng.random((200, model.fc1.in_features), np.float32)
    weight = rng.normal(size=pooled.shape[1]).astype(np.float32)
    with torch.no_grad():
        model.fc2.weight[0, :2] = 0  # two units without effect, whose place the linear unit takes
    own, linear = last_layer.own_logit(model, pooled), pooled @ weight + 0.5
    last_layer.join(model, (weight, 0.5), pooled, 0.25)
    expected = 0.75 * own + 0.25 * linear * own.std() / linear.std()
    assert np.allclose(last_layer.own_logit(model, pooled), expected, atol=0.02 * own.std())


def test_a_source_of_many_pictures_does_not_outvote_small_ones():
    # ten small sources say that feature 0 tells, one large source says the opposite
    rng = np.random.default_rng(1)
    source = np.array(["large"] * 40 + [f"small{i}" for i in range(10) for _ in range(4)])
    label = np.arange(80) % 2
    sign = np.where(source == "large", -1, 1)
    pooled = np.stack([sign * (label - 0.5) + rng.normal(0, 0.1, 80), rng.normal(0, 1, 80)], 1).astype(np.float32)
    views = last_layer.Views(pooled, np.arange(80), pd.DataFrame({"label": label, "source": source}))
    weight, _ = last_layer.fit(views, 1.0)
    assert weight[0] > 0
