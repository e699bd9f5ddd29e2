"""Verdicts on AI-generated images by the year of their generator."""

from __future__ import annotations

import pandas as pd
import pytest

from train.evaluation.generator_years import generator_year
from train.evaluation.report_tables import generator_years
from train.evaluation.summary import by_year


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("stylegan2-ada-ffhq", 2021),
        ("sd1.5-lora", 2022),
        ("midjourney-v4", 2022),
        ("sdxl-turbo", 2023),
        ("midjourney-v6(?)", 2023),
        ("flux.1-dev", 2024),
        ("FLUX-1.1-pro", 2024),
        ("flux.2-klein-9b", 2025),
        ("gemini-2.5-flash-image/nano-banana(?)", 2025),
        ("flux.1-schnell or gpt-image-1", 2025),
        ("gpt-image-2(c2pa: gpt-image)", 2026),
        ("unknown-2026 (lovable.dev)", 2026),
        ("mixed 2018", 2021),
        ("unknown", None),
        ("", None),
    ],
)
def test_the_year_is_that_of_the_newest_generator_that_a_name_tells(name, year):
    assert generator_year(name) == year


def test_a_report_shows_the_shares_of_each_year_and_the_unknown_last():
    scores = pd.DataFrame({
        "label": [1, 1, 1, 1, 0],
        "verdict": ["fake", "real", "unsure", "fake", "fake"],
        "generator": ["sdxl", "gpt-image-1", "gpt-image-1", None, "camera"],
    })  # fmt: skip
    rows = by_year(scores)
    assert [(row["year"], row["n"], row["called_fake"], row["unsure"]) for row in rows] == [
        (2023, 1, 1.0, 0.0), (2025, 2, 0.0, 0.5), (None, 1, 1.0, 0.0),
    ]  # fmt: skip
    section = generator_years({"web": {"generator_years": rows}})
    assert "| 2025 | 2 |" in section[-1] and section[-1].splitlines()[-1].startswith("| year not known | 1 |")
    assert generator_years({"web": {"generator_years": rows[2:]}}) == []
