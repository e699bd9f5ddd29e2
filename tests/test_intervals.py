"""train/evaluation/intervals.py and selective.py: intervals over sources, AUC inside sources, risk over coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from train.evaluation.intervals import (
    MIN_UNITS,
    auc_interval,
    matched_auc,
    mean_interval,
    pooled_interval,
    resampling_units,
    source_interval,
)
from train.evaluation.report_tables import with_interval
from train.evaluation.selective import MAX_POINTS, risk_coverage


def scores(n_sources: int = 20, per_class: int = 10, spread: float = 0.2, seed: int = 0) -> pd.DataFrame:
    """Made-up scores of sources with both classes; each source shifts its own scores by a random amount."""
    rng = np.random.default_rng(seed)
    shift = np.repeat(rng.normal(0, spread, n_sources), 2 * per_class)
    label = np.tile(np.repeat((0, 1), per_class), n_sources)
    p_fake = np.clip(0.4 + 0.2 * label + shift + rng.normal(0, 0.05, len(label)), 0, 1)
    names = np.repeat([f"source{i}" for i in range(n_sources)], 2 * per_class)
    return pd.DataFrame({"index": np.arange(len(label)), "label": label, "p_fake": p_fake, "source": names})


def test_auc_interval_holds_the_auc():
    table = scores()
    low, high = auc_interval(table["label"], table["p_fake"], table["source"])
    assert low < roc_auc_score(table["label"], table["p_fake"]) < high


def test_ties_count_half_in_the_interval():
    label = np.tile((0, 1), 20)
    assert auc_interval(label, np.full(40, 0.5), np.arange(40)) == [0.5, 0.5]


def test_same_seed_gives_the_same_interval():
    table = scores()
    first, second, other = (auc_interval(table["label"], table["p_fake"], table["source"], seed) for seed in (3, 3, 4))
    assert first == second != other


def test_whole_sources_give_a_wider_interval_than_single_images():
    """Images of one source share their shift: they are not independent."""
    table = scores()
    by_source, by_image = (
        auc_interval(table["label"], table["p_fake"], units) for units in (table["source"], table.index)
    )
    assert by_source[1] - by_source[0] > 1.5 * (by_image[1] - by_image[0])


def test_mean_interval_agrees_with_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(1).normal(size=60)
    expected = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", random_state=0).confidence_interval
    assert mean_interval(values) == pytest.approx([expected.low, expected.high], abs=0.03)


def test_too_few_units_have_no_interval():
    assert mean_interval(np.arange(MIN_UNITS - 1)) is None


def test_sources_are_resampled_where_they_are_named():
    assert resampling_units(scores())[0] == "source"


def test_groups_are_resampled_where_there_is_one_source():
    table = scores().assign(source="one", group=scores()["source"])
    assert resampling_units(table)[0] == "group"


def test_images_are_resampled_where_nothing_is_named():
    unit, units = resampling_units(scores().drop(columns="source"))
    assert (unit, len(set(units))) == ("image", 400)


def test_images_without_a_source_are_units_of_their_own():
    table = scores()
    table.loc[:1, "source"] = None
    assert len(set(resampling_units(table)[1])) == 22


def test_one_class_has_no_pooled_interval():
    table = scores()
    assert pooled_interval(table[table["label"] == 1]) == (None, "source")


def test_matched_auc_sees_through_shifts_between_sources():
    """Each source ranks its own images perfectly; pooled, the shifts hide that."""
    table = scores()
    table["p_fake"] = table.groupby("source")["p_fake"].transform("mean") + 0.01 * table["label"]
    assert roc_auc_score(table["label"], table["p_fake"]) < 0.6
    assert matched_auc(table) == {"auc": 1.0, "sources": 20, "ci": [1.0, 1.0]}


def test_sources_with_few_images_of_a_class_are_not_matched():
    table = scores(n_sources=6)
    few = table[(table["source"] != "source0") | (table["label"] == 0) | (table["index"] % 10 < 4)]
    assert matched_auc(few)["sources"] == 5


def test_matched_auc_without_sources_is_none():
    assert matched_auc(scores().drop(columns="source")) == {"auc": None, "sources": 0, "ci": None}


@pytest.mark.parametrize("label", [0, 1])
def test_interval_of_a_source_of_one_class_holds_its_auc(label):
    table = scores()
    own = table[(table["source"] == "source0") & (table["label"] == label)]
    others = table[table["label"] != label]
    pool = pd.concat([own, others])
    low, high = source_interval(own, others)
    assert low <= roc_auc_score(pool["label"], pool["p_fake"]) <= high


def test_interval_of_a_matched_source_holds_its_auc():
    table = scores(n_sources=1, per_class=40)
    low, high = source_interval(table, table[:0])
    assert low <= roc_auc_score(table["label"], table["p_fake"]) <= high


def test_small_source_has_no_interval():
    table = scores()
    assert source_interval(table[:9], table[table["label"] == 1]) is None


def test_a_figure_is_written_with_its_interval():
    assert with_interval(0.8934, [0.871, 0.912]) == "0.893 (0.871 to 0.912)"


def test_a_figure_without_an_interval_stands_alone():
    assert with_interval(0.8934, None) == "0.893"


def test_risk_coverage_by_hand():
    """Sorted by confidence the answers are right, wrong, right, right: risks 0, 1/2, 1/3, 1/4."""
    curve = risk_coverage([1, 0, 1, 0], [0.95, 0.9, 0.7, 0.4])
    assert curve["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert curve["coverage_at_10_risk"] == 0.25
    assert curve["accuracy_at_50"] == 0.5
    assert curve["accuracy_at_75"] == pytest.approx(2 / 3)
    assert curve["accuracy_at_100"] == 0.75
    assert curve["points"][1] == {"coverage": 0.5, "risk": 0.5, "confidence": pytest.approx(0.4)}


def test_equal_confidence_has_no_order():
    """A tie must not look better because the right answer happens to stand first."""
    first, second = risk_coverage([1, 0], [0.8, 0.8]), risk_coverage([0, 1], [0.8, 0.8])
    assert first == second
    assert first["points"][0]["risk"] == 0.5


def test_confidence_is_the_distance_from_the_threshold():
    curve = risk_coverage([0, 1], [0.65, 0.75], threshold=0.7)
    assert curve["accuracy_at_100"] == 1.0
    assert curve["points"][0]["confidence"] == pytest.approx(0.05)


def test_curve_has_few_points_and_ends_at_full_coverage():
    table = scores()
    points = risk_coverage(table["label"], table["p_fake"])["points"]
    assert len(points) == MAX_POINTS
    assert points[-1]["coverage"] == 1.0


def test_no_images_have_no_curve():
    curve = risk_coverage([], [])
    assert curve["points"] == []
    assert curve["aurc"] is None
