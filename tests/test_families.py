"""The network's second output, which names the generator family: it never changes a score, and abstains when unsure."""

from __future__ import annotations

import csv
import json

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import App
from family_material import THREE, detector_of, network, picture, sure
from PIL.PngImagePlugin import PngInfo

from fakedet import Detector, FakeDetConfig
from fakedet.__main__ import describe
from fakedet.hub import checkpoint as hub
from fakedet.network.runtime import OnnxRuntime, RuntimeUnavailable
from fakedet.network.torch_runtime import TorchRuntime
from fakedet.scan import run as scan
from fakedet.web import batch
from fakedet.web.answer import verdict_card
from fakedet.web.batch_view import as_table
from fakedet.web.scorer import Scorer
from train.attribution.families import family_figures
from train.attribution.family_head import with_families
from train.combine import combine
from train.learning.build import one_network


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of graphs: an empty one for each test."""
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))


def test_the_score_is_the_same_to_the_last_bit_with_and_without_families(tmp_path):
    plain = network()
    both = with_families(plain, families=THREE)
    pixels = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        without, withal = plain.score(pixels), both.score(pixels)
        assert len(without) == 2 and withal[2].shape == (5, 3)
        assert all(torch.equal(one, other) for one, other in zip(without, withal[:2], strict=True))
        assert torch.equal(plain(pixels).logits, both(pixels).logits)
    saved = [detector_of(model, tmp_path / name) for name, model in (("plain", plain), ("both", both))]
    assert saved[0].runtime.name == saved[1].runtime.name == "onnx"
    first, second = (detector.predict(picture()) for detector in saved)
    assert first.logit == second.logit and first.p_fake == second.p_fake
    assert first.families is None and set(second.families) == set(THREE)


def test_both_runtimes_tell_the_same_families_and_none_of_tiny_views(tmp_path):
    model = network(families=THREE, tiny_side=48, tiny_input_size=32, tiny_network=True)
    checkpoint = hub.load_checkpoint(hub.save_checkpoint(model, tmp_path))
    fast, slow = OnnxRuntime(checkpoint), TorchRuntime(checkpoint.model)
    for side, count in ((64, 3), (32, 2)):
        pixels = torch.randn(40, 3, side, side).numpy()
        one, other = fast(pixels), slow(pixels)
        assert len(one) == len(other) == count
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
    detector = Detector(checkpoint)
    assert detector.predict(picture()).families and detector.predict(picture(width=30, height=40)).families is None


def test_a_graph_that_tells_no_families_is_not_used_for_a_checkpoint_that_does(tmp_path):
    checkpoint = hub.load_checkpoint(hub.save_checkpoint(network(families=THREE), tmp_path / "m"))
    runtime = OnnxRuntime(checkpoint)
    graph = next((tmp_path / "cache").iterdir()).read_bytes()
    runtime.config.families = []
    with pytest.raises(RuntimeUnavailable):
        OnnxRuntime(checkpoint)._load(graph.replace(b"family", b"famine"), checkpoint.sha256, 64)


def test_families_of_the_views_are_averaged_as_probabilities(tmp_path):
    detector = detector_of(network(families=THREE, family_temperature=0.5), tmp_path, runtime="torch")
    from fakedet.network.views import make_views

    views = torch.from_numpy(make_views(picture(), detector.config).pixels)
    with torch.no_grad():
        expected = (detector.checkpoint.model.score(views)[2] / 0.5).softmax(1).mean(0)
    families = detector.predict(picture()).families
    assert [families[name] for name in THREE] == pytest.approx(expected.tolist(), abs=1e-5)
    assert list(families.values()) == sorted(families.values(), reverse=True)


@pytest.mark.parametrize(
    ("bias", "z", "threshold", "name"),
    [([4.0, 1.0, 0.0], 6.0, 0.9, "FLUX"), ([4.0, 1.0, 0.0], 6.0, 0.95, None), ([0.0, 1.0, 4.0], 6.0, 0.5, None),
     ([4.0, 1.0, 0.0], -6.0, 0.5, None), ([4.0, 1.0, 0.0], 0.1, 0.5, None)],
    ids=["confident", "below the threshold", "other", "a photograph", "unsure"],
)  # fmt: skip
def test_a_family_is_named_only_of_what_is_called_generated_and_only_where_it_is_confident(
    tmp_path, bias, z, threshold, name
):
    settings = {"families": THREE, "family_threshold": threshold, "unsure_band": [0.3, 0.7]}
    verdict = detector_of(network(bias, z, **settings), tmp_path).predict(picture())
    answer = verdict.to_dict()["generator"]
    if name is None:
        assert answer is None and verdict.likeness is None and verdict.families
    else:
        assert next(iter(answer)) == name and sum(answer.values()) == pytest.approx(1, abs=1e-3)
        assert verdict.likeness == "Most like: FLUX (93 %)"


def test_where_the_file_says_what_made_it_no_likeness_is_told(tmp_path):
    info = PngInfo()
    info.add_text("parameters", "a castle\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64")
    picture().save(tmp_path / "a.png", pnginfo=info)
    verdict = sure(tmp_path / "m").predict(tmp_path / "a.png")
    assert (verdict.verdict, verdict.decided_by, verdict.generator) == ("fake", "declared_ai", None)
    assert sure(tmp_path / "m", provenance=False).predict(tmp_path / "a.png").generator


def test_an_answer_that_a_copy_turns_round_names_no_family(tmp_path):
    # The check of copies makes it "unsure"; a family would then say more than the answer.
    model = network([4.0, 1.0, 0.0], families=THREE, stability_jpeg=5, stability_resize=1)
    with torch.no_grad():
        detector = detector_of(model, tmp_path / "first")
        clean = detector.predict(picture()).logit
        degraded = detector._run([next(iter(degraded_views(picture(), detector.config)))])[0].logits.mean()
        model.fc2.weight *= 20 / (clean - degraded)
        model.fc2.bias *= 20 / (clean - degraded)
        detector = detector_of(model, tmp_path / "second")
        model.fc2.bias += 10 - detector.predict(picture()).logit
    detector = detector_of(model, tmp_path / "third")
    assert detector.predict(picture()).generator
    verdict = detector.predict(picture(), stability=True)
    assert (verdict.verdict, verdict.generator) == ("unsure", None)


def degraded_views(image, config):
    from fakedet.stability import degraded_copies

    return degraded_copies(image, config).values()


def test_page_terminal_and_tables_show_the_family_as_text(tmp_path):
    model = network([4.0, 1.0, 0.0], z=6.0, families=["<b>FLUX", "GAN", "other"])
    detector = detector_of(model, tmp_path / "m")
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in" / "a.png")
    verdict = detector.predict(tmp_path / "in" / "a.png")
    card = verdict_card(verdict, "Known of it.")
    assert "Most like: &lt;b&gt;FLUX (93 %). Known of it." in card and "<b>FLUX" not in card
    assert "Most like: <b>FLUX (93 %)" in describe(verdict)
    rows = list(batch.run(Scorer(detector), [(str(tmp_path / "in" / "a.png"), "a.png")], 9))[-1]
    assert "Most like: &lt;b&gt;FLUX (93 %)." in as_table(rows)
    with open(batch.write_files(rows, tmp_path)[0], encoding="utf-8-sig", newline="") as file:
        assert next(csv.DictReader(file))["generator"] == "<b>FLUX"
    scan.scan(str(tmp_path / "in"), tmp_path / "t.jsonl", str(tmp_path / "m"))
    row = json.loads((tmp_path / "t.jsonl").read_text())
    assert row["generator"] == "<b>FLUX" and row["generator_p"] == pytest.approx(0.936, abs=1e-3)


@pytest.mark.browser
@pytest.mark.integration
def test_a_visitor_and_a_program_are_told_the_family_and_how_often_that_was_right(tmp_path, browser):
    model = network([4.0, 1.0, 0.0], z=6.0, families=THREE)
    sha256 = hub.load_checkpoint(hub.save_checkpoint(model, tmp_path / "m")).sha256
    rows = [(1, "flux", "FLUX", "FLUX")] * 3 + [(1, "stylegan2", "FLUX", "FLUX"), (1, "muse", "other", "")]
    scores = pd.DataFrame(rows, columns=["label", "generator", "family", "family_named"])
    tested = {"families": THREE, "threshold": 0.5, "tiers": {"clean": family_figures(scores, THREE)}}
    report = {"model": {"sha256": sha256}, "tiers": {"clean": {}}, "attribution": tested}
    (tmp_path / "m" / "report.json").write_text(json.dumps(report))
    picture().save(tmp_path / "a.png")
    app = App(tmp_path, FAKEDET_MODEL=str(tmp_path / "m"), FAKEDET_CACHE=str(tmp_path / "cache"))
    try:
        config = httpx.get(f"{app.url}/model").json()["config"]
        assert config["families"] == THREE and {"tiny_input_size", "tiny_network", "few_views_area"} <= set(config)
        answer = httpx.post(f"{app.url}/predict", files={"image": ("a.png", (tmp_path / "a.png").read_bytes())}).json()
        assert answer["verdict"] == "fake" and answer["generator"]["FLUX"] == pytest.approx(0.936, abs=1e-3)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(app.url)
        page.wait_for_selector("#picture input[type=file]", state="attached")
        page.set_input_files("#picture input[type=file]", tmp_path / "a.png")
        page.wait_for_selector("#answer .fd-fake")
        text = page.inner_text("#answer")
        page.close()
    finally:
        app.stop()
    assert "Most like: FLUX (93 %). In its tests 3 of 4 names for pictures of the families that it knows were" in text
    assert "Of 1 pictures of other generators, 0 got a name" in text


def test_transformers_pipeline_reads_a_checkpoint_with_families(tmp_path):
    from transformers import pipeline

    model = network(families=THREE, tiny_side=48, tiny_input_size=32, tiny_network=True)
    detector = detector_of(model, tmp_path)
    classify = pipeline("image-classification", model=str(tmp_path))
    for image in (picture(), picture(width=30, height=40)):
        scores = {row["label"]: row["score"] for row in classify(image)}
        assert scores["fake"] == pytest.approx(detector.predict(image).p_fake, abs=1e-4)


def test_training_drops_the_layer_and_joining_keeps_the_photographs_one(caplog):
    main, icons = network(families=THREE), network()
    icons.config.input_size = 32
    pixels = torch.randn(2, 3, 64, 64)
    both = combine(main, icons, tiny_side=40)
    with torch.no_grad():
        assert torch.equal(both.score(pixels)[2], main.score(pixels)[2])
        assert len(both.score(pixels[..., :32, :32])) == 2
        caplog.set_level("INFO", "fakedet.train")
        single = one_network(both, "main")
        assert single.config.families == [] and len(single.score(pixels)) == 2
    assert "dropped" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [{"families": ["FLUX"]}, {"families": ["a", "a"]}, {"families": ["a", ""]}, {"families": ["a", "b\n"]},
     {"families": [1, 2]}, {"family_threshold": 2}, {"family_temperature": 0}],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FakeDetConfig(**wrong)
