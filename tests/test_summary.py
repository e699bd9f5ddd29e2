"""train/evaluation/summary.py: figures of made-up score tables."""

from __future__ import annotations

import pytest
from evaluation_material import table

from train.evaluation.summary import ai_edits, group_rows, hard_kinds, score_shift, three_answers, worst_mistakes


def test_groups_are_measured_against_what_is_fair():
    """A group with both classes is measured inside itself, a generator against all reals of the split."""
    frame = table(
        label=[0, 0, 1, 1, 0, 1],
        p_fake=[0.1, 0.7, 0.3, 0.9, 0.8, 0.75],
        source=["pair", "pair", "pair", "pair", "cameras", "machines"],
        generator=["a-camera", "a-camera", "g1", "g2", "a-camera", "g1"],
    )
    by_source = {row["name"]: row for row in group_rows(frame, "source", 0.5)}
    assert by_source["pair"]["against"] == "itself"
    assert by_source["pair"]["auc"] == pytest.approx(3 / 4)
    assert by_source["machines"]["against"] == "all reals"
    assert by_source["machines"]["auc"] == pytest.approx(2 / 3)
    assert by_source["cameras"]["against"] == "all fakes"
    by_generator = {row["name"]: row for row in group_rows(frame, "generator", 0.5)}
    assert set(by_generator) == {"g1", "g2"}, "the collections of real photos are no generators"
    assert by_generator["g1"]["auc"] == pytest.approx((1 + 2) / 6)
    assert by_generator["g1"]["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert by_generator["g2"]["mean_score"] == pytest.approx(0.9)


def test_hard_kinds_count_photographs_in_each_of_their_kinds():
    frame = table(
        label=[0, 0, 0, 0, 1],
        p_fake=[0.9, 0.5, 0.1, 0.1, 0.9],
        kind=["night;film", "night", "film", None, "night"],
    )
    night, film = (
        {"kind": kind, "n": 2, "n_called_fake": 1, "n_unsure": unsure, "called_fake": 0.5, "unsure": unsure / 2}
        for kind, unsure in (("night", 1), ("film", 0))
    )
    assert hard_kinds(frame) == [film, night]


def test_ai_edits_of_photographs_are_counted_apart():
    frame = table(label=[1, 1, 1, 0], p_fake=[0.9, 0.2, 0.9, 0.4])
    frame = frame.assign(kind=["ai-edit", "product;ai-edit", "", "film"], verdict=["fake", "real", "fake", "unsure"])
    assert ai_edits(frame) == {"n": 2, "called_fake": 0.5, "called_real": 0.5, "unsure": 0.0, "auc": 0.5}
    assert ai_edits(frame.assign(kind="")) is None


def test_data_without_kinds_have_no_hard_kinds():
    assert hard_kinds(table(label=[0, 1], p_fake=[0.1, 0.9])) == []


def test_three_answers_by_hand():
    """Coverage, false alarms and misses are published."""
    result = three_answers(table(label=[0, 0, 0, 0, 1, 1], p_fake=[0.1, 0.2, 0.5, 0.9, 0.95, 0.3]))
    assert result["coverage"] == pytest.approx(5 / 6)
    assert result["accuracy_decided"] == pytest.approx(3 / 5)
    assert result["false_alarms"] == pytest.approx(1 / 4)
    assert result["missed"] == pytest.approx(1 / 2)
    assert result["balanced_accuracy_decided"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_shift_compares_the_same_images():
    """An image that is missing in one tier must not change the shift of the others."""
    clean = table(label=[0, 1, 1], p_fake=[0.2, 0.9, 0.8])
    degraded = clean.iloc[[0, 2]].assign(p_fake=[0.3, 0.8], verdict=["real", "unsure"])
    shift = score_shift(clean, degraded)
    assert shift["real"]["mean_abs_p"] == pytest.approx(0.1)
    assert shift["fake"] == {"mean_z": 0.0, "mean_abs_p": 0.0, "verdict_changed": 1.0}


def test_worst_mistakes_come_first():
    """The contact sheet starts with the most confident mistake."""
    frame = table(label=[0, 0, 1, 1], p_fake=[0.8, 0.1, 0.05, 0.49])
    assert worst_mistakes(frame, 0.5, 2)["index"].tolist() == [2, 0]
