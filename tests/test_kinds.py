"""The network's third output, which tells graphics and drawings from photo-like pictures: it never changes a score."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from family_material import THREE, detector_of, network, picture

from fakedet import FakeDetConfig, summary
from fakedet.hub import checkpoint as hub
from fakedet.network.model import level_width
from fakedet.network.onnx_runtime import OnnxRuntime
from fakedet.network.torch_runtime import TorchRuntime
from fakedet.scan.table import flat
from fakedet.web.answer import verdict_card
from train.attribution import kind_head
from train.data.graphics import charts, documents, pages, scenes
from train.data.kinds import DRAWING, GRAPHIC
from train.make_graphics import HELD_OUT, content_of, styles

ALL = ["photo", "graphic", "drawing"]
POOLED = 5  # the number after that of the last stage
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of graphs: an empty one for each test."""
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))


def telling(kind: str, z: float = 6.0, **settings):
    """A network that always tells this kind of picture, with the logit `z`."""
    model = network(z=z, kinds=ALL, kind_levels=[0, 1], **settings)
    with torch.no_grad():
        model.kind.weight.zero_()
        model.kind.bias.copy_(torch.tensor([4.0 * (name == kind) for name in ALL]))
    return model


@pytest.mark.parametrize(("kind", "words"), [("graphic", "screenshot or graphic"), ("drawing", "drawn or rendered")])
def test_what_is_no_photograph_gets_no_answer_and_the_reason_in_words(tmp_path, kind, words):
    verdict = detector_of(telling(kind), tmp_path).predict(picture())
    assert verdict.verdict == verdict.pixel_verdict == "unsure" and words in verdict.headline
    answer = json.loads(json.dumps(verdict.to_dict()))
    assert (
        answer["kind"] == kind and answer["p_photo"] < 0.1 and any("looks like a" in note for note in answer["notes"])
    )


def test_a_photo_like_picture_is_answered_as_without_kinds(tmp_path):
    verdict = detector_of(telling("photo"), tmp_path).predict(picture())
    assert verdict.verdict == "fake" and verdict.kind == "photo" and not verdict.notes


def test_a_checkpoint_without_kinds_says_null(tmp_path):
    answer = detector_of(network(z=6.0), tmp_path).predict(picture()).to_dict()
    assert answer["kind"] is None and answer["p_photo"] is None


def test_the_card_of_a_graphic_shows_no_bars(tmp_path):
    graphic, photo = (detector_of(telling(kind), tmp_path / kind).predict(picture()) for kind in ("graphic", "photo"))
    assert 'id="bars"' in verdict_card(photo) and 'id="bars"' not in verdict_card(graphic)
    assert "not a photograph&#39;s" in verdict_card(graphic) or "not a photograph's" in verdict_card(graphic)


def test_the_summary_of_a_graphic_says_so_and_gives_no_percent_for_an_answer(tmp_path):
    text = summary(detector_of(telling("graphic"), tmp_path).predict(picture()))
    assert "screenshot or graphic" in text and "How sure" not in text


def test_a_row_of_a_scan_has_the_kind(tmp_path):
    row = flat("a.png", detector_of(telling("drawing"), tmp_path).predict(picture()).to_dict())
    assert row["kind"] == "drawing" and row["p_photo"] < 0.1


@pytest.mark.parametrize("levels", [[0, 2], [1, POOLED]])
def test_both_runtimes_tell_the_same_kinds_beside_families_and_none_of_tiny_views(tmp_path, levels):
    torch.manual_seed(1)
    model = network(families=THREE, kinds=ALL, kind_levels=levels, tiny_side=48, tiny_input_size=32, tiny_network=True)
    checkpoint = hub.load_checkpoint(hub.save_checkpoint(model, tmp_path))
    fast, slow = OnnxRuntime(checkpoint), TorchRuntime(checkpoint.model)
    for side, count in ((64, 4), (32, 2)):
        pixels = torch.randn(9, 3, side, side).numpy()
        one, other = fast(pixels), slow(pixels)
        assert len(one) == len(other) == count
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_scores_are_the_same_to_the_last_bit_with_and_without_kinds():
    plain, both = network(), network(kinds=ALL, kind_levels=[0, 1])
    both.load_state_dict(plain.state_dict(), strict=False)
    pixels = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(plain.score(pixels), both.score(pixels)[:2], strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("kinds", [["graphic", "photo"], ["photo"], ["photo", "photo"], ["photo", "cat"]])
def test_kinds_that_no_reader_understands_are_refused(kinds):
    with pytest.raises(ValueError, match="kinds"):
        FakeDetConfig(kinds=kinds, kind_levels=[0])


def separable() -> kind_head.Pictures:
    """Features whose first numbers give the kind away."""
    rng = np.random.default_rng(0)
    content = ["person"] * 60 + ["chart"] * 60 + ["comic"] * 60
    features = rng.normal(size=(180, 6)).astype(np.float32)
    features[60:120, 0] += 9
    features[120:, 1] += 9
    label = [0] * 30 + [1] * 30 + [-1] * 120
    table = pd.DataFrame(
        {"content": content, "label": label, "source": [f"s{i % 5}" for i in range(180)], "part": "train"}
    )
    return kind_head.Pictures(features, table)


def test_the_layer_tells_separable_kinds_within_the_allowed_share_of_photographs():
    pictures = separable()
    head = kind_head.fit(pictures, 1.0)
    score = kind_head.not_photo(head, pictures.features)
    threshold = kind_head.choose_threshold(score, pictures, 0.0, 0.0)
    rows = kind_head.told(score, pictures, threshold).set_index("content")["told"]
    assert rows["chart"] == rows["comic"] == 1 and rows["photograph"] == rows["AI-generated"] == 0


def test_writing_the_layer_leaves_every_other_weight_as_it_is(tmp_path):
    model = network(families=THREE)
    before = model.state_dict()
    folder = hub.save_checkpoint(model, tmp_path)
    width = level_width(model.backbone, kind_head.LEVELS)
    kind_head.write(hub.load_checkpoint(folder), (np.ones((3, width), np.float32), np.zeros(3, np.float32)), 0.9)
    loaded = hub.load_checkpoint(folder)
    after = loaded.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert loaded.settings.kinds == ALL and loaded.settings.kind_threshold == 0.9


def test_no_style_of_the_test_is_trained_on_and_each_content_is_tested():
    assert not set(styles("train")) & set(styles("test")) and set(styles("test")) == HELD_OUT
    every = [*charts.STYLES, *documents.STYLES, *pages.STYLES, *scenes.STYLES]
    assert len(every) == len(set(every))
    assert {"chart", "screenshot", "document", "slide", "meme", "comic", "game"} <= set(map(content_of, styles("test")))


@pytest.mark.integration
def test_make_graphics_writes_a_file_that_kinds_reads(tmp_path):
    command = [sys.executable, "train/make_graphics.py", "--output_dir", str(tmp_path), "--count", "28"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "train.parquet")
    assert len(table) == 28 and set(table["label"]) == {-1}
    assert set(table["content"]) <= set(GRAPHIC + DRAWING)
