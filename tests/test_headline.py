"""The six rows of README.md: made from the report beside the checkpoint, never by hand."""

import json
from pathlib import Path

import pytest

from train import results
from train.evaluation import headline

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = json.loads((ROOT / "fakedet/pretrained/report.json").read_text(encoding="utf-8"))


def report(data: str, split: str, **tier) -> dict:
    metrics = {"roc_auc": 0.912, "accuracy": 0.9823}
    tiers = {name: {"metrics": metrics, **tier} for name in ("clean", "web")}
    return {
        "data": data, "split": split, "command": f"python train/evaluate.py --data data/{data}",
        "model": {"sha256": "ab" * 32}, "tiers": tiers,
    }  # fmt: skip


@pytest.fixture
def catalogue() -> dict:
    kinds = [
        {"kind": "few", "n": 4, "n_called_fake": 4, "called_fake": 1.0},
        {"kind": "night", "n": 40, "n_called_fake": 6, "called_fake": 0.15},
        {"kind": "film", "n": 56, "n_called_fake": 0, "called_fake": 0.0},
    ]
    return report(
        "catalogue", "test", auc_ci=[0.88, 0.94], matched={"auc": 0.9, "sources": 14, "ci": [0.85, 0.95]},
        hard_kinds=kinds, three_answers={"coverage": 0.76, "accuracy_decided": 0.914},
    )  # fmt: skip


def test_every_row_comes_from_the_reports(catalogue):
    more = [report("wild", "test_unseen"), report("cifake", "test")]
    lines = headline.headline_text(catalogue | {"more": more}).splitlines()
    assert "| catalogue test, web copies: AUC over all pictures | 0.91 (0.88 to 0.94) |" in lines
    assert "| the same: AUC inside sources that hold both classes (mean over 14) | 0.90 (0.85 to 0.95) |" in lines
    assert "| the same: pictures answered, and right among them | 76.0 %; 91.4 % of the answers |" in lines
    assert "| `test_unseen`, other generators and sources: AUC | 0.91 |" in lines
    assert "| CIFAKE, official test: accuracy | 98.2 % |" in lines
    assert "    python train/evaluate.py --data data/catalogue" in lines


def test_a_hard_kind_of_few_photographs_is_not_named_as_the_worst(catalogue):
    text = headline.headline_text(catalogue)
    assert "| 10.0 % of 100; worst kind: night, 15.0 % |" in text


def test_a_figure_that_is_missing_is_said_to_be_missing(catalogue):
    text = headline.headline_text(catalogue)
    assert f"| CIFAKE, official test: accuracy | {headline.MISSING} |" in text


def test_the_readme_has_the_rows_of_the_bundled_report():
    text = headline.headline_text(BUNDLED)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == results.insert(readme, text, headline.BEGIN, headline.END)


def test_the_command_writes_between_the_markers(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{headline.BEGIN}\nformer figures\n{headline.END}\nafter\n")
    assert results.main(["--headline", str(ROOT / "fakedet/pretrained/report.json"), "--into", str(page)]) == 0
    text = page.read_text()
    assert "former figures" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| CIFAKE, official test: accuracy |" in text


def test_a_file_that_is_no_report_is_refused(tmp_path, capsys):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(SystemExit):
        results.main(["--headline", str(tmp_path / "report.json")])
    assert "is not a report.json" in capsys.readouterr().err
