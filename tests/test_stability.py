"""The stability check: worn copies as of the whole picture, and "unsure" where one turns the answer round."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, photo_like
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakedet import Detector
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.views import make_views
from fakedet.stability import degraded_copies, jpeg_copy


def tuned(detector: Detector, bias: float, **settings) -> Detector:
    """The bundled network with another bias and no unsure band, whatever the checkpoint's own are."""
    checkpoint = copy.copy(detector.checkpoint)
    model = copy.copy(checkpoint.model)
    model.config = copy.copy(model.config)
    plain = {"calibration_temperature": 1.0, "calibration_bias": bias, "unsure_band": [0.5, 0.5]}
    model.config.update(plain | settings)
    object.__setattr__(checkpoint, "model", model)
    return Detector(checkpoint)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return photo_like(900, 700)


@pytest.fixture(scope="module")
def scores(detector, picture) -> dict[str, float]:
    """Raw logits of the picture and of its copies."""
    found = {"itself": make_views(picture, detector.config).pixels} | degraded_copies(picture, detector.config)
    return {name: float(detector.runtime(pixels)[0].mean()) for name, pixels in found.items()}


@pytest.fixture(scope="module")
def wavering(detector, scores) -> Detector:
    """Its threshold lies between the picture and one of its copies."""
    other = max((name for name in scores if name != "itself"), key=lambda name: abs(scores[name] - scores["itself"]))
    return tuned(detector, -(scores["itself"] + scores[other]) / 2)


@pytest.mark.parametrize("whole", [0, 3])
@pytest.mark.parametrize("size", [(1211, 933), (1600, 300), (300, 200), (90, 70)])
def test_a_copy_is_that_of_the_whole_picture(size, whole):
    # Only the views' surroundings are worn; that must be the same as wearing all of it and cutting afterwards.
    config, picture = FakeDetConfig(input_size=128, whole_views=whole), photo_like(*size)
    jpeg, smaller = degraded_copies(picture, config).values()
    assert (jpeg == make_views(jpeg_copy(picture, config.stability_jpeg), config).pixels).all()
    copy = picture.resize(tuple(round(side * 0.75) for side in size), Image.Resampling.BICUBIC)
    level = 1 / (255 * min(config.image_std))
    assert (smaller - make_views(copy, config).pixels).abs().max() <= 1.01 * level


def test_an_answer_that_a_copy_turns_round_is_unsure_and_says_so(wavering, picture, scores):
    plain, checked = wavering.predict(picture), wavering.predict(picture, stability=True)
    assert plain.verdict in ("real", "fake") and plain.stability is None
    assert checked.verdict == checked.pixel_verdict == "unsure"
    assert "another answer" in checked.headline and any("copy" in note for note in checked.notes)
    assert checked.stability["first_verdict"] == plain.verdict and not checked.stability["stable"]
    assert (checked.p_fake, checked.logit) == (plain.p_fake, plain.logit)  # the image's own score never changes
    assert [c["copy"] for c in checked.stability["copies"]] == [name for name in scores if name != "itself"]
    json.dumps(checked.to_dict())


def test_an_answer_that_copies_share_stays(detector, picture, scores):
    sure = tuned(detector, 5 - min(scores.values()))
    verdict = sure.predict(picture, stability=True)
    assert verdict.verdict == "fake" and verdict.stability["stable"] and len(verdict.stability["copies"]) == 2
    assert not any("copy" in note for note in verdict.notes)


def test_unsure_is_not_asked_again(detector, picture, scores):
    # nothing can be turned round, so no time is spent
    unsure = tuned(detector, -scores["itself"], unsure_band=[0.1, 0.9])
    assert unsure.predict(picture, stability=True).stability is None


def test_only_the_opposite_answer_counts_where_the_configuration_says_so(detector, wavering, picture):
    # just across the threshold but inside the band: a flip for "threshold", none for "verdict"
    p = wavering.predict(picture).p_fake
    band = [p + 1e-6, 0.99] if p < 0.5 else [0.01, p - 1e-6]
    bias = wavering.config.calibration_bias
    found = {
        how: tuned(detector, bias, stability_flip=how, unsure_band=band).predict(picture, stability=True).verdict
        for how in ("threshold", "verdict")
    }
    assert found == {"threshold": "unsure", "verdict": "real" if p < 0.5 else "fake"}


def test_copies_can_be_turned_off(detector, wavering, picture):
    off = tuned(detector, wavering.config.calibration_bias, stability_jpeg=0, stability_resize=1.0)
    verdict = off.predict(picture, stability=True)
    assert verdict.stability is None and verdict.verdict in ("real", "fake")


def test_many_at_once_are_as_one_by_one(wavering, picture):
    pictures = [picture, photo_like(300, 200, seed=3), Image.fromarray(np.zeros((9, 9), np.uint8))]
    many = [verdict.to_dict() for verdict in wavering.predict_many(pictures, stability=True)]
    for one, other in zip((wavering.predict(p, stability=True).to_dict() for p in pictures), many, strict=True):
        assert one["verdict"] == other["verdict"] and one["p_fake"] == pytest.approx(other["p_fake"], abs=1e-4)
        assert (one["stability"] or {}).get("stable") == (other["stability"] or {}).get("stable")


def test_what_the_file_declares_is_not_turned_round(wavering, picture, tmp_path):
    # A declaration does not change with the copy's pixels, so it still decides.
    info = PngInfo()
    info.add_text("parameters", "a hill\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Model: x")
    picture.save(tmp_path / "declared.png", pnginfo=info)
    verdict = wavering.predict(tmp_path / "declared.png", stability=True)
    assert (verdict.verdict, verdict.decided_by, verdict.pixel_verdict) == ("fake", "declared_ai", "unsure")


def test_the_longest_picture_has_copies_too(detector):
    # 64 : 1 is the most that is scored; rounding must not take a copy beyond it
    assert degraded_copies(photo_like(1408, 22), FakeDetConfig(input_size=64, tiny_side=0))


def test_on_the_command_line_it_is_asked_for(detector, picture, tmp_path):
    # The bundled checkpoint's own settings: the field is there, and p_fake is what it is without the check.
    picture.save(tmp_path / "a.png")
    command = [sys.executable, "-m", "fakedet", "predict", str(tmp_path / "a.png"), "--json", "--stability"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    row, plain = json.loads(done.stdout), detector.predict(tmp_path / "a.png")
    assert plain.stability is None and row["p_fake"] == pytest.approx(plain.p_fake, abs=1e-3)
    assert row["pixel_verdict"] == "unsure" or row["stability"]["copies"]
