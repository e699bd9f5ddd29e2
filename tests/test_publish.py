"""Prepare, train, push, pull and serve as separate processes, against a stand-in for the Hub over real HTTP."""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from conftest import App, connect
from hub_stand_in import TOKEN, Hub
from huggingface_hub import ModelCard
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file

from fakedet import Detector
from fakedet.hub import checkpoint as hub
from train.evaluation.run import main as evaluate
from train.export import main as export
from train.learning.record import private_paths
from train.publish import after_training, before_training
from train.publish import main as publish
from train.publishing import push
from train.publishing.card import METRICS

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--backbone", "test_efficientnet", "--no_pretrained", "--input_size", "32", "--num_workers", "0",
        "--head_epochs", "1", "--finetune_epochs", "5", "--finetune_lr", "5e-3", "--scheduler", "constant",
        "--per_device_train_batch_size", "8", "--augment", "none", "--checkpointing_steps", "9999"]  # fmt: skip


def draw_photos(folder: Path, count: int) -> None:
    """A folder with REAL and Fake in it, `count` pictures each: noise, and the same without its fine part."""
    rng = np.random.default_rng(0)
    for name, radius in {"REAL": 0.0, "Fake": 1.5}.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            colors = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((72, 72))
            noisy = np.asarray(colors, float) + rng.normal(0, 12, (72, 72, 3))
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
            image.save(folder / name / f"{index}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with photos/ in it, and all that comes from them."""
    folder = tmp_path_factory.mktemp("publish")
    draw_photos(folder / "photos", 30)
    return folder


@pytest.fixture(scope="module")
def far():
    """The stand-in of this module."""
    with Hub() as started:
        yield started


def run(far, place, *command, token: bool = True, code: int = 0, **environment) -> str:
    """Runs a script of train/ as a process that talks to the stand-in; returns what it printed."""
    env = (
        os.environ | far.environment(place / "home", token) | {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    )
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=env | environment, capture_output=True,
                          text=True, timeout=500)  # fmt: skip
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-5000:]
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def prepared(far, place) -> Path:
    """The prepared data set, which lies on the Hub as lab/pictures too."""
    run(far, place, "train/prepare.py", "--data", place / "photos", "--output_dir", place / "data",
        "--val_fraction", 0.2, "--test_fraction", 0.2, "--push_to_hub", "lab/pictures")  # fmt: skip
    return place / "data"


@pytest.fixture(scope="module")
def trained(far, place, prepared) -> Path:
    """A model trained by one process and pushed as lab/one."""
    said = run(far, place, "train/finetune.py", *TINY, "--train_dir", prepared, "--output_dir", place / "one",
               "--push_to_hub", "--hub_model_id", "lab/one", "--hub_private_repo")  # fmt: skip
    assert "tag v1" in said
    return place / "one"


@pytest.fixture(scope="module")
def reported(far, place, prepared, trained) -> Path:
    """Its evaluation, published with it as v2."""
    assert evaluate(["--model", str(trained), "--data", str(prepared), "--output_dir", str(place / "report"),
                     "--tiers", "clean", "web", "--num_workers", "0"]) == 0  # fmt: skip
    assert export(["--model", str(trained)]) == 0
    said = run(far, place, "train/publish.py", "model", "--model", trained, "--report", place / "report",
               "--repo", "lab/one", "--datasets", "lab/pictures")  # fmt: skip
    assert "tag v2" in said
    return place / "report"


def test_training_pushes_once_with_all_that_a_repository_needs(far, trained):
    repo = far.repo("lab/one")
    first = repo.commits[repo.tags["v1"]]
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "training.json",
            "configuration.py", "model.py", "views.py", "processing.py"} <= set(first)  # fmt: skip
    assert repo.private and repo.messages.count("start") == 1 and len(repo.commits) <= 3
    assert first["model.safetensors"].data == (trained / "model.safetensors").read_bytes()
    assert not far.unknown, "the stand-in lacks a route"
    card = ModelCard(first["README.md"].data.decode())  # without a report: the best epoch on validation
    best = json.loads(first["training.json"].data)["best"]
    assert {r.metric_type: r.metric_value for r in card.data.eval_results}["roc_auc"] == best["auc"]


def test_two_processes_push_once(far, place, prepared):
    # From the Hub, as a stream, by the config file that ships as an example.
    launch = ["-m", "accelerate.commands.launch", "--config_file", "examples/accelerate/two_cpu_processes.yaml"]
    said = run(far, place, *launch, "train/finetune.py", *TINY, "--dataset_name", "lab/pictures", "--streaming",
               "--max_train_samples", 24, "--max_eval_samples", 10, "--output_dir", place / "two", "--push_to_hub",
               "--hub_model_id", "lab/two")  # fmt: skip
    assert "2 process(es)" in said and "training images [24], validation [10]" in said
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
    found = {(r.dataset_config, r.metric_type): r.metric_value for r in card.data.eval_results}
    expected = {(tier, METRICS[key][0]): value for tier, part in report["tiers"].items()
                for key, value in part["metrics"].items() if key in METRICS and value is not None}  # fmt: skip
    assert found == expected and len(found) >= 16
    assert set(card.data.metrics) == {kind for _, kind in found}
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, flags=re.M)
    shown = {words: (clean, web) for words, clean, web in rows}
    for words, key in (("AUC", "roc_auc"), ("balanced accuracy", "balanced_accuracy"), ("Brier score", "brier")):
        assert shown[words] == tuple(f"{report['tiers'][tier]['metrics'][key]:.4f}" for tier in ("clean", "web"))
    answers = report["tiers"]["web"]["three_answers"]
    assert shown["coverage: share answered real or fake"][1] == f"{answers['coverage']:.4f}"
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


def test_what_should_be_private_is_not_put_where_all_can_see_it(far, place, monkeypatch, capsys):
    connect(far, monkeypatch, place / "cache")
    far.add("lab/public", {"README.md": b"# here"}, kind="spaces")
    assert publish(["space", "--repo", "lab/public", "--private"]) == 2
    assert "exists and is public" in capsys.readouterr().err
    assert publish(["space", "--repo", "lab/hidden", "--private"]) == 0 and far.repo("lab/hidden", "spaces").private


@pytest.fixture(scope="module")
def pictures(place) -> list[Path]:
    paths = [*sorted((place / "photos" / "REAL").iterdir())[:3], *sorted((place / "photos" / "Fake").iterdir())[:3]]
    return [*paths, *sorted((ROOT / "examples" / "images").glob("photo_*.jpg"))]


def test_the_app_pulls_the_pushed_model_and_answers_as_the_local_one(far, place, trained, pictures, tmp_path):
    from gradio_client import Client, handle_file

    repo, local = far.repo("lab/one"), Detector.from_pretrained(trained)
    # the folder that a Space gets, started as a Space starts it
    assert (
        publish(["space", "--repo", "lab/show", "--model", "lab/one@v1", "--output_dir", str(tmp_path / "space")]) == 0
    )
    variables = {"FAKEDET_MODEL": "lab/one@v1", "SPACE_ID": "lab/show", "HOME": "/dev/null/home"}
    started = App(tmp_path, tmp_path / "space", **far.environment(tmp_path / "cache"), **variables)
    try:
        client, expected = Client(started.url, verbose=False), [local.predict(path).p_fake for path in pictures]
        assert max(expected) - min(expected) > 0.05, "the comparison below would be empty"
        for path, p_fake in zip(pictures, expected, strict=True):
            answer = client.predict(handle_file(str(path)), api_name="/predict")
            assert answer["p_fake"] == pytest.approx(p_fake, abs=1e-4)
            assert (answer["model"]["id"], answer["model"]["revision"]) == ("lab/one", repo.tags["v1"])
    finally:
        started.stop()
    assert "lab/one answers, fetched from the Hub." in started.log.read_text()


def test_the_app_keeps_the_model_it_has_when_the_newest_comes_damaged(far, trained, pictures, tmp_path, monkeypatch):
    from gradio_client import Client, handle_file

    cache = tmp_path / "cache"
    connect(far, monkeypatch, cache / "hub")
    good = {path.name: path.read_bytes() for path in trained.glob("*.*")}
    first = far.add("lab/served", good).branches["main"]
    hub.load_checkpoint("lab/served")  # a start before
    state = load_file(trained / "model.safetensors")
    state["fc2.bias"] += 1
    save_file(state, tmp_path / "new.safetensors")
    repo = far.add("lab/served", good | {"model.safetensors": (tmp_path / "new.safetensors").read_bytes()})
    far.fault(f"GET /lfs/{repo.files['model.safetensors'].sha256}", "wrong")
    started = App(tmp_path, FAKEDET_MODEL="lab/served", **far.environment(cache))
    try:
        answer = Client(started.url, verbose=False).predict(handle_file(str(pictures[0])), api_name="/predict")
    finally:
        started.stop()
        far.faults.clear()
    assert answer["model"]["revision"] == first != repo.branches["main"]
    assert answer["p_fake"] == pytest.approx(Detector.from_pretrained(trained).predict(pictures[0]).p_fake, abs=1e-4)
    said = started.log.read_text()
    assert "lab/served answers from the local cache: model.safetensors does not have the sha256" in said


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
    found = {row["label"]: row["score"] for row in scorer(str(pictures[0]))}
    local = Detector.from_pretrained(trained, provenance=False).predict(pictures[0])
    assert found["fake"] == pytest.approx(local.p_fake, abs=1e-4)


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
    found = task.compute(str(trained), data=test, metric=Accuracy(), label_mapping={"real": 0, "fake": 1})
    report = json.loads((reported / "report.json").read_text())
    assert found["accuracy"] == pytest.approx(report["tiers"]["clean"]["metrics"]["accuracy"])


def test_a_dry_run_shows_exactly_what_would_go_and_sends_nothing(far, place, trained, reported, tmp_path):
    far.requests.clear()
    command = ["train/publish.py", "model", "--model", trained, "--report", reported, "--repo", "lab/never"]
    said = run(far, place, *command, "--dry_run", token=False, HF_HUB_OFFLINE="1")
    assert "model_index" not in said and "model-index" in said and "files for the model lab/never" in said
    assert not far.requests and ("models", "lab/never") not in far.repos
    assert publish([*map(str, command[1:]), "--output_dir", str(tmp_path / "out")]) == 0
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == set(re.findall(r"^ *[\d,]+  [0-9a-f]{12}  (.+)$", said, flags=re.M))
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


def test_absolute_paths_are_not_published():
    said = private_paths("finetune.py --train_dir /home/me/data/mine --config train/configs/a.yaml '/srv/x y' lab/one")
    assert "/home" not in said and " mine " in said and "train/configs/a.yaml" in said and "lab/one" in said


PUSH_FAULTS = {
    "no token": (None, None, "set HF_TOKEN to one that may write"),
    "someone else's": (None, None, "may not write to other/one"),
    "no name": (None, None, "is no Hub id"),
    "the Hub fails": ("POST .*commit", "500", r"answers with an error \(500"),
    "cut in the commit": ("POST .*commit", "cut", "connection broke"),
    "silence": ("POST .*commit", "late", "connection broke"),
    "refused card": ("validate-yaml", "404", r"answers with an error \(404"),
}


@pytest.mark.parametrize(("pattern", "kind", "says"), PUSH_FAULTS.values(), ids=PUSH_FAULTS)
def test_a_push_that_fails_says_why_and_changes_nothing(stand_in, trained, monkeypatch, capsys, pattern, kind, says):
    monkeypatch.setattr(push, "TIMEOUT_S", 2.0)
    stand_in.add("lab/one", {"README.md": b"# before"})
    if pattern:
        stand_in.fault(pattern, kind, seconds=6)
    if "HF_TOKEN" in says:
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    repo = "other/one" if "other" in says else "a/b/c" if "Hub id" in says else "lab/one"
    assert publish(["model", "--model", str(trained), "--repo", repo]) == 2
    said = capsys.readouterr().err
    assert re.search(says, said) and "Traceback" not in said and TOKEN not in said and stand_in.url not in said
    assert list(stand_in.repo("lab/one").files) == ["README.md"]
    stand_in.faults.clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert publish(["model", "--model", str(trained), "--repo", "lab/one"]) == 0


def test_a_training_that_cannot_push_says_so_before_or_how_to_push_later(stand_in, trained, monkeypatch):
    args = argparse.Namespace(output_dir=str(trained), hub_model_id=None, hub_private_repo=False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(SystemExit, match="--push_to_hub: The Hub wants a valid token"):
        before_training(args)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    before_training(args)
    assert args.hub_model_id == "lab/one"  # the output folder's name, in one's own account
    stand_in.fault("POST .*commit", "503")
    with pytest.raises(SystemExit, match=r"but not pushed: .*\(503.*\nLater: python train/publish.py model --model"):
        after_training(args)


def test_an_upload_that_is_cut_is_taken_up_again(stand_in, trained, capsys):
    fault = stand_in.fault("PUT /lfs/", "cut", times=1)
    assert publish(["model", "--model", str(trained), "--repo", "lab/cut"]) == 0 and fault.met == 1
    weights = stand_in.repo("lab/cut").files["model.safetensors"].data
    assert weights == (trained / "model.safetensors").read_bytes()


def test_an_upload_that_is_always_cut_ends_with_a_sentence(stand_in, trained, capsys, monkeypatch):
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http.time, "sleep", lambda _: None)  # the client's own pauses, 23 s in sum
    stand_in.fault("PUT /lfs/", "cut")
    assert publish(["model", "--model", str(trained), "--repo", "lab/cut"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search("publish: Error while uploading '[a-z.]+' to the Hub: .*again", said)
    assert list(stand_in.repo("lab/cut").files) == [".gitattributes"]


def test_of_two_pushes_at_once_one_is_told(stand_in, trained, capsys):
    repo = stand_in.add("lab/race", {"README.md": b"# before"})
    stand_in.fault("POST .*/preupload/", "late", times=1, seconds=1.0)

    def other() -> None:
        while not any("/preupload/" in line for line in stand_in.requests):
            time.sleep(0.01)
        repo.commit({}, "somebody was faster")

    thread = threading.Thread(target=other)
    thread.start()
    assert publish(["model", "--model", str(trained), "--repo", "lab/race"]) == 2
    thread.join()
    assert "Somebody else changed lab/race meanwhile" in capsys.readouterr().err
    assert repo.messages == ["start", "somebody was faster"] and not repo.tags


def test_the_data_set_comes_back_from_the_hub_byte_for_byte(far, prepared, place):
    repo = far.repo("lab/pictures", "datasets")
    assert any(name.startswith("data/train") for name in repo.files)
    table = datasets.load_dataset("parquet", data_files=str(write(place, repo)), split="train",
                                  cache_dir=str(place / "cache"))  # fmt: skip
    local = datasets.load_from_disk(str(prepared))["train"]
    raw = [part.cast_column("image", datasets.Image(decode=False)) for part in (table, local)]
    assert [row["image"]["bytes"] for row in raw[0]] == [stored(row["image"]) for row in raw[1]]
    assert table.features["label"].names == ["real", "fake"]


@pytest.mark.parametrize(("repo", "says"), [("other/pictures", "may not write to other/pictures"),
                                            ("a/b/c", "no Hub id"), ("lab/open", "exists and is public")])  # fmt: skip
def test_a_data_set_that_could_not_be_pushed_is_not_prepared(stand_in, place, tmp_path, capsys, repo, says):
    # Preparing can take an hour: what stands in the way of the push is said before.
    from train import prepare

    stand_in.add("lab/open", {"README.md": b"# here"}, kind="datasets")
    command = [
        "--data",
        str(place / "photos"),
        "--output_dir",
        str(tmp_path / "out"),
        "--push_to_hub",
        repo,
        "--private",
    ]
    assert prepare.main(command) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_data_set_that_is_not_there_is_told_before_training(far, place):
    said = run(far, place, "train/finetune.py", *TINY, "--dataset_name", "lab/nothing", "--output_dir", place / "no",
               code=1)  # fmt: skip
    assert "lab/nothing is no prepared folder, and cannot be loaded from the Hub" in said and "Traceback" not in said


def write(place: Path, repo) -> Path:
    path = place / "train.parquet"
    path.write_bytes(next(blob.data for name, blob in repo.files.items() if name.startswith("data/train")))
    return path


def stored(image: dict) -> bytes:
    return image["bytes"] or Path(image["path"]).read_bytes()


def test_a_space_holds_what_the_app_needs_and_can_be_pushed_again(far, place, trained):
    command = ["train/publish.py", "space", "--repo", "lab/show", "--model", "lab/one@v1"]
    assert "lab/one is private: give the Space a secret HF_TOKEN" in run(far, place, *command)
    repo = far.repo("lab/show", "spaces")
    assert repo.sdk == "gradio" and repo.variables == {"FAKEDET_MODEL": "lab/one@v1"}
    assert {"app.py", "README.md", "requirements.txt", "fakedet/hub.py", "fakedet/pretrained/config.json"} <= set(
        repo.files
    )
    assert not [name for name in repo.files if (name.startswith(("train/", "tests/", "."))
                and name != ".gitattributes") or "__pycache__" in name]  # fmt: skip
    assert b"models:\n- lab/one\n" in repo.files["README.md"].data
    commits, variables = len(repo.commits), far.requests.count("POST /api/spaces/lab/show/variables")
    repo.commit(
        dict(repo.files) | {"fakedet/old.py": repo.files["app.py"], "mine.txt": repo.files["app.py"]}, "by hand"
    )
    run(far, place, *command)
    assert "fakedet/old.py" not in repo.files and "mine.txt" in repo.files and len(repo.commits) == commits + 2
    assert "as before" in run(far, place, *command) and len(repo.commits) == commits + 2
    assert far.requests.count("POST /api/spaces/lab/show/variables") == variables
    said = run(far, place, "train/publish.py", "space", "--repo", "lab/show", "--model", "lab/nothing", code=2)
    assert "lab/nothing does not exist on the Hub" in said


def test_the_workflow_syncs_the_space(far, place):
    # Its last step, as the runner starts it.
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "space.yml").read_text())
    step = workflow["jobs"]["sync"]["steps"][-1]
    assert set(step["env"]) == {"HF_TOKEN", "SPACE", "MODEL"}
    for pattern in workflow[True]["push"]["paths"]:  # YAML 1.1 reads the key `on` as true
        assert list(ROOT.glob(pattern)), pattern
    env = os.environ | far.environment(place / "home") | {"SPACE": "lab/synced", "MODEL": ""}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    subprocess.run(["bash", "-euc", step["run"]], cwd=ROOT, env=env, check=True, timeout=100)
    assert far.repo("lab/synced", "spaces").variables == {"FAKEDET_MODEL": "bundled"}


def test_the_space_command_needs_neither_torch_nor_transformers():
    # The workflow that syncs main to the Space installs two small packages only.
    code = "import sys; sys.argv=['p','space','--repo','a/b','--dry_run']; from train.publish import main; main()"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "app.py" in done.stdout
    assert not re.search(r"\| +(torch|transformers|gradio|fakedet)$", done.stderr, flags=re.M)
