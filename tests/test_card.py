"""The model card: every statement comes from config.json, report.json or training.json."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fakedet import FakeDetConfig
from train.combine import combined_record
from train.learning.record import private_paths
from train.publish import main as publish
from train.publishing.card import CardSource, model_card
from train.publishing.card_network import describe_views

FOLDER = Path(__file__).resolve().parents[1] / "fakedet" / "pretrained"
BUNDLED = (FOLDER / "README.md").read_text(encoding="utf-8")
RECORD = {
    "command": "accelerate launch train/finetune.py --train_dir wild", "date": "2026-11-25 08:00 UTC",
    "data": ["wild"], "datasets": [], "images": {"train": 5733, "validation": 713}, "base_model": "timm/some.start",
    "processes": 2, "device": "CPU (x86_64)", "seconds": 1800.0, "best": {"accuracy": 0.75, "auc": 0.8125},
    "versions": {"torch": "2.14"},
}  # fmt: skip


@pytest.fixture
def report() -> dict:
    """The bundled report, without the keys that older reports lack."""
    report = json.loads((FOLDER / "report.json").read_text(encoding="utf-8"))
    for part in (report, *report["more"]):
        for tier in part["tiers"].values():
            for key in ("matched", "auc_ci", "auc_ci_unit", "risk_coverage", "hard_kinds"):
                tier.pop(key, None)
    return report


def card(report: dict | None = None, record: dict | None = None, **settings) -> str:
    return model_card(CardSource(FakeDetConfig(**settings), 4_300_000, "ab" * 32, report, record), "lab/one")


def test_the_bundled_card_is_what_the_command_writes(tmp_path):
    assert publish(["model", "--model", "bundled", "--card_only", str(tmp_path / "card.md")]) == 0
    again = "python train/publish.py model --model bundled --card_only fakedet/pretrained/README.md"
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == BUNDLED, f"out of date: {again}"


def test_the_bundled_card_has_at_most_130_lines():
    assert len(BUNDLED.splitlines()) <= 130


def test_the_sections_stand_in_the_order_of_the_hubs_template(report):
    sections = re.findall(r"^## (.+)$", card(report, RECORD), flags=re.M)
    assert sections == [
        "Model Details", "Uses", "Bias, Risks, and Limitations", "How to Get Started with the Model",
        "Training Details", "Evaluation", "Environmental Impact", "Citation",
    ]  # fmt: skip


def test_another_model_than_the_bundled_one_needs_a_repository(capsys, tmp_path):
    with pytest.raises(SystemExit):
        publish(["model", "--model", "runs/mine", "--card_only", str(tmp_path / "card.md")])
    assert "--repo is required" in capsys.readouterr().err


def test_a_network_that_sees_shrunk_images_is_not_said_to_see_native_pixels():
    text = describe_views(FakeDetConfig(input_size=160, max_views=8, whole_views=3, crop_scale=2.0))
    assert "native" not in text
    assert "up to 3 views of the whole image with its short side shrunk to 160 pixels" in text
    assert "crops of the image with its short side shrunk to at most 320 pixels; at most 8 views" in text


def test_crops_of_native_pixels_are_called_that():
    assert describe_views(FakeDetConfig(max_views=9)).startswith("at most 9 crops at native resolution.")


def test_a_squashing_network_is_described_as_one():
    assert "without regard to its aspect ratio" in describe_views(FakeDetConfig(squash=True, input_size=64))


def test_the_calibration_is_the_configurations():
    text = card(calibration_temperature=1.5, calibration_bias=-0.25, unsure_band=(0.2, 0.7))
    assert "P(fake) = sigmoid(z / 1.5 - 0.25)" in text and "strictly between 0.2 and 0.7 it is `unsure`" in text


def test_a_row_stands_for_each_tier_of_each_report(report):
    rows = re.findall(r"^\| ([^|]+) \| (clean|web|hard) \| ([\d,]+ / [\d,]+) \| ([\d.]+) \|", card(report), flags=re.M)
    assert rows == [
        (f"{part['data']}, {part['split']}", name, f"{tier['metrics']['n_real']:,} / {tier['metrics']['n_fake']:,}",
         f"{tier['metrics']['roc_auc']:.4f}")
        for part in (report, *report["more"]) for name, tier in part["tiers"].items()
    ]  # fmt: skip


def test_the_index_for_the_hub_has_the_same_figures_as_the_reports(report):
    results = ModelCard(card(report)).data.eval_results
    aucs = {(r.dataset_type, r.dataset_split, r.dataset_config): r.metric_value
            for r in results if r.metric_type == "roc_auc"}  # fmt: skip
    assert aucs == {(part["data"], part["split"], name): tier["metrics"]["roc_auc"]
                    for part in (report, *report["more"]) for name, tier in part["tiers"].items()}  # fmt: skip


def test_groups_of_the_report_are_named_as_weak_points_and_make_no_tables(report):
    text = card(report)
    rows = report["tiers"]["clean"]["by"]["generator"]
    weakest = next(row for row in rows if row["n_fake"] >= 10)
    assert f"`{weakest['name']}` {weakest['auc']:.2f} (n = {weakest['n_fake']})" in text
    assert not re.search(rf"^\| {re.escape(weakest['name'])} ", text, flags=re.M)


def test_a_report_of_before_has_no_columns_of_today(report):
    text = card(report)
    assert "inside sources" not in text and "AURC" not in text and "95 % intervals" not in text


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("auc_ci", [0.71, 0.88], "{auc} [0.710, 0.880]"),
        ("matched", {"auc": 0.6414, "sources": 7, "ci": [0.6, 0.7]}, "0.6414 [0.600, 0.700] (7)"),
        ("risk_coverage", {"aurc": 0.1234, "coverage_at_10_risk": 0.345, "points": []}, "34.5 % | 0.123 |"),
        ("hard_kinds", [{"kind": "night", "n": 40, "called_fake": 0.125}], "`night` 12.5 % (n = 40)"),
    ],
)
def test_what_only_newer_reports_hold_is_shown_where_it_is(report, key, value, shown):
    tier = report["tiers"]["clean"]
    tier[key] = value
    assert shown.format(auc=f"{tier['metrics']['roc_auc']:.4f}") in card(report)


@pytest.mark.parametrize("key", ["auc_ci", "matched", "risk_coverage", "hard_kinds"])
def test_what_could_not_be_measured_does_not_stop_the_card(report, key):
    expected = card(copy.deepcopy(report))
    report["tiers"]["clean"][key] = None
    assert card(report) == expected


def test_without_a_report_the_card_has_the_best_epoch():
    text = card(record=RECORD)
    assert "| ROC AUC | 0.8125 |" in text and ModelCard(text).data.base_model == "timm/some.start"


def test_without_report_and_record_the_card_says_so():
    text = card()
    assert "was not evaluated" in text and "No training record" in text and "model-index" not in text


def test_the_training_of_the_network_for_tiny_images_is_shown_too():
    tiny = RECORD | {"data": ["cifake"], "images": {"train": 94052}, "command": "accelerate launch two"}
    text = card(record=RECORD | {"tiny": tiny})
    assert "- cifake (network for tiny images): 94,052 train images" in text and "accelerate launch two" in text


def test_joined_checkpoints_keep_both_training_records(tmp_path):
    for name in ("main", "tiny"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(json.dumps({"command": name}))
        (tmp_path / name / "config.json").write_text("{}")
    record = combined_record(tmp_path / "main", tmp_path / "tiny")
    assert record == {"command": "main", "tiny": {"command": "tiny"}}


def test_of_a_joined_checkpoint_the_tiny_networks_record_is_taken(tmp_path):
    for name in ("main", "both"):
        (tmp_path / name).mkdir()
        record = {"command": name, "tiny": {"command": f"{name}, tiny"}}
        (tmp_path / name / "training.json").write_text(json.dumps(record))
        (tmp_path / name / "config.json").write_text('{"tiny_network": true}')
    assert combined_record(tmp_path / "main", tmp_path / "both")["tiny"] == {"command": "both, tiny"}
    (tmp_path / "both" / "training.json").write_text('{"command": "both"}')  # that of its main network alone
    assert "tiny" not in combined_record(tmp_path / "main", tmp_path / "both")


def test_without_a_record_of_the_main_network_there_is_none(tmp_path):
    assert combined_record(tmp_path, tmp_path) is None


def test_absolute_paths_are_not_published():
    text = private_paths("finetune.py --train_dir /home/me/data/mine --config train/configs/a.yaml '/srv/x y' lab/one")
    assert "/home" not in text and " mine " in text and "train/configs/a.yaml" in text and "lab/one" in text
