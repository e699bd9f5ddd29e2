"""Generator families: names, figures, threshold, and the command that fits the layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from family_material import THREE, network, picture

from fakedet import Detector
from fakedet.hub import checkpoint as hub
from fakedet.web.figures import family_note, to_html
from train import attribute
from train.attribution.families import family_figures, family_of, true_families
from train.attribution.family_head import choose_threshold, stored_as_half
from train.evaluation import run as evaluation
from train.publishing.card import CardSource, model_card


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """An empty cache of graphs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKEDET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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


def test_the_threshold_is_the_lowest_from_which_enough_names_are_right():
    truth = np.r_[np.zeros(40, int), np.ones(40, int)]
    likely = np.zeros((80, 3))
    likely[:40, 0], likely[40:, 1] = np.linspace(0.4, 0.99, 40), 0.95
    likely[40:60] = (0.7, 0.2, 0.1)  # half of the second family are taken for the first, with 0.7
    likely[:, 2] = 1 - likely[:, :2].sum(1)
    threshold = choose_threshold([(likely, truth)], 2, 0.9)
    assert 0.7 < threshold < 0.75
    assert choose_threshold([(likely, truth), (likely[::-1], truth)], 2, 0.9) is None, (
        "the other part has no right name"
    )
    assert choose_threshold([(likely[30:50], truth[30:50])], 2, 0.5) is None, "too few names to tell"


def test_figures_count_only_generators_that_are_known_and_names_for_photographs_as_wrong():
    rows = [(0, "", "FLUX", "FLUX"), (0, "", "GAN", ""), (1, "flux-dev", "FLUX", "FLUX"), (1, "flux-dev", "GAN", ""),
            (1, "stylegan2", "FLUX", "FLUX"), (1, "sd3", "FLUX", "FLUX"), (1, "sd3", "other", ""),
            (1, "flux(?)", "GAN", "GAN")]  # fmt: skip
    figures = family_figures(pd.DataFrame(rows, columns=["label", "generator", "family", "family_named"]), THREE)
    assert (figures["n"], figures["accuracy"], figures["n_named"], figures["accuracy_named"]) == (5, 2 / 5, 3, 1 / 3)
    assert (figures["n_real"], figures["n_real_named"]) == (2, 1)
    assert {row["family"]: (row["n"], row["n_named"], row["n_named_right"]) for row in figures["confusion"]} == {
        "FLUX": (2, 1, 1), "GAN": (1, 1, 0), "other": (2, 1, 0)}  # fmt: skip
    assert true_families(["sd3", "flux", "flux(?)"], THREE).tolist() == ["other", "FLUX", None]
    text = family_note([{"attribution": {"tiers": {"clean": figures}}}])
    assert "1 of 2 names" in text and "Of 2 pictures of other generators, 1 got a name" in text
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


FIT = ["--least", "10", "--least_held_out", "5", "--num_workers", "0"]


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A checkpoint that was fitted on the colours, with attribution.json beside it, and the network of before."""
    folder = hub.save_checkpoint(network(z=6.0), tmp_path_factory.mktemp("fitted"), half=True)
    before = hub.load_checkpoint(folder).model
    report = str(folder / "attribution.json")
    assert attribute.main(["--model", str(folder), "--data", str(data / "colours"), *FIT, "--report", report]) == 0
    return folder, before


@pytest.fixture(scope="module")
def evaluated(data, fitted, tmp_path_factory) -> Path:
    """The report folder of the fitted checkpoint."""
    folder = tmp_path_factory.mktemp("report")
    command = ["--model", fitted[0], "--data", data / "colours", "--split", "validation", "--output_dir", folder,
               "--probe_samples", 0, "--mistakes", 0, "--tiers", "clean", "web"]  # fmt: skip
    assert evaluation.main([str(part) for part in command]) == 0
    return folder


@pytest.mark.integration
def test_a_fit_leaves_every_score_as_it_was(fitted):
    folder, before = fitted
    after, pixels = hub.load_checkpoint(folder).model, torch.randn(3, 3, 64, 64)
    assert after.config.families == THREE and stored_as_half(folder / "model.safetensors")
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(before.score(pixels), after.score(pixels)[:2], strict=True))


@pytest.mark.integration
def test_a_fit_is_measured_on_the_validation_split_and_on_collections_left_out(fitted):
    parts = json.loads((fitted[0] / "attribution.json").read_text())["parts"]
    assert set(parts) == {"collections left out", "validation"}
    assert parts["validation"]["accuracy_named"] >= 0.8 <= parts["validation"]["accuracy"]


@pytest.mark.integration
def test_a_fitted_checkpoint_names_the_family(fitted):
    verdict = Detector.from_pretrained(fitted[0]).predict(picture(77, TINTS["stylegan2"]))
    assert next(iter(verdict.generator)) == "GAN"


@pytest.mark.integration
def test_an_evaluation_measures_the_naming_of_families(evaluated):
    attribution = json.loads((evaluated / "report.json").read_text())["attribution"]
    assert attribution["families"] == THREE and set(attribution["tiers"]) == {"clean", "web"}
    clean = attribution["tiers"]["clean"]
    assert clean["n"] == 48 and clean["accuracy_named"] >= 0.8 and clean["n_real"] == 16
    assert "## Families of generators" in (evaluated / "report.md").read_text()


@pytest.mark.integration
def test_page_and_card_show_how_often_families_are_named_rightly(evaluated, fitted):
    report = json.loads((evaluated / "report.json").read_text())
    assert "Family of generators" in to_html([report | {"date": "2026"}])
    clean = report["attribution"]["tiers"]["clean"]
    card = model_card(CardSource(hub.load_checkpoint(fitted[0]).model.config, 1, "ab" * 32, report), "me/it")
    assert "**Generator families:** FLUX, GAN; one is named" in card
    assert f"named for {clean['n_named']} of 48 fakes of a known family, rightly in " in card


@pytest.mark.integration
def test_where_families_cannot_be_told_the_checkpoint_names_none(data, tmp_path, capsys):
    folder = hub.save_checkpoint(network([4.0, 1.0, 0.0], families=THREE), tmp_path / "m")
    before = hub.load_checkpoint(folder).model
    assert attribute.main(["--model", str(folder), "--data", str(data / "noise"), *FIT]) == 0
    assert "names no families" in capsys.readouterr().out
    after = hub.load_checkpoint(folder).model
    pixels = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert after.config.families == [] and torch.equal(before.score(pixels)[0], after.score(pixels)[0])


@pytest.mark.integration
def test_what_cannot_be_learned_is_said_in_one_line(data, tmp_path, capsys):
    assert attribute.main(["--model", str(tmp_path), "--data", str(data / "colours")]) == 2
    folder = hub.save_checkpoint(network(), tmp_path / "m")
    assert attribute.main(["--model", str(folder), "--data", str(data / "colours"), "--least", "999"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()[-1]
    assert errors == "attribute: No family has enough images to learn it and to measure it."
