"""Consistency: the variants of a picture, the sample, the figures, and the section of the report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import photo_like
from evaluation_material import make_place, run
from PIL import Image as PILImage

from train.evaluation.consistency import balanced_sample, consistency_figures
from train.evaluation.variants import VARIANTS

PHOTO = photo_like(900, 600)


def test_the_variants_are_those_that_people_pass_on():
    made = {name: change(PHOTO) for name, (change, _) in VARIANTS.items()}
    assert made.pop("1280 px") is None, "a picture that is smaller already is not a variant of itself"
    sizes = {name: picture.size for name, picture in made.items()}
    assert {name: sizes[name] for name in ("640 px", "320 px", "160 px", "crop", "upscaled")} == {
        "640 px": (640, 427), "320 px": (320, 213), "160 px": (160, 107), "crop": (540, 360), "upscaled": (1800, 1200),
    }  # fmt: skip
    assert sizes["letterbox"][0] / sizes["letterbox"][1] == pytest.approx(16 / 9, abs=0.01)
    assert sizes["caption"] == (900, 696)
    assert sizes["screenshot"] == (2340, 1080), "the phone is turned for a wide picture"
    assert VARIANTS["screenshot"][0](PHOTO.rotate(90, expand=True)).size == (1080, 2340)
    assert all(picture.mode == "RGB" for picture in made.values())
    assert np.ptp(np.asarray(made["grey"]), axis=2).max() == 0
    assert np.array_equal(np.asarray(made["mirrored"])[:, ::-1], np.asarray(PHOTO))


def test_a_variant_is_the_same_each_time():
    # Figures of two checkpoints must be of the same pictures.
    for name, (change, _) in VARIANTS.items():
        first, second = change(PHOTO), change(PHOTO)
        assert first is second is None or first.tobytes() == second.tobytes(), name


def test_the_sample_takes_classes_and_sources_in_turn():
    # A large source must not speak for all.
    table = pd.DataFrame({
        "label": [0] * 100 + [1] * 100,
        "source": ["large"] * 94 + ["a"] * 3 + ["b"] * 3 + ["large"] * 97 + ["c"] * 3,
    })  # fmt: skip
    rows = balanced_sample(table, 20)
    drawn = table.iloc[rows].groupby(["label", "source"]).size().to_dict()
    assert drawn == {(0, "large"): 4, (0, "a"): 3, (0, "b"): 3, (1, "large"): 7, (1, "c"): 3}
    assert np.array_equal(rows, balanced_sample(table, 20)) and len(set(rows)) == 20
    assert len(balanced_sample(table.drop(columns="source"), 500)) == 200


def versions(index: int, label: int, *answers: tuple[str, float, str]) -> list[dict]:
    return [
        {"index": index, "label": label, "variant": name, "p_fake": p_fake, "verdict_once": verdict, "verdict": verdict}
        for name, p_fake, verdict in answers
    ]


def test_figures_count_contradictions_and_nothing_else():
    table = pd.DataFrame([
        *versions(0, 0, ("original", 0.1, "real"), ("crop", 0.2, "real"), ("grey", 0.9, "fake")),
        *versions(1, 0, ("original", 0.5, "unsure"), ("crop", 0.1, "real"), ("grey", 0.9, "fake")),
        *versions(2, 1, ("original", 0.9, "fake"), ("crop", 0.5, "unsure")),
        *versions(3, 1, ("original", 0.9, "fake"), ("crop", 0.1, "real")),
    ])  # fmt: skip
    figures = consistency_figures(table)
    crop, grey = figures["variants"]
    assert (crop["variant"], crop["n"], crop["to_fake"], crop["to_real"], crop["contradicted"]) == (
        "crop",
        4,
        0,
        1,
        0.25,
    )
    assert (grey["variant"], grey["n"], grey["to_fake"], grey["to_real"], grey["contradicted"]) == (
        "grey",
        2,
        1,
        0,
        0.5,
    )
    assert crop["median_shift"] == pytest.approx(-0.4) and crop["median_abs_shift"] == pytest.approx(0.4)
    assert (crop["unsure"], crop["unsure_original"]) == (0.25, 0.25)
    overall = figures["overall"]
    assert (figures["n"], overall["n_against_original"], overall["n_contradicted"]) == (4, 2, 3)
    assert (overall["contradicted_real"], overall["contradicted_fake"]) == (1.0, 0.5)


@pytest.mark.integration
def test_the_command_reports_consistency(tmp_path):
    # The answers are those of the page: a copy that disagrees makes them unsure.
    place = make_place(tmp_path)
    typed = "--model model --data data --output_dir out --probe_samples 0 --mistakes 0 --consistency 6"
    done = run("evaluate.py", place, *typed.split())
    assert done.returncode == 0, done.stderr
    assert "Consistency" in done.stderr, "a progress bar"
    figures = json.loads((place / "out" / "report.json").read_text())["consistency"]
    assert (figures["n"], figures["n_real"], figures["n_fake"]) == (6, 3, 3)
    assert [row["variant"] for row in figures["variants"]] == [name for name in VARIANTS if " px" not in name]
    table = pd.read_csv(place / "out" / "consistency.csv")
    again = consistency_figures(table)["overall"]
    assert again["n_contradicted"] == figures["overall"]["n_contradicted"]
    assert again["median_abs_shift"] == pytest.approx(figures["overall"]["median_abs_shift"], abs=1e-4)
    text = (place / "out" / "report.md").read_text()
    assert "## The same picture, the same answer" in text and "![Consistency](consistency.png)" in text
    with PILImage.open(place / "out" / "consistency.png") as image:
        image.load()
        assert 500 <= image.width <= 1400
