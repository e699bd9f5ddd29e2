"""Prepare, train, push and load as separate processes, against a stand-in for the Hub over real HTTP."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import connect
from hub_stand_in import Hub
from huggingface_hub import ModelCard
from publish_material import ROOT, TINY, draw_photos, run

from fakedet import Detector
from fakedet.hub import checkpoint as hub
from train.evaluation.run import main as evaluate
from train.export import main as export
from train.publish import main as publish
from train.publishing.model_index import METRICS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with photos/, and all that is made from them."""
    folder = tmp_path_factory.mktemp("publish")
    draw_photos(folder / "photos", 30)
    return folder


@pytest.fixture(scope="module")
def far():
    """The stand-in of this module."""
    with Hub() as started:
        yield started


@pytest.fixture(scope="module")
def prepared(far, place) -> Path:
    """The prepared data set, also pushed as lab/pictures."""
    run(far, place, "train/prepare.py", "--data", place / "photos", "--output_dir", place / "data",
        "--val_fraction", 0.2, "--test_fraction", 0.2, "--push_to_hub", "lab/pictures")  # fmt: skip
    return place / "data"


@pytest.fixture(scope="module")
def trained(far, place, prepared) -> Path:
    """A model trained by one process and pushed as lab/one."""
    output = run(far, place, "train/finetune.py", *TINY, "--train_dir", prepared, "--output_dir", place / "one",
               "--push_to_hub", "--hub_model_id", "lab/one", "--hub_private_repo")  # fmt: skip
    assert "tag v1" in output
    return place / "one"


@pytest.fixture(scope="module")
def reported(far, place, prepared, trained) -> Path:
    """The evaluation of that model, published with it as v2."""
    assert evaluate(["--model", str(trained), "--data", str(prepared), "--output_dir", str(place / "report"),
                     "--tiers", "clean", "web", "--num_workers", "0"]) == 0  # fmt: skip
    assert export(["--model", str(trained)]) == 0
    output = run(far, place, "train/publish.py", "model", "--model", trained, "--report", place / "report",
               "--repo", "lab/one", "--datasets", "lab/pictures")  # fmt: skip
    assert "tag v2" in output
    return place / "report"


def test_training_pushes_once_with_all_that_a_repository_needs(far, trained):
    repo = far.repo("lab/one")
    first = repo.commits[repo.tags["v1"]]
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "training.json",
            "settings.py", "configuration.py", "model.py", "views.py", "processing.py"} <= set(first)  # fmt: skip
    assert repo.private and repo.messages.count("start") == 1 and len(repo.commits) <= 3
    assert first["model.safetensors"].data == (trained / "model.safetensors").read_bytes()
    assert not far.unknown, "the stand-in lacks a route"
    card = ModelCard(first["README.md"].data.decode())  # without a report: the best epoch on validation
    best = json.loads(first["training.json"].data)["best"]
    assert {r.metric_type: r.metric_value for r in card.data.eval_results}["roc_auc"] == best["auc"]


def test_two_processes_push_once(far, place, prepared):
    # From the Hub, as a stream, by the config file that ships as an example.
    launch = ["-m", "accelerate.commands.launch", "--config_file", "examples/accelerate/two_cpu_processes.yaml"]
    output = run(far, place, *launch, "train/finetune.py", *TINY, "--dataset_name", "lab/pictures", "--streaming",
               "--max_train_samples", 24, "--max_eval_samples", 10, "--output_dir", place / "two", "--push_to_hub",
               "--hub_model_id", "lab/two")  # fmt: skip
    assert "2 process(es)" in output and "training images [24], validation [10]" in output
    repo = far.repo("lab/two")
    assert list(repo.tags) == ["v1"] and len(repo.messages) == 2 and not repo.private
    record = json.loads(repo.files["training.json"].data)
    assert record["processes"] == 2 and record["datasets"] == ["lab/pictures"] and record["images"]["train"] == 24
    assert ModelCard(repo.files["README.md"].data.decode()).data.datasets == ["lab/pictures"]


def test_the_card_has_no_placeholder_and_every_figure_is_the_reports(far, place, reported, tmp_path):
    files = far.repo("lab/one").files
    (tmp_path / "README.md").write_bytes(files["README.md"].data)
    card, text = ModelCard.load(tmp_path / "README.md"), files["README.md"].data.decode()
    report = json.loads((reported / "report.json").read_text())
    assert not re.search(r"More Information|TODO|\[\[|\{\{|\bNone\b|\bnan\b|/tmp/|\bUnknown\b", text)
    about = card.data.to_dict()
    assert (about["library_name"], about["pipeline_tag"]) == ("transformers", "image-classification")
    assert card.data.license == "mit" and card.data.datasets == ["lab/pictures"]
    index = {(r.dataset_config, r.metric_type): r.metric_value for r in card.data.eval_results}
    expected = {(tier, METRICS[key][0]): value for tier, part in report["tiers"].items()
                for key, value in part["metrics"].items() if key in METRICS and value is not None}  # fmt: skip
    assert index == expected and len(index) >= 16
    assert set(card.data.metrics) == {kind for _, kind in index}
    rows = dict(re.findall(r"^\| data, test \| (clean|web) \| (.+) \|$", text, flags=re.M))
    for tier, row in rows.items():
        figures, answers = report["tiers"][tier]["metrics"], report["tiers"][tier]["three_answers"]
        cells = row.split(" | ")
        assert cells[1].split(" [")[0] == f"{figures['roc_auc']:.4f}"
        for value in (
            figures["balanced_accuracy"],
            figures["tpr_at_5fpr"],
            answers["coverage"],
            answers["false_alarms"],
        ):
            assert f"{100 * value:.1f} %" in cells
        assert f"{figures['ece']:.3f}" in cells
    assert set(rows) == {"clean", "web"}
    assert "python train/evaluate.py --model one" in text and "accelerate launch train/finetune.py" in text
    assert json.loads(files["report.json"].data)["tiers"] == report["tiers"]
    assert files["model.onnx"].data == (place / "one" / "model.onnx").read_bytes() and "graphs: `model.onnx`" in text
    plots = {name for name in files if name.startswith("plots/")}
    assert len(plots) >= 5 and "plots/mistakes.png" not in plots
    assert plots >= set(re.findall(r"\]\((plots/[^)]+)\)", text))


def test_pushing_the_same_again_changes_nothing_and_stale_files_go(far, place, trained, reported, monkeypatch, capsys):
    connect(far, monkeypatch, place / "cache")
    repo = far.repo("lab/one")
    before = dict(repo.tags), repo.branches["main"]
    command = ["model", "--model", str(trained), "--repo", "lab/one"]
    again = [*command, "--report", str(reported), "--datasets", "lab/pictures"]
    assert publish(again) == 0 and "tag v2, as before" in capsys.readouterr().out
    assert (repo.tags, repo.branches["main"]) == before
    repo.commit(dict(repo.files) | {"notes.txt": next(iter(repo.files.values()))}, "the owner's own file")
    assert publish([*command, "--tag", "plain"]) == 0
    assert repo.find("plain") == repo.branches["main"] and "notes.txt" in repo.files
    assert not [name for name in repo.files if name.startswith("plots/") or name == "report.json"]
    assert publish([*again, "--tag", "v1"]) == 2 and "has a tag v1 already" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pictures(place) -> list[Path]:
    paths = [*sorted((place / "photos" / "REAL").iterdir())[:3], *sorted((place / "photos" / "Fake").iterdir())[:3]]
    return [*paths, *sorted((ROOT / "examples" / "images").glob("photo_*.jpg"))]


FRESH = """
import json, sys
from transformers import AutoModelForImageClassification, pipeline
assert not any("fakedet" in path for path in sys.path), sys.path
model = AutoModelForImageClassification.from_pretrained("lab/one", trust_remote_code=True)
assert type(model).__name__ == "FakeDetForImageClassification" and "fakedet" not in sys.modules
scorer = pipeline("image-classification", model="lab/one", trust_remote_code=True)
print("ROWS" + json.dumps([{row["label"]: row["score"] for row in answer} for answer in scorer(sys.argv[1:])]))
"""


def test_others_load_it_without_fakedet_and_get_the_same_scores(far, place, trained, reported, pictures, tmp_path):
    # A fresh process in another folder: the modelling code comes from the repository.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | far.environment(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", FRESH, *map(str, pictures)], cwd=tmp_path, env=env, text=True,
                          capture_output=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    rows, local = json.loads(done.stdout.split("ROWS")[1]), Detector.from_pretrained(trained, provenance=False)
    for row, path in zip(rows, pictures, strict=True):
        assert set(row) == {"real", "fake"}
        assert row["fake"] == pytest.approx(local.predict(path).p_fake, abs=1e-4)


def test_a_pipeline_after_import_fakedet_runs_our_code_not_the_repositorys(far, place, trained, pictures, monkeypatch):
    from transformers import pipeline

    connect(far, monkeypatch, place / "cache")
    scorer = pipeline("image-classification", model="lab/one", model_kwargs={"cache_dir": str(place / "cache")})
    assert type(scorer.model).__module__ == "fakedet.network.model"
    scores = {row["label"]: row["score"] for row in scorer(str(pictures[0]))}
    local = Detector.from_pretrained(trained, provenance=False).predict(pictures[0])
    assert scores["fake"] == pytest.approx(local.p_fake, abs=1e-4)


def test_the_evaluator_of_the_evaluate_package_gives_the_reports_accuracy(prepared, trained, reported):
    import evaluate as metrics

    class Accuracy(metrics.Metric):  # `evaluate.load("accuracy")` would fetch its code
        def _info(self):
            features = datasets.Features({key: datasets.Value("int32") for key in ("predictions", "references")})
            return metrics.MetricInfo(description="", citation="", inputs_description="", features=features)

        def _compute(self, predictions, references):
            return {"accuracy": float(np.mean(np.equal(predictions, references)))}

    test = datasets.load_from_disk(str(prepared))["test"]
    task = metrics.evaluator("image-classification")
    # by name: of a pipeline object evaluate 0.4.6 asks for transformers.TFPreTrainedModel, which transformers 5 has not
    result = task.compute(str(trained), data=test, metric=Accuracy(), label_mapping={"real": 0, "fake": 1})
    report = json.loads((reported / "report.json").read_text())
    assert result["accuracy"] == pytest.approx(report["tiers"]["clean"]["metrics"]["accuracy"])


def test_a_dry_run_shows_exactly_what_would_go_and_sends_nothing(far, place, trained, reported, tmp_path):
    far.requests.clear()
    command = ["train/publish.py", "model", "--model", trained, "--report", reported, "--repo", "lab/never"]
    output = run(far, place, *command, "--dry_run", token=False, HF_HUB_OFFLINE="1")
    assert "model_index" not in output and "model-index" in output and "files for the model lab/never" in output
    assert not far.requests and ("models", "lab/never") not in far.repos
    assert publish([*map(str, command[1:]), "--output_dir", str(tmp_path / "out")]) == 0
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == set(re.findall(r"^ *[\d,]+  [0-9a-f]{12}  (.+)$", output, flags=re.M))
    assert hub.load_checkpoint(tmp_path / "out").sha256 == hub.load_checkpoint(trained).sha256


def test_a_report_of_other_weights_is_not_published(trained, reported, tmp_path, capsys):
    copy = hub.save_checkpoint(hub.load_checkpoint(trained).model, tmp_path / "copy", half=True)
    assert publish(["model", "--model", str(copy), "--report", str(reported), "--repo", "lab/x", "--dry_run"]) == 2
    assert "was made with other weights" in capsys.readouterr().err
    config = json.loads((trained / "config.json").read_text()) | {"unsure_band": [0.1, 0.9]}
    (copy / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    (copy / "config.json").write_text(json.dumps(config))
    assert publish(["model", "--model", str(copy), "--report", str(reported), "--repo", "lab/x", "--dry_run"]) == 2
    assert "before the last calibration" in capsys.readouterr().err
    (copy / "model.onnx").write_bytes(b"a graph of long ago")
    assert publish(["model", "--model", str(copy), "--repo", "lab/x", "--dry_run"]) == 2
    assert "model.onnx was made with other weights" in capsys.readouterr().err
