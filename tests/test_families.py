"""The second output, which names a family of generators: what it may say, and when; the score knows nothing of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import App
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage
from PIL.PngImagePlugin import PngInfo

from fakedet import Detector, FakeDetConfig, FakeDetForImageClassification
from fakedet.__main__ import describe
from fakedet.hub import checkpoint as hub
from fakedet.network.runtime import OnnxRuntime, RuntimeUnavailable, TorchRuntime
from fakedet.scan import run as scan
from fakedet.web import batch
from fakedet.web.answer import verdict_card
from fakedet.web.batch_view import as_table
from fakedet.web.figures import family_note, to_html
from fakedet.web.scorer import Scorer
from train import attribute
from train.attribution.families import family_figures, family_of, true_families
from train.attribution.family_head import choose_threshold, stored_as_half, with_families
from train.combine import combine
from train.evaluation import run as evaluation
from train.learning.build import one_network
from train.publishing.card import model_card

THREE = ["FLUX", "GAN", "other"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of graphs: an empty one for each test."""
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))


def network(bias=None, z: float | None = None, **settings) -> FakeDetForImageClassification:
    """A small network; with `bias` its families get these outputs whatever it sees, with `z` its logit is that."""
    torch.manual_seed(0)
    values = {"backbone": "test_efficientnet", "hidden_size": 8, "input_size": 64, "max_views": 2, **settings}
    model = FakeDetForImageClassification(FakeDetConfig(**values)).eval()
    with torch.no_grad():
        if bias is not None:
            model.family.weight.zero_()
            model.family.bias.copy_(torch.tensor(bias))
        if z is not None:
            model.fc2.weight.zero_()
            model.fc2.bias.fill_(z)
    return model


def picture(seed: int = 0, tint: tuple = (1, 1, 1), width: int = 90, height: int = 80) -> PILImage.Image:
    small = np.random.default_rng(seed).integers(60, 200, (8, 8, 3)) * np.array(tint)
    return PILImage.fromarray(small.astype(np.uint8)).resize((width, height), PILImage.Resampling.BICUBIC)


def detector_of(model: FakeDetForImageClassification, folder: Path, **options) -> Detector:
    return Detector.from_pretrained(hub.save_checkpoint(model, folder), **options)


def sure(folder: Path, **options) -> Detector:
    """Calls everything AI-generated, and most like FLUX."""
    return detector_of(network([4.0, 1.0, 0.0], z=6.0, families=THREE), folder, **options)


@pytest.mark.parametrize(
    ("generator", "family"),
    [("sd1.4-diffusiondb", "SD 1.x/2"), ("stable_diffusion_v_1_5", "SD 1.x/2"), ("Stable-Diffusion-2-1", "SD 1.x/2"),
     ("sdxl-realvisxl-v3-turbo", "SDXL"), ("stable-diffusion-xl-base-1.0", "SDXL"), ("sd3.5-large", "SD3"),
     ("FLUX.1 [dev]", "FLUX"), ("stylegan2-tpdne", "GAN"), ("BigGAN", "GAN"), ("dalle2", "DALL-E"),
     ("dall-e-3", "DALL-E"), ("gpt-4o-image", "GPT image"), ("midjourney-v2v3", "Midjourney"),
     ("nano-banana-pro(gemini-3-pro-image)", "Gemini"), ("dalle-mini", "other"), ("latent-diffusion-ldm", "other"),
     ("z-image", "other"), ("elegant", "other"), ("midjourney-v7(?)", None), ("nano-banana(inferred)", None),
     ("unknown-2025(midjourney-like)", None), ("stable-diffusion", None), ("", None), (None, None)],
)  # fmt: skip
def test_a_family_is_read_from_a_generators_name_and_a_guess_is_none(generator, family):
    assert family_of(generator) == family


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

    views = make_views(picture(), detector.config).pixels
    with torch.no_grad():
        expected = (detector.checkpoint.model.score(views)[2] / 0.5).softmax(1).mean(0)
    found = detector.predict(picture()).families
    assert [found[name] for name in THREE] == pytest.approx(expected.tolist(), abs=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)


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
        worn = detector._run([next(iter(worn_views(picture(), detector.config)))])[0].logits.mean()
        model.fc2.weight *= 20 / (clean - worn)
        model.fc2.bias *= 20 / (clean - worn)
        detector = detector_of(model, tmp_path / "second")
        model.fc2.bias += 10 - detector.predict(picture()).logit
    detector = detector_of(model, tmp_path / "third")
    assert detector.predict(picture()).generator
    verdict = detector.predict(picture(), stability=True)
    assert (verdict.verdict, verdict.generator) == ("unsure", None)


def worn_views(image, config):
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
    found = list(batch.run(Scorer(detector), [(str(tmp_path / "in" / "a.png"), "a.png")], 9))[-1]
    assert "Most like: &lt;b&gt;FLUX (93 %)." in as_table(found)
    with open(batch.write_files(found, tmp_path)[0], encoding="utf-8-sig", newline="") as file:
        assert next(csv.DictReader(file))["generator"] == "<b>FLUX"
    scan.scan(str(tmp_path / "in"), tmp_path / "t.jsonl", str(tmp_path / "m"))
    row = json.loads((tmp_path / "t.jsonl").read_text())
    assert row["generator"] == "<b>FLUX" and row["generator_p"] == pytest.approx(0.936, abs=1e-3)


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
        said = page.inner_text("#answer")
        page.close()
    finally:
        app.stop()
    assert "Most like: FLUX (93 %). In its tests 3 of 4 names for pictures of the families that it knows were" in said
    assert "Of 1 pictures of other generators, 0 got a name" in said


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


def test_the_threshold_is_the_lowest_from_which_enough_names_are_right():
    truth = np.r_[np.zeros(40, int), np.ones(40, int)]
    found = np.zeros((80, 3))
    found[:40, 0], found[40:, 1] = np.linspace(0.4, 0.99, 40), 0.95
    found[40:60] = (0.7, 0.2, 0.1)  # half of the second family are taken for the first, with 0.7
    found[:, 2] = 1 - found[:, :2].sum(1)
    threshold = choose_threshold([(found, truth)], 2, 0.9)
    assert 0.7 < threshold < 0.75
    assert choose_threshold([(found, truth), (found[::-1], truth)], 2, 0.9) is None, "the other part has no right name"
    assert choose_threshold([(found[30:50], truth[30:50])], 2, 0.5) is None, "too few names to tell"


def test_figures_count_only_generators_that_are_known_and_names_for_photographs_as_wrong():
    rows = [(0, "", "FLUX", "FLUX"), (0, "", "GAN", ""), (1, "flux-dev", "FLUX", "FLUX"), (1, "flux-dev", "GAN", ""),
            (1, "stylegan2", "FLUX", "FLUX"), (1, "sd3", "FLUX", "FLUX"), (1, "sd3", "other", ""),
            (1, "flux(?)", "GAN", "GAN")]  # fmt: skip
    found = family_figures(pd.DataFrame(rows, columns=["label", "generator", "family", "family_named"]), THREE)
    assert (found["n"], found["accuracy"], found["n_named"], found["accuracy_named"]) == (5, 2 / 5, 3, 1 / 3)
    assert (found["n_real"], found["n_real_named"]) == (2, 1)
    assert {row["family"]: (row["n"], row["n_named"], row["n_named_right"]) for row in found["confusion"]} == {
        "FLUX": (2, 1, 1), "GAN": (1, 1, 0), "other": (2, 1, 0)}  # fmt: skip
    assert true_families(["sd3", "flux", "flux(?)"], THREE).tolist() == ["other", "FLUX", None]
    note = family_note([{"attribution": {"tiers": {"clean": found}}}])
    assert "1 of 2 names" in note and "Of 2 pictures of other generators, 1 got a name" in note
    assert "was not measured" in family_note([{}]) and "was not measured" in family_note([{"attribution": None}])


TINTS = {"flux.1-dev": (1, 0.2, 0.2), "stylegan2": (0.2, 1, 0.2), "muse": (0.2, 0.2, 1)}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Images of three generators from two collections, told apart by their colour; `noise`, by nothing."""
    root = tmp_path_factory.mktemp("families")
    text = Value("string")
    features = Features({"image": Image(), "label": ClassLabel(names=["real", "fake"]), "source": text,
                         "generator": text})  # fmt: skip
    for name in ("colours", "noise"):
        splits = {}
        for split, count in (("train", 12), ("validation", 8)):
            rows = []
            for place in range(2 * 4 * count):
                source, kind = ("a", "b")[place % 2], [*TINTS, ""][place // 2 % 4]
                tint = TINTS.get(kind, (1, 1, 1)) if name == "colours" else (1, 1, 1)
                seed = place + 10_000 * (split == "train")
                rows.append({"image": picture(seed, tint), "label": int(bool(kind)), "source": source,
                             "generator": kind or "camera"})  # fmt: skip
            splits[split] = Dataset.from_list(rows, features=features)
        DatasetDict(splits).save_to_disk(root / name)
    return root


TEACH = ["--least", "10", "--least_held_out", "5", "--num_workers", "0"]


def test_families_are_learned_measured_and_written_and_the_scores_stay(data, tmp_path, capsys):
    folder = hub.save_checkpoint(network(z=6.0), tmp_path / "m", half=True)
    before = hub.load_checkpoint(folder).model
    report = tmp_path / "attribution.json"
    assert (
        attribute.main(["--model", str(folder), "--data", str(data / "colours"), *TEACH, "--report", str(report)]) == 0
    )
    told = capsys.readouterr().out
    assert "collections left out" in told and "train/export.py" in told
    after = hub.load_checkpoint(folder).model
    assert after.config.families == THREE and stored_as_half(folder / "model.safetensors")
    pixels = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(before.score(pixels), after.score(pixels)[:2], strict=True))
    measured = json.loads(report.read_text())
    assert measured["parts"]["validation"]["accuracy_named"] >= 0.8 <= measured["parts"]["validation"]["accuracy"]
    verdict = Detector.from_pretrained(folder).predict(picture(77, TINTS["stylegan2"]))
    assert next(iter(verdict.generator)) == "GAN"

    out = tmp_path / "out"
    args = ["--model", str(folder), "--data", str(data / "colours"), "--split", "validation", "--output_dir", str(out),
            "--probe_samples", "0", "--mistakes", "0", "--tiers", "clean", "web"]  # fmt: skip
    assert evaluation.main(args) == 0
    found = json.loads((out / "report.json").read_text())
    assert found["attribution"]["families"] == THREE and set(found["attribution"]["tiers"]) == {"clean", "web"}
    clean = found["attribution"]["tiers"]["clean"]
    assert clean["n"] == 48 and clean["accuracy_named"] >= 0.8 and clean["n_real"] == 16
    assert "## Families of generators" in (out / "report.md").read_text()
    assert "Family of generators" in to_html([found | {"date": "2026"}])
    card = model_card("me/it", after.config, 1, found)
    assert "names the family of generators where it is confident: FLUX, GAN." in card and "most likely GAN" in card


def test_where_families_cannot_be_told_the_checkpoint_names_none(data, tmp_path, capsys):
    folder = hub.save_checkpoint(network([4.0, 1.0, 0.0], families=THREE), tmp_path / "m")
    before = hub.load_checkpoint(folder).model
    assert attribute.main(["--model", str(folder), "--data", str(data / "noise"), *TEACH]) == 0
    assert "names no families" in capsys.readouterr().out
    after = hub.load_checkpoint(folder).model
    pixels = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert after.config.families == [] and torch.equal(before.score(pixels)[0], after.score(pixels)[0])


def test_what_cannot_be_learned_is_said_in_one_line(data, tmp_path, capsys):
    assert attribute.main(["--model", str(tmp_path), "--data", str(data / "colours")]) == 2
    folder = hub.save_checkpoint(network(), tmp_path / "m")
    assert attribute.main(["--model", str(folder), "--data", str(data / "colours"), "--least", "999"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()[-1]
    assert errors == "attribute: No family has enough images to learn it and to measure it."
