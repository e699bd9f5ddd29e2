"""The stability check: copies equal those of the whole image, and a changed answer becomes "unsure"."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, photo_like
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakedet import Detector
from fakedet.network.settings import Settings
from fakedet.network.views import make_views
from fakedet.stability import degraded_copies, jpeg_copy, recheck, unstable_note


def tuned(detector: Detector, bias: float, **settings) -> Detector:
    """The bundled network with another bias, no unsure band and no copy without colour, whatever it has itself.

    Nothing counts as a drawing, which the made picture of these tests might be taken for.
    """
    checkpoint = detector.checkpoint
    plain = {"calibration_temperature": 1.0, "calibration_bias": bias, "unsure_band": [0.5, 0.5]}
    plain |= {"stability_grey": False, "kind_threshold": 1.0}
    return Detector(replace(checkpoint, settings=replace(checkpoint.settings, **plain | settings)))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return photo_like(900, 700)


@pytest.fixture(scope="module")
def scores(detector, picture) -> dict[str, float]:
    """Raw logits of the picture and of its copies."""
    config = replace(detector.config, stability_grey=False)
    views = {"itself": make_views(picture, config).pixels} | degraded_copies(picture, config)
    return {name: float(detector.runtime(pixels)[0].mean()) for name, pixels in views.items()}


@pytest.fixture(scope="module")
def wavering(detector, scores) -> Detector:
    """A detector whose threshold lies between the picture and one of its copies."""
    other = max((name for name in scores if name != "itself"), key=lambda name: abs(scores[name] - scores["itself"]))
    return tuned(detector, -(scores["itself"] + scores[other]) / 2)


@pytest.mark.parametrize("whole", [0, 3])
@pytest.mark.parametrize("size", [(1211, 933), (1600, 300), (300, 200), (90, 70)])
def test_a_degraded_copy_equals_that_of_the_whole_picture(size, whole):
    # Only the surroundings of the views are degraded; the result must equal degrading the whole and cutting it.
    config, picture = Settings(input_size=128, whole_views=whole), photo_like(*size)
    jpeg, smaller = degraded_copies(picture, config).values()
    assert (jpeg == make_views(jpeg_copy(picture, config.stability_jpeg), config).pixels).all()
    copy = picture.resize(tuple(round(side * 0.75) for side in size), Image.Resampling.BICUBIC)
    level = 1 / (255 * min(config.image_std))
    assert np.abs(smaller - make_views(copy, config).pixels).max() <= 1.01 * level


def test_an_answer_that_a_copy_changes_is_unsure_and_explained(wavering, picture, scores):
    plain, checked = wavering.predict(picture), wavering.predict(picture, stability=True)
    assert plain.verdict in ("real", "fake")
    assert plain.stability is None
    assert checked.verdict == checked.pixel_verdict == "unsure"
    assert "another answer" in checked.headline
    assert any("copy" in note for note in checked.notes)
    assert checked.stability["first_verdict"] == plain.verdict
    assert not checked.stability["stable"]
    assert (checked.p_fake, checked.logit) == (plain.p_fake, plain.logit)  # the image's own score never changes
    assert [c["copy"] for c in checked.stability["copies"]] == [name for name in scores if name != "itself"]
    json.dumps(checked.to_dict())


def test_an_answer_that_copies_share_stays(detector, picture, scores):
    sure = tuned(detector, 5 - min(scores.values()))
    verdict = sure.predict(picture, stability=True)
    assert verdict.verdict == "fake"
    assert verdict.stability["stable"]
    assert len(verdict.stability["copies"]) == 2
    assert not any("copy" in note for note in verdict.notes)


def test_unsure_is_not_checked_again(detector, picture, scores):
    # no copy can change it, so no time is spent
    unsure = tuned(detector, -scores["itself"], unsure_band=[0.1, 0.9])
    assert unsure.predict(picture, stability=True).stability is None


def test_the_copies_of_all_images_are_scored_in_one_call(picture):
    config = Settings(input_size=64, unsure_band=[0.4, 0.6])
    calls = []

    def score(view_sets):
        calls.append(len(view_sets))
        return [3.0, -3.0, 3.0, 3.0]

    checks = recheck([picture] * 3, [3.0, 0.0, 3.0], [config.calibration()] * 3, config, score)
    assert calls == [4]
    assert [check and check["stable"] for check in checks] == [False, None, True]


def test_with_the_rule_verdict_only_the_opposite_answer_counts(detector, wavering, picture):
    # just across the threshold but inside the band: changed by the rule "threshold", unchanged by "verdict"
    p = wavering.predict(picture).p_fake
    band = [p + 1e-6, 0.99] if p < 0.5 else [0.01, p - 1e-6]
    bias = wavering.config.calibration_bias
    verdicts = {
        rule: tuned(detector, bias, stability_flip=rule, unsure_band=band).predict(picture, stability=True).verdict
        for rule in ("threshold", "verdict")
    }
    assert verdicts == {"threshold": "unsure", "verdict": "real" if p < 0.5 else "fake"}


@pytest.mark.parametrize(("grey", "stable"), [(-3.0, False), (-0.1, True), (3.0, True)])
def test_a_copy_without_colour_counts_only_where_it_has_the_opposite_answer(picture, grey, stable):
    config = Settings(input_size=64, unsure_band=[0.4, 0.6], stability_grey=True)
    (check,) = recheck([picture], [3.0], [config.calibration()], config, lambda views: [3.0, 3.0, grey])
    assert [copy["copy"] for copy in check["copies"]][-1] == "without colour"
    assert check["stable"] == stable
    if not stable:
        note = unstable_note(check, config.calibration(), config)
        assert "without colour: 5 % AI-generated" in note and "JPEG" not in note


def test_a_picture_without_colour_has_no_copy_without_it(picture):
    config = Settings(input_size=64, stability_grey=True)
    grey = jpeg_copy(picture.convert("L").convert("RGB"), 60)
    assert "without colour" in degraded_copies(picture, config)
    assert "without colour" not in degraded_copies(grey, config)


def test_copies_can_be_turned_off(detector, wavering, picture):
    off = tuned(detector, wavering.config.calibration_bias, stability_jpeg=0, stability_resize=1.0)
    verdict = off.predict(picture, stability=True)
    assert verdict.stability is None
    assert verdict.verdict in ("real", "fake")


def test_a_batch_gets_the_answers_of_single_images(wavering, picture):
    pictures = [picture, photo_like(300, 200, seed=3), Image.fromarray(np.zeros((9, 9), np.uint8))]
    many = [verdict.to_dict() for verdict in wavering.predict_many(pictures, stability=True)]
    for one, other in zip((wavering.predict(p, stability=True).to_dict() for p in pictures), many, strict=True):
        assert one["verdict"] == other["verdict"]
        assert one["p_fake"] == pytest.approx(other["p_fake"], abs=1e-4)
        assert (one["stability"] or {}).get("stable") == (other["stability"] or {}).get("stable")


def test_a_declaration_is_not_changed_by_a_copy(wavering, picture, tmp_path):
    # A declaration does not depend on the pixels, so it still decides.
    info = PngInfo()
    info.add_text("parameters", "a hill\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Model: x")
    picture.save(tmp_path / "declared.png", pnginfo=info)
    verdict = wavering.predict(tmp_path / "declared.png", stability=True)
    assert (verdict.verdict, verdict.decided_by, verdict.pixel_verdict) == ("fake", "declared_ai", "unsure")


def test_the_longest_image_has_copies_too(detector):
    # 64 : 1 is the maximum aspect ratio; rounding must not take a copy beyond it
    assert degraded_copies(photo_like(1408, 22), Settings(input_size=64, tiny_side=0))


@pytest.mark.integration
def test_the_command_line_has_a_flag_for_it(detector, picture, tmp_path):
    # With the settings of the bundled checkpoint: the field exists, and the check does not change p_fake.
    picture.save(tmp_path / "a.png")
    command = [sys.executable, "-m", "fakedet", "predict", str(tmp_path / "a.png"), "--json", "--stability"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    row, plain = json.loads(done.stdout), detector.predict(tmp_path / "a.png")
    assert plain.stability is None
    assert row["p_fake"] == pytest.approx(plain.p_fake, abs=1e-3)
    assert row["pixel_verdict"] == "unsure" or row["stability"]["copies"]
