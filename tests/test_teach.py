"""A teacher's opinions say what an image is like: its own label and labels of left-out images have no part in them."""

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics import roc_auc_score

from train.teach import OPINION, opinions


def made(seed: int, tells: float) -> tuple[np.ndarray, Dataset]:
    """200 pictures in two crops each that look alike, of which the first number tells the class so well."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], 100))
    said = rng.normal(size=(200, 100))
    said[:, 0] += tells * labels
    data = {"label": np.repeat(labels, 2).tolist(), "group": np.repeat(np.arange(200), 2).tolist()}
    return np.repeat(said, 2, axis=0), Dataset.from_dict(data)


def auc(found: np.ndarray, data: Dataset) -> float:
    return float(roc_auc_score(data["label"], found[:, 0]))


def test_opinions_tell_what_the_numbers_tell_and_nothing_by_heart():
    said, data = made(0, tells=3.0)
    found = opinions(said, data, np.ones(400))
    assert found.shape == (400, 1) and found.std() == pytest.approx(OPINION, rel=1e-3) and auc(found, data) > 0.9
    # of noise they tell nothing, though the other crop of the same picture, with the same numbers, has the same label
    noise = [auc(opinions(*of, np.ones(400)), of[1]) for of in (made(seed, tells=0.0) for seed in range(4))]
    assert 0.4 < np.mean(noise) < 0.6


def test_labels_of_images_without_weight_have_no_part():
    said, data = made(1, tells=3.0)
    weights = np.ones(400)
    weights[:150] = 0
    turned = [1 - label if place < 150 else label for place, label in enumerate(data["label"])]
    other = data.remove_columns("label").add_column("label", turned)
    assert np.array_equal(opinions(said, data, weights), opinions(said, other, weights))
    assert not np.array_equal(opinions(said, data, np.ones(400)), opinions(said, other, np.ones(400)))


def test_one_class_or_one_group_gives_no_opinion():
    said, data = made(2, tells=3.0)
    with pytest.raises(ValueError):
        opinions(said, data, np.asarray(data["label"], float))
    alone = data.remove_columns("group").add_column("group", [0] * 400)
    with pytest.raises(ValueError):
        opinions(said, alone, np.ones(400))
