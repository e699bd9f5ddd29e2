"""train/evaluate.py: the command on a tiny model, and its report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from evaluation_material import BROKEN, ROOT, N, make_place, picture, run
from PIL import Image as PILImage

from fakedet import Detector
from train.evaluation import run as evaluation
from train.evaluation.dataset import load_evalset
from train.evaluation.metrics import detection_metrics

TYPED = "--model model --data data --output_dir out --tiers clean web --curve_samples 12"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_place(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def finished(place) -> Path:
    """Runs the command once as users type it; returns its output folder."""
    done = run("evaluate.py", place, *TYPED.split())
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stderr, "a progress bar with images per second"
    assert "Report: out/report.md" in done.stdout.replace("\\", "/")
    return place / "out"


@pytest.fixture(scope="module")
def report(finished) -> dict:
    return json.loads((finished / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scores(finished) -> list[dict]:
    with open(finished / "scores.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.integration
def test_curves_show_every_kind_of_degradation_on_the_same_images(finished, report):
    """The curves must show where the detector fails, not one average."""
    kinds = {row["kind"] for row in report["curves"]}
    assert kinds == {"jpeg", "downscale", "blur", "noise", "crop", "screenshot"}
    assert {row["n"] for row in report["curves"]} == {12} or {row["n"] for row in report["curves"]} == {11}
    gentle = next(row for row in report["curves"] if (row["kind"], row["level"]) == ("jpeg", 95))
    assert gentle["mean_abs_p"] < 0.02 < 0.05 < gentle["auc_clean"]
    assert "## Robustness curves" in (finished / "report.md").read_text(encoding="utf-8")
    assert (finished / "curves.png").stat().st_size > 5000


@pytest.mark.integration
def test_test_split_is_the_default_and_everything_is_counted(report):
    """The report must say which images its figures cover."""
    assert report["split"] == "test"
    assert report["counts"] == {"images": N, "real": 12, "fake": 12, "scored": N - 1, "unreadable": 1, "unlabelled": 0}
    assert report["tiers"]["clean"]["metrics"]["n"] == N - 1


@pytest.mark.integration
def test_a_broken_image_is_listed_once_and_by_name(report):
    """One bad file must neither stop the run nor go unreported."""
    (entry,) = report["dropped"]
    assert (entry["index"], entry["file"]) == (BROKEN, "picture5.jpg")
    assert (entry["tier"], entry["code"]) == ("clean", "corrupt_image")


@pytest.mark.integration
def test_scores_are_those_of_the_detector(place, scores):
    """The report must measure the code that users run."""
    detector, images = Detector.from_pretrained(place / "model"), load_evalset(str(place / "data"))
    for row in [row for row in scores if row["tier"] == "clean"][:4]:
        verdict = detector.predict(images.encoded(int(row["index"]))[0])
        assert float(row["p_fake"]) == pytest.approx(verdict.p_fake, abs=1e-4)
        assert float(row["z"]) == pytest.approx(verdict.logit, abs=1e-3)
        assert row["verdict"] == verdict.verdict


@pytest.mark.integration
def test_figures_can_be_computed_again_from_scores_csv(report, scores):
    """Every metric must follow from the published scores."""
    for tier in ("clean", "web"):
        rows = [row for row in scores if row["tier"] == tier]
        assert len(rows) == N - 1
        again = detection_metrics([int(r["label"]) for r in rows], [float(r["p_fake"]) for r in rows])
        assert again == pytest.approx(report["tiers"][tier]["metrics"], abs=1e-4)


@pytest.mark.integration
def test_every_picture_in_the_report_exists_and_opens(finished):
    """A report must not refer to a missing plot."""
    text = (finished / "report.md").read_text(encoding="utf-8")
    names = {part.split(")")[0] for part in text.split("](")[1:]}
    assert names == {path.name for path in finished.glob("*.png")}
    assert {name.removesuffix(".png") for name in names} == {
        "confusion_matrix", "roc", "precision_recall", "score_histogram", "reliability", "mistakes", "tiers", "curves",
        "risk_coverage",
    }  # fmt: skip
    for name in names:
        with PILImage.open(finished / name) as image:
            image.load()
            assert 500 <= image.width <= 1400, f"{name} must be readable at the width of a README"


@pytest.mark.integration
def test_report_holds_no_path_of_the_machine(place, finished):
    """Reports are published, with the command as it was typed."""
    for name in ("report.json", "report.md", "scores.csv"):
        text = (finished / name).read_text(encoding="utf-8")
        assert str(place) not in text
        assert str(ROOT) not in text
    assert f"python train/evaluate.py {TYPED}\n" in (finished / "report.md").read_text(encoding="utf-8")


@pytest.mark.integration
def test_model_and_latency_are_named(report, place):
    """A figure must name its model and machine."""
    assert report["model"]["id"] == "model"
    assert len(report["model"]["sha256"]) == 64
    assert report["latency_ms"]["n"] == N - 1
    assert 0 < report["latency_ms"]["median"] <= report["latency_ms"]["p95"]
    assert {"python", "torch", "timm", "fakedet"} <= set(report["versions"])


@pytest.mark.integration
def test_probes_find_the_shortcut_that_was_put_in(report):
    """The classes differ in brightness and not in size."""
    probes = {row["probe"]: row for row in report["probes"]}
    assert probes["brightness"]["auc"] == 1.0
    assert probes["thumbnail"]["auc"] > 0.95
    assert probes["pixels"]["auc"] == 0.5


def test_command_refuses_bad_input_in_one_line(place, capsys, monkeypatch):
    """A user sees what is wrong, not a stack trace."""
    monkeypatch.chdir(place)
    (place / "no_image" / "real").mkdir(parents=True, exist_ok=True)
    (place / "no_image" / "real" / "a.jpg").write_bytes(b"this is no picture")
    tries = {
        "has no split elsewhere": ["--model", "model", "--data", "data", "--split", "elsewhere"],
        "nowhere.parquet": ["--model", "model", "--data", "nowhere.parquet"],
        "config.json": ["--model", "data", "--data", "data"],
        "None of the 1 images": ["--model", "model", "--data", "no_image"],
    }
    for message, args in tries.items():
        assert evaluation.main([*args, "--output_dir", "refused"]) == 2
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("evaluate: ")
        assert message in last


def test_a_folder_of_fakes_alone_gives_a_report(place, monkeypatch):
    """Users may want to know only how many of their AI images are detected."""
    monkeypatch.chdir(place)
    for i in range(3):
        folder = place / "only_fakes" / "FAKE"
        folder.mkdir(parents=True, exist_ok=True)
        picture(i).save(folder / f"{i}.png")
    assert evaluation.main(["--model", "model", "--data", "only_fakes", "--output_dir", "alone"]) == 0
    metrics = json.loads((place / "alone" / "report.json").read_text())["tiers"]["clean"]["metrics"]
    assert metrics["n_fake"] == 3
    assert metrics["roc_auc"] is None
    assert not (place / "alone" / "roc.png").exists()


def test_max_samples_keeps_order_and_proportion(place):
    """A quick look must not change the mix of classes."""
    few = load_evalset(str(place / "data"), "test", max_samples=8)
    assert few.table["label"].tolist().count(1) == 4
    assert few.table["index"].is_monotonic_increasing
    assert few.encoded(3)[1] == f"picture{few.table['index'][3]}.jpg"


@pytest.mark.integration
def test_kind_and_camera_reach_the_score_table(scores):
    assert (scores[2]["kind"], scores[2]["camera"]) == ("night;film", "Pentax")


@pytest.mark.integration
def test_report_starts_with_auc_inside_sources_abstention_and_hard_kinds(report, finished):
    tier = report["tiers"]["clean"]
    assert tier["matched"]["sources"] == 1
    assert tier["auc_ci_unit"] == "group"
    assert [row["kind"] for row in tier["hard_kinds"]] == ["film", "night"]
    text = (finished / "report.md").read_text(encoding="utf-8")
    places = [text.index(part) for part in ("AUC inside sources", "(AURC", "## Hard kinds", "## At the threshold")]
    assert places == sorted(places)
