"""train/evaluation/calibration.py and crossfit.py: the fit, the weights and the band on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from train.evaluation.calibration import (
    CalibrationError,
    choose_band,
    choose_band_by_risk,
    fit_calibration,
    image_weights,
    probabilities,
)
from train.evaluation.crossfit import answer, answer_shares, out_of_fold, source_folds


def made_up(n_real: int, n_fake: int, temperature: float, bias: float, seed: int = 0):
    """Logits whose true P(fake), at equal classes, is sigmoid(z / temperature + bias), and their labels."""
    labels = np.repeat((0, 1), (n_real, n_fake))
    log_odds = 2.25 * (2 * labels - 1) / 2 + 1.5 * np.random.default_rng(seed).normal(size=len(labels))
    return (log_odds - bias) * temperature, labels


@pytest.mark.parametrize("sizes", [(4000, 4000), (6000, 600)])
def test_calibration_finds_the_true_temperature_and_bias(sizes):
    """Also where one class is rare: the threshold 0.5 means equal classes."""
    temperature, bias = fit_calibration([made_up(*sizes, temperature=3.0, bias=-0.4)])
    assert temperature == pytest.approx(3.0, rel=0.15)
    assert bias == pytest.approx(-0.4, abs=0.15)


def test_data_sets_of_different_size_weigh_the_same():
    """100,000 thumbnails must not drown 700 photographs."""
    small, large = made_up(300, 300, 1.0, 1.0), made_up(9000, 9000, 1.0, -1.0, seed=1)
    assert abs(fit_calibration([small, large])[1]) < 0.2


def test_perfect_scores_stay_finite():
    """A model without a mistake on validation must not become infinitely sure."""
    z, labels = np.repeat((-4.0, 6.0), 50), np.repeat((0, 1), 50)
    temperature, bias = fit_calibration([(z, labels)])
    p = probabilities(z, temperature, bias)
    assert 0.9 < p[-1] < 0.9999
    assert 0.0001 < p[0] < 0.1


def test_scores_that_point_the_wrong_way_are_refused():
    """A negative temperature would hide that the labels are swapped."""
    z, labels = made_up(100, 100, 1.0, 0.0)
    with pytest.raises(CalibrationError, match="do not rise"):
        fit_calibration([(-z, labels)])


@pytest.mark.parametrize("seed", range(5))
def test_band_keeps_false_alarms_and_misses_at_five_percent(seed):
    """The promise of the answer "AI-generated"; and the band is no wider than it must be."""
    z, labels = made_up(200, 300, 1.0, 0.0, seed)
    p = probabilities(z, 1.0, 0.0)
    low, high = choose_band([(p, labels)], 0.05)
    assert low < 0.5 < high
    assert np.mean(p[labels == 0] >= high) == pytest.approx(0.05)
    assert np.mean(p[labels == 1] <= low) == pytest.approx(0.05)


def test_a_good_model_needs_no_band_and_ties_are_not_split():
    """The threshold stays inside the band; images with one score get one answer."""
    labels = np.repeat((0, 1), 40)
    assert choose_band([(np.repeat((0.1, 0.9), 40), labels)]) == (0.5, 0.5)
    tied = np.concatenate([np.full(37, 0.1), np.full(3, 0.8), np.full(40, 0.9)])  # 3 of 40 is more than 5 %
    assert 0.8 < choose_band([(tied, labels)])[1] < 1


def test_sources_weigh_by_the_root_of_their_size():
    """A source of 80 images counts four times as much as one of 5, not sixteen times; and both classes alike."""
    labels = np.repeat((0, 0, 1), (80, 5, 30))
    sources = np.repeat(("large", "small", "large"), (80, 5, 30))
    (weights,) = image_weights([(np.zeros(115), labels)], [sources])
    assert weights[:80].sum() / weights[80:85].sum() == pytest.approx(4)
    assert weights[labels == 0].sum() == pytest.approx(0.5)
    assert weights[labels == 1].sum() == pytest.approx(0.5)


def test_without_sources_every_image_of_a_class_weighs_the_same():
    (weights,) = image_weights([(np.zeros(40), np.repeat((0, 1), (30, 10)))])
    assert weights == pytest.approx(np.repeat((1 / 60, 1 / 20), (30, 10)))


def test_one_large_source_moves_a_balanced_fit_less():
    """500 images of one source that all score 2 too high must not set the bias alone."""
    z, labels = made_up(600, 600, 1.0, 0.0)
    sources = np.arange(1200).astype(str)
    sources[:300] = sources[600:900] = "large"
    z[:300] += 2
    z[600:900] += 2
    plain, balanced = (
        fit_calibration([(z, labels)], image_weights([(z, labels)], names))[1] for names in (None, [sources])
    )
    assert plain < balanced - 0.3 < 0


@pytest.mark.parametrize("seed", range(5))
def test_band_by_risk_keeps_both_limits(seed):
    z, labels = made_up(300, 300, 1.0, 0.0, seed)
    p = probabilities(z, 1.0, 0.0)
    shares = answer_shares(answer(p, choose_band_by_risk([(p, labels)], 0.1, 0.05)), labels)
    assert shares["risk"] <= 0.1 + 1e-9
    assert shares["false_alarms"] <= 0.05 + 1e-9


def test_band_by_risk_answers_as_many_as_an_exhaustive_search():
    z, labels = made_up(40, 40, 1.0, 0.0)
    p = probabilities(z, 1.0, 0.0)
    best = answer_shares(answer(p, choose_band_by_risk([(p, labels)], 0.1, 0.1)), labels)["coverage"]
    edges = np.concatenate([[0.0, 0.5, 1.0], p - 1e-9, p + 1e-9])
    tried = [
        answer_shares(answer(p, (low, high)), labels) for low in edges[edges <= 0.5] for high in edges[edges >= 0.5]
    ]
    allowed = [one["coverage"] for one in tried if one["risk"] <= 0.1 and one["false_alarms"] <= 0.1]
    assert best == max(allowed)


def test_band_by_risk_closes_where_every_answer_is_right():
    labels = np.repeat((0, 1), 40)
    assert choose_band_by_risk([(np.repeat((0.1, 0.9), 40), labels)], 0.1) == (0.5, 0.5)


def test_band_by_risk_is_refused_where_no_answer_is_good_enough():
    p, labels = np.repeat((0.1, 0.9), 40), np.tile((0, 1), 40)
    with pytest.raises(CalibrationError, match="No band keeps wrong answers at or below 10"):
        choose_band_by_risk([(p, labels)], 0.1)


def test_large_sets_keep_the_limits_too():
    """There are more scores than candidates for the edges."""
    z, labels = made_up(9000, 9000, 1.0, 0.0)
    p = probabilities(z, 1.0, 0.0)
    shares = answer_shares(answer(p, choose_band_by_risk([(p, labels)], 0.1, 0.05)), labels)
    assert 0.098 < shares["risk"] <= 0.1 or 0.048 < shares["false_alarms"] <= 0.05


def test_folds_hold_whole_sources():
    units = np.repeat(np.arange(10), 8)
    labels = np.tile((0, 1), 40)
    for fit, held in source_folds(labels, units, 5, 0):
        assert not set(units[fit]) & set(units[held])


def test_one_source_alone_cannot_be_cross_fitted():
    with pytest.raises(CalibrationError, match="at least two sources"):
        next(source_folds(np.array((0, 1)), np.zeros(2), 5, 0))


def test_cross_fitting_never_uses_the_judged_source():
    """Whatever a source's own labels say, its scores come from the others' fit."""
    z, labels = made_up(200, 200, 1.0, 0.0)
    order = np.random.default_rng(0).permutation(400)
    z, labels, units = z[order], labels[order], np.repeat(np.arange(10), 40)
    chosen: list[int] = []

    def choose(parts, weights):
        chosen.append(len(parts[0][1]))
        return choose_band(parts, weights=weights)

    (p_fake,), (answers,) = out_of_fold([(z, labels)], image_weights([(z, labels)]), [units], choose, folds=10)
    assert chosen == [360] * 10
    own = units == 3
    others = (z[~own], labels[~own])
    assert p_fake[own] == pytest.approx(probabilities(z[own], *fit_calibration([others])), abs=0.01)
    assert set(answers) <= {0, 1, -1}


def test_shares_of_answers_by_hand():
    shares = answer_shares(np.array((1, -1, 0, 0)), np.array((0, 0, 0, 1)))
    assert shares == {"coverage": 0.75, "risk": pytest.approx(2 / 3), "false_alarms": pytest.approx(1 / 3), "missed": 1}
