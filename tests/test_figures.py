"""The figures on the tab "Model": from the report beside the checkpoint, and only those of its own weights."""

from __future__ import annotations

import json
import re
import tomllib

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from fakedet.web.figures import read_reports, to_html
from train import bundle_report
from train.evaluation.summary import tier_summary

TEMPLATES = ROOT / "fakedet" / "web" / "templates"


def report(sha256: str = "ab" * 32, data: str = "/home/somebody/data/pictures/") -> dict:
    """The keys of evaluate.py's report that the page reads: of 100 reals 6 are called fake and 80 unsure."""
    p = np.r_[np.full(14, 0.1), np.full(80, 0.5), np.full(6, 0.9), np.full(5, 0.1), np.full(74, 0.5), np.full(21, 0.9)]
    scores = pd.DataFrame(
        {"p_fake": p, "label": np.repeat([0, 1], 100), "z": p, "generator": ["x"] * 100 + ["<b>G"] * 100}
    )
    scores["verdict"] = np.select([p < 0.3, p > 0.7], ["real", "fake"], "unsure")
    tiers = {"clean": {"words": "as they are", **tier_summary(scores, 0.5)}}
    counts = {"real": 100, "fake": 100, "images": 200}
    return {"model": {"sha256": sha256}, "data": data, "split": "test", "date": "2026-01-01", "counts": counts,
            "tiers": tiers, "command": "evaluate.py --model /home/somebody/m",
            "dropped": [{"file": "/home/somebody/x.png"}]}  # fmt: skip


def test_bars_show_the_answers_for_a_hundred_pictures(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report()))
    html = to_html(read_reports(tmp_path, "ab" * 32))
    assert "14 answered “photograph”, 80 answered “unsure”, 6 answered “AI-generated”" in html
    assert "21 answered “AI-generated”, 74 answered “unsure”, 5 answered “photograph”" in html
    assert "&lt;b&gt;G" in html and "/home" not in html  # names are text, and paths are not shown


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "nonsense", '{"model": 3}', json.dumps(report("cd" * 32))])
def test_without_a_report_of_these_weights_nothing_is_shown(tmp_path, text):
    # another model's figures must not be shown as this one's; a broken file must not break the page
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    assert to_html(read_reports(tmp_path, "ab" * 32)) == ""


def test_reports_are_joined_and_those_of_other_weights_refused(tmp_path, capsys):
    for name, sha256 in (("one", "ab" * 32), ("two", "ab" * 32), ("other", "cd" * 32)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report(sha256, f"/srv/{name}")))
    output = tmp_path / "report.json"
    assert bundle_report.main([str(tmp_path / "one"), str(tmp_path / "two"), "--output", str(output)]) == 0
    html = to_html(read_reports(tmp_path, "ab" * 32))
    assert "Tested on one" in html and "Tested on two" in html and "somebody" not in output.read_text()
    assert bundle_report.main([str(tmp_path / "one"), str(tmp_path / "other"), "--output", str(output)]) == 2
    assert "different weights" in capsys.readouterr().err


def test_all_tests_share_one_table(tmp_path):
    first, second = report(data="/srv/one"), report(data="/srv/two")
    (tmp_path / "report.json").write_text(json.dumps(first | {"more": [second]}))
    html = to_html(read_reports(tmp_path, "ab" * 32))
    assert html.count("<table") == 1
    assert html.index('<th scope="col">one, test') < html.index('<th scope="col">two, test')


def test_a_tier_of_degraded_copies_is_folded_away(tmp_path):
    tested = report()
    tested["tiers"]["web"] = tested["tiers"]["clean"] | {"words": "JPEG <60>"}
    html = to_html([tested])
    assert html.index("<details>") < html.index("Degraded copies, web: JPEG &lt;60&gt;")


def test_the_hardest_and_the_easiest_generators_are_named():
    tested = report()
    tested["tiers"]["clean"]["by"]["generator"] = [
        {"name": name, "n_fake": count, "auc": auc}
        for name, count, auc in (("easy", 50, 0.98), ("hard", 50, 0.6), ("rare", 1, 0.5))
    ]
    assert "Hardest generators: hard (0.60); easiest: easy (0.98) (AUC)." in to_html([tested])


def test_templates_never_mark_a_value_as_safe():
    # autoescape is the one defence against markup in names and metadata
    for path in TEMPLATES.iterdir():
        assert not re.search(r"\|\s*safe|autoescape|Markup", path.read_text()), path.name


def test_the_package_ships_its_templates():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["fakedet"]
    shipped = {path for pattern in patterns for path in (ROOT / "fakedet").glob(pattern)}
    assert set(TEMPLATES.iterdir()) <= shipped
