"""Early exit: crops are scored only where the views of the whole image leave a doubt."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT, photo_like
from evaluation_material import make_place, run
from PIL import Image

from fakedet import Detector, FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import save_checkpoint
from fakedet.network.views import count_whole
from fakedet.scan.run import scan
from fakedet.scan.sources import SourceError
from train.evaluation.early_exit import OFF, Limits, TwoScores, choose_exit_band

ALWAYS, NEVER = [0.0, 1.0], [0.5, 0.5]  # bands with which crops are scored always, never


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small network that sees three views of the whole and three crops, with a band that is off."""
    torch.manual_seed(0)
    config = FakeDetConfig(backbone="test_efficientnet", hidden_size=8, input_size=32, max_views=6, whole_views=3)
    return save_checkpoint(FakeDetForImageClassification(config), tmp_path_factory.mktemp("early") / "model")


def with_band(model: Path, band: list[float]) -> Path:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"early_exit_band": band}))
    return model


def load(model: Path, band: list[float], early_exit: bool = True) -> Detector:
    return Detector.from_pretrained(with_band(model, band), early_exit=early_exit, provenance=False)


@pytest.mark.parametrize("size", [(900, 300), (300, 900), (500, 500), (100, 40), (32, 32), (20, 90)])
def test_the_views_of_the_whole_are_those_that_reach_across(size, model):
    detector = load(model, ALWAYS)
    views = detector._prepare(Image.new("RGB", size)).views
    short = 0 if size[0] < size[1] else 1
    count = count_whole(views.boxes, size)
    assert count == {(900, 300): 3, (300, 900): 3, (500, 500): 1, (100, 40): 0}.get(size, len(views.boxes))
    assert all(box[short] == 0 and box[short + 2] == size[short] for box in views.boxes[:count])


def test_a_sure_image_is_scored_by_the_views_of_the_whole_alone(model):
    picture = photo_like(640, 320)
    every = load(model, ALWAYS).predict(picture)
    early = load(model, NEVER).predict(picture)
    assert (every.views, early.views) == (6, 3)
    views = load(model, NEVER)._prepare(picture).views
    logits = load(model, NEVER).runtime(views.pixels)[0]
    assert early.logit == pytest.approx(float(logits[:3].mean()), abs=1e-6)
    assert every.logit == pytest.approx(float(logits.mean()), abs=1e-6)


def test_a_doubtful_image_is_scored_by_all_views(model):
    sure = load(model, NEVER).predict(photo_like(640, 320)).p_fake
    inside = load(model, [min(sure - 1e-6, 0.5), max(sure + 1e-6, 0.5)]).predict(photo_like(640, 320))
    assert inside.views == 6
    assert inside.logit == load(model, ALWAYS).predict(photo_like(640, 320)).logit


def test_one_batch_holds_images_with_and_without_crops(model):
    pictures = [photo_like(640, 320, seed) for seed in range(6)] + [Image.new("RGB", (30, 30)), photo_like(200, 200)]
    sure = [verdict.p_fake for verdict in load(model, NEVER).predict_many(pictures)]
    detector = load(model, [min(0.5, np.median(sure)), max(0.5, np.median(sure))])
    together = list(detector.predict_many(pictures))
    assert {verdict.views for verdict in together} > {3, 6}
    assert [verdict.p_fake for verdict in together] == [detector.predict(picture).p_fake for picture in pictures]


def test_a_heat_map_and_the_stability_check_see_all_views(model):
    detector = load(model, NEVER)
    assert detector.predict(photo_like(640, 320), heatmap=True).views == 6
    assert detector.predict(photo_like(640, 320), stability=True).views == 6


def test_without_a_band_or_unasked_every_view_counts(model):
    config = json.loads((model / "config.json").read_text())
    del config["early_exit_band"]  # a checkpoint of an earlier version
    (model / "config.json").write_text(json.dumps(config))
    assert Detector.from_pretrained(model, early_exit=True).predict(photo_like(640, 320)).views == 6
    assert load(model, NEVER, early_exit=False).predict(photo_like(640, 320)).views == 6


@pytest.mark.parametrize("band", [[0.6, 0.9], [0.2, 1.1], [0.9, 0.1], 0.5])
def test_a_band_that_makes_no_sense_is_refused(band):
    with pytest.raises((ValueError, TypeError)):
        FakeDetConfig(early_exit_band=band)


@pytest.mark.integration
def test_scan_records_which_views_counted_and_goes_on_only_with_the_same(model, tmp_path):
    photo_like(640, 320).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "fakedet", "scan", tmp_path / "a.png", "--model", with_band(model, NEVER)]
    for views, count in (("fast", 3), ("all", 6)):
        output = tmp_path / f"{views}.parquet"
        done = subprocess.run(
            [*command, "--output", output, "--views", views], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert pq.read_table(output)["views"].to_pylist() == [count]
    parts = tmp_path / "again.parquet.parts"
    parts.mkdir()
    plan = {"source": str(tmp_path / "a.png"), "split": None, "count": 1, "provenance": True, "views": "all"}
    (parts / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(SourceError, match=r"differs in: .*views"):
        scan(str(tmp_path / "a.png"), tmp_path / "again.parquet", model=str(model), resume=True)


def scores_of(count: int = 2000, noise: float = 0.4) -> TwoScores:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    z = rng.normal(4.0 * labels - 2, 2)
    full, whole = (1 / (1 + np.exp(-logits)) for logits in (z, z + rng.normal(0, noise, count)))
    return TwoScores(labels, whole, full, np.digitize(full, [0.3, 0.7]) != np.digitize(whole, [0.3, 0.7]))


def test_the_band_keeps_within_its_limits_and_spares_most_images():
    scores = scores_of()
    effect = scores.effect(scores.ends(choose_exit_band(scores)))
    assert effect["answers_changed"] <= Limits.answers
    assert abs(effect["auc_change"]) <= Limits.auc
    assert effect["without_crops"] > 0.5
    strict = scores.ends(choose_exit_band(scores, Limits(answers=0.0)))
    assert not (strict & scores.differs).any()
    assert strict.mean() < effect["without_crops"]


def test_scores_that_have_nothing_in_common_switch_early_exit_off():
    scores = scores_of()
    unlike = TwoScores(scores.labels, scores.whole[::-1], scores.full, np.ones(len(scores.labels), dtype=bool))
    assert choose_exit_band(unlike, Limits(answers=0.0)) == OFF


@pytest.mark.integration
def test_calibrate_writes_the_band_alone_and_a_new_calibration_switches_it_off(model, tmp_path):
    place = make_place(tmp_path)
    config = with_band(model, ALWAYS) / "config.json"
    before = json.loads(config.read_text())
    arguments = ("--model", str(model), "--data", "data", "--num_workers", "0")
    done = run("calibrate.py", place, *arguments, "--early_exit")
    assert done.returncode == 0, done.stderr
    assert "cross-fitted over sources: auc" in done.stdout
    after = json.loads(config.read_text())
    assert {key for key in after if after[key] != before[key]} <= {"early_exit_band"}
    with_band(model, NEVER)
    assert run("calibrate.py", place, *arguments).returncode in (0, 2)  # an untrained network may have no calibration
    if json.loads(config.read_text())["calibration_temperature"] != before["calibration_temperature"]:
        assert json.loads(config.read_text())["early_exit_band"] == ALWAYS
