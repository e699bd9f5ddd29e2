"""Early exit: all views of an image are scored only where the first ones leave a doubt."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, photo_like
from evaluation_material import encode, picture, save_tiny_model
from PIL import Image

from fakedet import Detector, FakeDetConfig
from fakedet.scan.run import scan
from fakedet.scan.sources import SourceError
from train import calibrate
from train.evaluation.early_exit import OFF, Limits, TwoScores, choose_exit_band

EMPTY, FULL = [0.5, 0.5], [0.0, 1.0]  # bands that no P(fake) lies in, and every one
KEYS = ("early_exit_views", "early_exit_band")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A small network that sees three views of the whole and three crops of a large image."""
    return save_tiny_model(tmp_path_factory.mktemp("early") / "model", max_views=6, whole_views=3, tiny_side=28)


@pytest.fixture
def model(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change(model: Path, **settings) -> Path:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | settings))
    return model


def load(model: Path, views: int, band: list[float], early_exit: bool = True) -> Detector:
    change(model, early_exit_views=views, early_exit_band=band)
    return Detector.from_pretrained(model, early_exit=early_exit, provenance=False)


def test_a_sure_image_is_scored_by_its_first_views_alone(model):
    image = photo_like(640, 320)
    every = load(model, 0, EMPTY).predict(image)
    early = load(model, 2, EMPTY).predict(image)
    assert (every.views, early.views) == (6, 2)
    assert early.logit == pytest.approx(np.mean(every.view_logits[:2]), abs=1e-6)


def test_a_doubtful_image_is_scored_as_without_early_exit(model):
    every = load(model, 0, EMPTY).predict(photo_like(640, 320))
    doubtful = load(model, 2, FULL).predict(photo_like(640, 320))
    assert doubtful.views == 6
    assert doubtful.view_logits == every.view_logits
    assert doubtful.p_fake == every.p_fake


def test_a_batch_may_hold_sure_and_doubtful_images(model):
    images = [photo_like(640, 320, seed) for seed in range(6)] + [Image.new("RGB", (30, 30)), photo_like(200, 200)]
    middle = float(np.median([verdict.p_fake for verdict in load(model, 2, EMPTY).predict_many(images)]))
    detector = load(model, 2, [min(0.5, middle), max(0.5, middle)])
    together = list(detector.predict_many(images))
    assert {verdict.views for verdict in together[:6]} == {2, 6}
    assert [verdict.p_fake for verdict in together] == [detector.predict(image).p_fake for image in images]


def test_a_tiny_image_has_all_its_views(model):
    # The band is chosen on photographs.
    assert load(model, 1, EMPTY).predict(photo_like(20, 20)).views == 2


def test_a_heat_map_and_the_stability_check_see_all_views(model):
    detector = load(model, 2, EMPTY)
    assert detector.predict(photo_like(640, 320), heatmap=True).views == 6
    assert detector.predict(photo_like(640, 320), stability=True).views == 6


def test_it_is_off_unless_asked_for_and_in_earlier_checkpoints(model):
    assert load(model, 2, EMPTY, early_exit=False).predict(photo_like(640, 320)).views == 6
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in KEYS}))
    assert Detector.from_pretrained(model, early_exit=True).predict(photo_like(640, 320)).views == 6


@pytest.mark.parametrize(
    "settings",
    [{"early_exit_band": [0.6, 0.9]}, {"early_exit_band": [0.2, 1.1]}, {"early_exit_views": 10},
     {"early_exit_views": 0.5}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        FakeDetConfig(**settings)


@pytest.mark.integration
def test_scan_records_how_many_views_counted_and_goes_on_only_with_the_same(model, tmp_path):
    photo_like(640, 320).save(tmp_path / "a.png")
    change(model, early_exit_views=2, early_exit_band=EMPTY)
    command = [sys.executable, "-m", "fakedet", "scan", tmp_path / "a.png", "--model", model]
    for arguments, count in (([], 2), (["--views", "all"], 6)):
        output = tmp_path / f"{count}.parquet"
        done = subprocess.run(
            [*command, "--output", output, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert pq.read_table(output)["views"].to_pylist() == [count]
    parts = tmp_path / "again.parquet.parts"
    parts.mkdir()
    (parts / "plan.json").write_text(json.dumps({"views": "all"}))
    with pytest.raises(SourceError, match=r"differs in: .*views"):
        scan(str(tmp_path / "a.png"), tmp_path / "again.parquet", model=str(model), resume=True)


def scores_of(count: int = 2000, noise: float = 0.4) -> TwoScores:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    z = rng.normal(4.0 * labels - 2, 2)
    full, first = (1 / (1 + np.exp(-logits)) for logits in (z, z + rng.normal(0, noise, count)))
    differs = np.digitize(full, [0.3, 0.7]) != np.digitize(first, [0.3, 0.7])
    return TwoScores(labels, first, full, differs, np.full(count, 6), np.full(count, 4))


def test_the_band_spares_most_views_and_keeps_within_its_limits():
    scores = scores_of()
    effect = scores.effect(scores.ends(choose_exit_band(scores)))
    assert effect["answers_changed"] <= Limits.answers
    assert abs(effect["auc_change"]) <= Limits.auc
    assert effect["views"] < 4 < effect["all_views"]
    strict = scores.ends(choose_exit_band(scores, Limits(answers=0.0)))
    assert not (strict & scores.differs).any()
    assert scores.effect(strict)["views"] > effect["views"]


def test_first_views_that_say_nothing_switch_early_exit_off():
    scores = scores_of()
    every = np.ones(len(scores.labels), dtype=bool)
    unlike = TwoScores(scores.labels, scores.first[::-1], scores.full, every, scores.views, scores.spared)
    assert choose_exit_band(unlike, Limits(answers=0.0)) == OFF


def test_calibrate_writes_early_exit_alone_and_a_new_calibration_switches_it_off(model, tmp_path, capsys):
    rows = {"image": [], "label": [i % 2 for i in range(40)], "source": [f"source{i // 4}" for i in range(40)]}
    for i in range(40):
        data = encode(picture(i, 160, 100, brightness=100 * (i % 2)), "JPEG", quality=90)
        rows["image"].append({"bytes": data, "path": None})
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["real", "fake"]), source=datasets.Value("string")
    )
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "validation.parquet")
    arguments = ["--model", str(model), "--data", str(tmp_path / "validation.parquet"), "--num_workers", "0"]
    before = json.loads((model / "config.json").read_text())
    assert calibrate.main(arguments) == 0
    calibrated = json.loads((model / "config.json").read_text())
    assert calibrate.main([*arguments, "--early_exit"]) == 0
    assert "cross-fitted over sources: auc" in capsys.readouterr().out
    early = json.loads((model / "config.json").read_text())
    assert {key for key in early if early[key] != calibrated[key]} == set(KEYS)
    assert early["early_exit_views"] > 0 == before["early_exit_views"]
    image = picture(1, 160, 100, brightness=100)
    assert Detector.from_pretrained(model, early_exit=True).predict(image).views < 6
    assert calibrate.main(arguments) == 0
    assert json.loads((model / "config.json").read_text())["early_exit_views"] == 0
