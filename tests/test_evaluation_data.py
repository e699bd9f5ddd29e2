"""train/evaluation: loading, tiers, degradations and probes on made-up pictures."""

from __future__ import annotations

import io

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image
from evaluation_material import encode, picture
from PIL import Image as PILImage

from fakedet.images import open_image
from train.evaluation.curves import Degradation
from train.evaluation.dataset import TIERS, load_evalset, prefetch
from train.evaluation.probes import jpeg_quality, probe_table


def test_each_degradation_has_the_stated_effect():
    """A degradation without effect would flatter the detector."""
    image = open_image(encode(picture(1, 200, 120))).image
    degraded = {
        degradation.kind: open_image(degradation.apply(encode(image))).image
        for degradation in (
            Degradation("downscale", 0.5),
            Degradation("crop", 0.4),
            Degradation("noise", 10),
            Degradation("screenshot", 1.0),
        )
    }
    assert degraded["downscale"].size == (100, 60)
    assert degraded["crop"].size == (80, 48)
    assert np.std(np.asarray(degraded["noise"], float) - np.asarray(image)) == pytest.approx(10, abs=1)
    margin = (degraded["screenshot"].width - image.width) // 2
    inner = degraded["screenshot"].crop((margin, 2 * margin, margin + 200, 2 * margin + 120))
    assert np.abs(np.asarray(inner, float) - np.asarray(image)).max() <= 1


def test_labels_go_by_name_not_by_index(tmp_path, monkeypatch):
    """imagefolder and the Hub's CIFAKE sort FAKE before REAL; 0 must still be real."""
    rows = {"image": [{"bytes": encode(picture(i)), "path": None} for i in range(4)], "label": [0, 0, 0, 1]}
    features = Features({"image": Image(), "label": ClassLabel(names=["FAKE", "REAL"])})
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "test.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert load_evalset(str(tmp_path / "test.parquet")).table["label"].tolist() == [1, 1, 1, 0]


def test_tiers_are_smaller_jpegs_of_the_stated_quality():
    """The tiers must match their description, also for a PNG."""
    big, small = encode(picture(1, 1000, 500)), encode(picture(1, 100, 50))
    assert TIERS["clean"].apply(big) is big
    for name, side, quality in (("web", 768, 60), ("hard", 512, 40)):
        degraded = TIERS[name].apply(big)
        with PILImage.open(io.BytesIO(degraded)) as image:
            assert (image.format, image.size) == ("JPEG", (side, side // 2))
            assert image.layer[0][1:3] == (2, 2), "4:2:0"
        assert jpeg_quality(degraded) == pytest.approx(quality, abs=1)
        with PILImage.open(io.BytesIO(TIERS[name].apply(small))) as image:
            assert image.size == (100, 50)


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
def test_jpeg_quality_is_read_from_the_tables(quality):
    """A wrong quality would make the compression probe useless."""
    assert jpeg_quality(encode(picture(0), "JPEG", quality=quality)) == pytest.approx(quality, abs=1)
    assert jpeg_quality(encode(picture(0))) == 101


def test_probes_of_one_class_are_undefined():
    """None, not a crash and not 0.5."""
    table = probe_table([encode(picture(i)) for i in range(3)] + [b"broken"], [1, 1, 1, 1])
    assert {row["auc"] for row in table} == {None}
    assert table[0]["n"] == 3


def test_reading_ahead_keeps_the_order():
    """Labels are matched to scores by position."""
    assert list(prefetch(lambda x: x * x, range(50), 3)) == [x * x for x in range(50)]
