"""train/results.py: tables made of evaluation reports."""

import json
from pathlib import Path

import pytest

from train import results


def report(sha: str = "ab" * 32, auc: float = 0.91234) -> dict:
    metrics = {
        "n_real": 210,
        "n_fake": 190,
        "roc_auc": auc,
        "balanced_accuracy": 0.8349,
        "tpr_at_5fpr": 0.5,
        "ece": 0.0421,
    }
    group = {"n_real": 0, "n_fake": 35, "auc": 0.9, "against": "all reals"}
    tier = {
        "metrics": metrics,
        "three_answers": {"coverage": 0.4, "false_alarms": 0.031},
        "by": {
            "generator": [group | {"name": "a|b"}],
            "source": [
                group | {"name": "mixed", "n_real": 50, "n_fake": 60, "auc": 0.66, "against": "itself"},
                group | {"name": "album", "n_real": 45, "n_fake": 0, "auc": 0.61, "against": "all fakes"},
                group | {"name": "few", "n_real": 4, "n_fake": 0, "auc": 0.5, "against": "all fakes"},
                group | {"name": "site", "n_real": 0, "n_fake": 30, "auc": 0.7, "against": "all reals"},
            ],
        },
    }
    return {
        "command": "python train/evaluate.py --data d", "model": {"sha256": sha}, "threshold": 0.5,
        "tiers": {"clean": tier, "web": tier},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "report.json").write_text(json.dumps(report()))
    return tmp_path


def test_the_table_goes_between_the_markers_and_a_second_run_changes_nothing(folder):
    page = folder / "README.md"
    page.write_text(f"before\n{results.BEGIN}\nold figures\n{results.END}\nafter\n")
    for _ in range(2):
        assert results.main([f"wild, unseen={folder / 'r'}", "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old figures" not in text
    assert "| wild, unseen | web | 210 / 190 | 0.9123 | 83.5 % | 50.0 % | 0.042 | 40.0 % | 3.1 % |" in text
    assert "| a/b | 35 | 0.90 | 0.90 |" in text
    assert "| *inside mixed* | 60 / 50 | 0.66 | 0.66 |" in text
    assert "| *photographs of album* | 0 / 45 | 0.61 | 0.61 |" in text
    assert "few" not in text, "too few images"
    assert "site" not in text, "its generator has a row"
    assert "    python train/evaluate.py --data d" in text


def test_figures_of_two_models_never_share_a_table(folder, capsys):
    (folder / "s").mkdir()
    (folder / "s" / "report.json").write_text(json.dumps(report(sha="cd" * 32)))
    with pytest.raises(SystemExit):
        results.main([f"a={folder / 'r'}", f"b={folder / 's'}"])
    assert "different weights" in capsys.readouterr().err


def test_a_page_without_markers_is_left_alone(folder, capsys):
    page = folder / "page.md"
    page.write_text("nothing here")
    with pytest.raises(SystemExit):
        results.main([f"a={folder / 'r'}", "--into", str(page)])
    assert page.read_text() == "nothing here"
    assert "no lines" in capsys.readouterr().err
