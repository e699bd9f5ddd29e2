"""train/calibrate.py: the command on a tiny model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import datasets
import pytest
from evaluation_material import make_place, picture, run

from fakedet import Detector
from train import calibrate
from train.evaluation import run as evaluation


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_place(tmp_path_factory.mktemp("evaluate"))


@pytest.mark.integration
def test_calibrate_command_changes_what_the_detector_answers(place):
    """The command changes the verdict and leaves the rest of the configuration unchanged."""
    folder = place / "calibrated"
    shutil.copytree(place / "model", folder)
    before = json.loads((folder / "config.json").read_text())
    done = run("calibrate.py", place, "--model", "calibrated", "--data", "data")
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert "ece" in done.stdout
    after = json.loads((folder / "config.json").read_text())
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed <= {"calibration_temperature", "calibration_bias", "threshold", "unsure_band"}
    assert "calibration_temperature" in changed
    assert after["unsure_band"][0] <= 0.5 <= after["unsure_band"][1]
    verdict = Detector.from_pretrained(folder).predict(picture(3, brightness=100))
    z = verdict.logit / after["calibration_temperature"] + after["calibration_bias"]
    assert verdict.p_fake == pytest.approx(1 / (1 + math.exp(-z)))


def test_calibrate_by_risk_reads_a_parquet_file_and_reports_held_out_sources(place, tmp_path, capsys):
    """The band for unseen sources is chosen on the parquet file of validation."""
    folder, data = tmp_path / "model", tmp_path / "validation.parquet"
    shutil.copytree(place / "model", folder)
    datasets.load_from_disk(place / "data")["validation"].to_parquet(data)
    args = ["--model", str(folder), "--data", str(data), "--tiers", "clean", "web", "--num_workers", "0"]
    assert calibrate.main([*args, "--balance_sources", "--max_risk", "0.4", "--max_false_alarm", "0.4"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("cross-fitted  coverage") == 3
    low, high = json.loads((folder / "config.json").read_text())["unsure_band"]
    assert low <= 0.5 <= high


def test_a_lone_test_split_is_not_calibrated_on_by_default(place, tmp_path, capsys):
    data = tmp_path / "test.parquet"
    datasets.load_from_disk(place / "data")["test"].to_parquet(data)
    shutil.copytree(place / "model", tmp_path / "model")
    assert calibrate.main(["--model", str(tmp_path / "model"), "--data", str(data)]) == 2
    assert "only a test split" in capsys.readouterr().err


def test_tiny_images_get_numbers_of_their_own(place, tmp_path):
    """Icons must not set the temperature of photographs, and the report names the band that applied."""
    folder, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(place / "model", folder)
    common = ["--model", str(folder), "--data", str(place / "data"), "--num_workers", "0"]
    assert calibrate.main([*common, "--tiny_side", "64"]) == 0  # every picture of the set is smaller than that
    config = json.loads((folder / "config.json").read_text())
    assert (config["tiny_side"], config["calibration_temperature"]) == (64, 1.0)
    small = Detector.from_pretrained(folder).predict(picture(2))
    z = small.logit / config["tiny_temperature"] + config["tiny_bias"]
    assert small.p_fake == pytest.approx(1 / (1 + math.exp(-z)))
    assert evaluation.main([*common, "--output_dir", str(out), "--max_samples", "4", "--probe_samples", "0"]) == 0
    tiny = json.loads((out / "report.json").read_text())["tiny"]
    assert tiny["side"] == 64
    assert tiny["images"] >= 3
    assert "calibration of their own" in (out / "report.md").read_text(encoding="utf-8")


def test_calibrate_refuses_what_is_no_folder(capsys):
    """A Hub id cannot be written to."""
    assert calibrate.main(["--model", "someone/model", "--data", "x"]) == 2
    assert "not a checkpoint folder" in capsys.readouterr().err
