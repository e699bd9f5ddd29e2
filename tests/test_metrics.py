"""train/evaluation/metrics.py: known values, undefined figures, and bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.evaluation.metrics import BinaryDetection, detection_metrics, expected_calibration_error, reliability_bins

ROOT = Path(__file__).resolve().parent.parent


def test_a_worked_example_by_hand():
    """Every figure at the threshold must match a count by hand."""
    result = detection_metrics([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.6, 0.9])
    assert (result["tn"], result["fp"], result["fn"], result["tp"]) == (3, 1, 0, 2)
    assert result["accuracy"] == pytest.approx(5 / 6)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    assert result["precision"] == pytest.approx(2 / 3)
    assert result["recall"] == 1.0
    assert result["f1"] == pytest.approx(0.8)
    assert result["roc_auc"] == pytest.approx(7 / 8)  # 7 of the 8 real-fake pairs stand in the right order
    assert result["brier"] == pytest.approx((0.01 + 0.04 + 0.09 + 0.49 + 0.16 + 0.01) / 6)


def test_threshold_itself_counts_as_fake():
    """The boundary decides verdicts."""
    assert detection_metrics([0, 1], [0.7, 0.7], threshold=0.7)["tp"] == 1
    assert detection_metrics([0, 1], [0.7, 0.7], threshold=0.71)["tp"] == 0


def test_tpr_at_5fpr_allows_one_real_in_twenty():
    """5 % of 20 reals is one: the second best real sets the bar."""
    reals = np.linspace(0.05, 0.95, 20)
    fakes = [0.99, 0.93, 0.91, 0.3]  # 0.95 is the one real let through, the next is 0.9026
    assert detection_metrics([0] * 20 + [1] * 4, [*reals, *fakes])["tpr_at_5fpr"] == pytest.approx(0.75)
    assert detection_metrics([0] * 19 + [1] * 4, [*reals[1:], *fakes])["tpr_at_5fpr"] == pytest.approx(0.25)


def test_ece_of_calibrated_and_of_overconfident_scores():
    """Where 80 % are fake, a score of 0.8 has no error and one of 1.0 an error of 0.2."""
    labels = np.array([1, 1, 1, 1, 0] * 20)
    assert detection_metrics(labels, np.full(100, 0.8))["ece"] == pytest.approx(0.0, abs=1e-12)
    assert detection_metrics(labels, np.ones(100))["ece"] == pytest.approx(0.2)


def test_confidence_ece_sees_both_sides():
    """Certain and always wrong is the worst possible calibration."""
    assert detection_metrics([1, 0], [0.0, 1.0])["ece_confidence"] == pytest.approx(1.0)
    assert detection_metrics([1, 0], [1.0, 0.0])["ece_confidence"] == pytest.approx(0.0)


def test_reliability_bins_are_equal_width_and_keep_every_score():
    """p = 1 belongs to the last bin, and no score is lost."""
    table = reliability_bins([0, 0, 1, 1], [0.0, 0.5, 0.999, 1.0], bins=15)
    assert len(table["edges"]) == 16
    assert table["count"].tolist() == [1] + [0] * 6 + [1] + [0] * 6 + [2]
    assert expected_calibration_error([1, 1], [1.0, 1.0]) == 0.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_none_not_a_crash(label):
    """Users evaluate folders of fakes only."""
    result = detection_metrics([label] * 3, [0.2, 0.6, 0.9])
    for name in ("balanced_accuracy", "roc_auc", "average_precision", "tpr_at_5fpr"):
        assert result[name] is None, name
    assert result["recall"] == (None if label == 0 else pytest.approx(2 / 3))
    assert result["accuracy"] == pytest.approx(1 / 3 if label == 0 else 2 / 3)
    assert "NaN" not in json.dumps(result)


def test_nothing_called_fake_has_no_precision():
    """Zero would mean that every alarm was false; there was no alarm."""
    result = detection_metrics([0, 1], [0.1, 0.2])
    assert result["precision"] is None
    assert result["recall"] == 0.0


def test_no_images_at_all():
    """All images may be unreadable; the report must still be written."""
    result = detection_metrics([], [])
    assert result["n"] == 0
    assert result["accuracy"] is None


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [([0, 1], [0.5], "2 labels but 1 scores"), ([0, 2], [0.1, 0.2], "0 .real. or 1"), ([0, 1], [0.1, 1.5], "between"),
     ([0, 1], [0.1, float("nan")], "between")],
)  # fmt: skip
def test_invalid_input_is_refused(labels, scores, message):
    """A logit passed for a probability must not give a figure that looks right."""
    with pytest.raises(ValueError, match=message):
        detection_metrics(labels, scores)


def test_metric_gathers_batches(tmp_path):
    """The training loop adds batches, as with any `evaluate` metric."""
    metric = BinaryDetection(keep_in_memory=True, cache_dir=str(tmp_path))
    metric.add_batch(references=[0, 1], prediction_scores=[0.2, 0.4])
    metric.add_batch(references=[1], prediction_scores=[0.9])
    assert metric.compute(threshold=0.3) == detection_metrics([0, 1, 1], [0.2, 0.4, 0.9], threshold=0.3)


@pytest.mark.integration
def test_loads_as_a_local_module_without_network(tmp_path):
    """`evaluate.load` must not use the network, and train/evaluate.py must not hide the package."""
    code = (
        "import evaluate; m = evaluate.load('train/evaluation/metrics.py'); "
        "print(m.compute(references=[0, 1], prediction_scores=[0.2, 0.7])['roc_auc'])"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1.0"
