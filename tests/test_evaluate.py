"""train/evaluate.py and train/calibrate.py: as commands on a tiny model, and their sums on made-up scores."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

from fakedet import Detector, FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import save_checkpoint
from fakedet.images import open_image
from train import calibrate
from train.evaluation import run as evaluation
from train.evaluation.curves import Degradation
from train.evaluation.dataset import TIERS, load_evalset, prefetch
from train.evaluation.metrics import detection_metrics
from train.evaluation.probes import jpeg_quality, probe_table
from train.evaluation.summary import group_rows, hard_kinds, score_shift, three_answers, worst_mistakes

ROOT = Path(__file__).resolve().parent.parent
TYPED = "--model model --data data --output_dir out --tiers clean web --curve_samples 12"
N = 24
BROKEN = 5


def picture(seed: int, width: int = 48, height: int = 40, brightness: int = 0) -> PILImage.Image:
    """A seeded smooth picture; with `brightness` (0..255) added, the classes differ in that and nothing else."""
    small = np.random.default_rng(seed).integers(0, 128, (6, 6, 3)).astype(np.uint8) + np.uint8(brightness)
    return PILImage.fromarray(small).resize((width, height), PILImage.Resampling.BICUBIC)


def encode(image: PILImage.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def save_tiny_model(folder: Path) -> Path:
    """An untrained network of a few layers, turned so that a brighter image scores higher."""
    torch.manual_seed(0)
    config = FakeDetConfig(backbone="test_efficientnet", hidden_size=8, input_size=32, max_views=2)
    model = FakeDetForImageClassification(config).eval()
    with torch.no_grad():
        dark, bright = (model(torch.full((1, 3, 32, 32), value)).logit for value in (-1.0, 1.0))
        model.fc2.weight *= torch.sign(bright - dark) * 4 / (bright - dark).abs()
    return save_checkpoint(model, folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a tiny model and a prepared data set of 24 images, one of them broken, in two splits."""
    root = tmp_path_factory.mktemp("evaluate")
    save_tiny_model(root / "model")
    rows = {"image": [], "label": [], "source": [], "generator": [], "group": [], "kind": [], "camera": []}
    for i in range(N):
        data = encode(picture(i, brightness=100 * (i % 2)), "JPEG", quality=90)
        rows["image"].append({"bytes": data[:200] if i == BROKEN else data, "path": f"picture{i}.jpg"})
        rows["label"].append(i % 2)
        rows["source"].append("both" if i < 12 else ("cameras", "machines")[i % 2])
        rows["generator"].append(("a-camera", "model-a" if i < 12 else "model-b")[i % 2])
        rows["group"].append(f"group{i}")
        rows["kind"].append(("night;film" if i % 4 else "", "ai-edit")[i % 2])
        rows["camera"].append(("Pentax", "")[i % 2])
    text = Value("string")
    features = Features({"image": Image(), "label": ClassLabel(names=["real", "fake"]), "source": text,
                         "generator": text, "group": text, "kind": text, "camera": text})  # fmt: skip
    data = Dataset.from_dict(rows, features=features)
    DatasetDict({"validation": data, "test": data}).save_to_disk(root / "data")
    return root


def run(script: str, place: Path, *args: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "train" / script), *args]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1500)


@pytest.fixture(scope="module")
def finished(place) -> Path:
    """The command as users type it, once; its output folder."""
    done = run("evaluate.py", place, *TYPED.split())
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stderr, "a progress bar with images per second"
    assert "Report: out/report.md" in done.stdout.replace("\\", "/")
    return place / "out"


@pytest.fixture(scope="module")
def report(finished) -> dict:
    return json.loads((finished / "report.json").read_text(encoding="utf-8"))


def test_curves_show_every_kind_of_wear_on_the_same_images(finished, report):
    """A reader must see where the detector stops working, not one average."""
    kinds = {row["kind"] for row in report["curves"]}
    assert kinds == {"jpeg", "downscale", "blur", "noise", "crop", "screenshot"}
    assert {row["n"] for row in report["curves"]} == {12} or {row["n"] for row in report["curves"]} == {11}
    gentle = next(row for row in report["curves"] if (row["kind"], row["level"]) == ("jpeg", 95))
    assert gentle["mean_abs_p"] < 0.02 < 0.05 < gentle["auc_clean"]
    assert "## Robustness curves" in (finished / "report.md").read_text(encoding="utf-8")
    assert (finished / "curves.png").stat().st_size > 5000


def test_each_wear_does_what_it_says():
    """Real and fake go through this code alike; a wear that did nothing would flatter the detector."""
    image = open_image(encode(picture(1, 200, 120))).image
    worn = {
        degradation.kind: open_image(degradation.apply(encode(image))).image
        for degradation in (
            Degradation("downscale", 0.5),
            Degradation("crop", 0.4),
            Degradation("noise", 10),
            Degradation("screenshot", 1.0),
        )
    }
    assert worn["downscale"].size == (100, 60)
    assert worn["crop"].size == (80, 48)
    assert np.std(np.asarray(worn["noise"], float) - np.asarray(image)) == pytest.approx(10, abs=1)
    margin = (worn["screenshot"].width - image.width) // 2
    inner = worn["screenshot"].crop((margin, 2 * margin, margin + 200, 2 * margin + 120))
    assert np.abs(np.asarray(inner, float) - np.asarray(image)).max() <= 1


@pytest.fixture(scope="module")
def scores(finished) -> list[dict]:
    with open(finished / "scores.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_test_split_is_the_default_and_everything_is_counted(report):
    """A reader must see what the figures are over."""
    assert report["split"] == "test"
    assert report["counts"] == {"images": N, "real": 12, "fake": 12, "scored": N - 1, "unreadable": 1, "unlabelled": 0}
    assert report["tiers"]["clean"]["metrics"]["n"] == N - 1


def test_a_broken_image_is_listed_once_and_by_name(report):
    """One bad file never loses the rest, nor hides."""
    (entry,) = report["dropped"]
    assert (entry["index"], entry["file"]) == (BROKEN, "picture5.jpg")
    assert (entry["tier"], entry["code"]) == ("clean", "corrupt_image")


def test_scores_are_those_of_the_detector(place, scores):
    """The report must be about the code that users run."""
    detector, images = Detector.from_pretrained(place / "model"), load_evalset(str(place / "data"))
    for row in [row for row in scores if row["tier"] == "clean"][:4]:
        verdict = detector.predict(images.encoded(int(row["index"]))[0])
        assert float(row["p_fake"]) == pytest.approx(verdict.p_fake, abs=1e-4)
        assert float(row["z"]) == pytest.approx(verdict.logit, abs=1e-3)
        assert row["verdict"] == verdict.verdict


def test_figures_can_be_computed_again_from_scores_csv(report, scores):
    """What one figure says must be what the table gives."""
    for tier in ("clean", "web"):
        rows = [row for row in scores if row["tier"] == tier]
        assert len(rows) == N - 1
        again = detection_metrics([int(r["label"]) for r in rows], [float(r["p_fake"]) for r in rows])
        assert again == pytest.approx(report["tiers"][tier]["metrics"], abs=1e-4)


def test_every_picture_in_the_report_exists_and_opens(finished):
    """A report with a broken picture cannot be read."""
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


def test_report_holds_no_path_of_the_machine(place, finished):
    """Reports are published; the command line stands there as it was typed."""
    for name in ("report.json", "report.md", "scores.csv"):
        text = (finished / name).read_text(encoding="utf-8")
        assert str(place) not in text
        assert str(ROOT) not in text
    assert f"python train/evaluate.py {TYPED}\n" in (finished / "report.md").read_text(encoding="utf-8")


def test_model_and_latency_are_named(report, place):
    """A figure without its model is worth nothing."""
    assert report["model"]["id"] == "model"
    assert len(report["model"]["sha256"]) == 64
    assert report["latency_ms"]["n"] == N - 1
    assert 0 < report["latency_ms"]["median"] <= report["latency_ms"]["p95"]
    assert {"python", "torch", "timm", "fakedet"} <= set(report["versions"])


def test_probes_find_the_shortcut_that_was_put_in(report):
    """Brightness alone tells these classes apart; size tells nothing."""
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
    for words, args in tries.items():
        assert evaluation.main([*args, "--output_dir", "refused"]) == 2
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("evaluate: ")
        assert words in last


def test_a_folder_of_fakes_alone_gives_a_report(place, monkeypatch):
    """Somebody who only wants to know how many of their AI images are found."""
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


def test_labels_go_by_name_not_by_index(tmp_path, monkeypatch):
    """imagefolder and the Hub's CIFAKE sort FAKE before REAL; 0 must still be real."""
    rows = {"image": [{"bytes": encode(picture(i)), "path": None} for i in range(4)], "label": [0, 0, 0, 1]}
    features = Features({"image": Image(), "label": ClassLabel(names=["FAKE", "REAL"])})
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "test.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert load_evalset(str(tmp_path / "test.parquet")).table["label"].tolist() == [1, 1, 1, 0]


def test_max_samples_keeps_order_and_proportion(place):
    """A quick look must not change the mix of classes."""
    few = load_evalset(str(place / "data"), "test", max_samples=8)
    assert few.table["label"].tolist().count(1) == 4
    assert few.table["index"].is_monotonic_increasing
    assert few.encoded(3)[1] == f"picture{few.table['index'][3]}.jpg"


def test_wear_is_a_smaller_jpeg_of_the_stated_quality():
    """The tiers are what the report says they are, also for an image given as PNG."""
    big, small = encode(picture(1, 1000, 500)), encode(picture(1, 100, 50))
    assert TIERS["clean"].apply(big) is big
    for name, side, quality in (("web", 768, 60), ("hard", 512, 40)):
        worn = TIERS[name].apply(big)
        with PILImage.open(io.BytesIO(worn)) as image:
            assert (image.format, image.size) == ("JPEG", (side, side // 2))
            assert image.layer[0][1:3] == (2, 2), "4:2:0"
        assert jpeg_quality(worn) == pytest.approx(quality, abs=1)
        with PILImage.open(io.BytesIO(TIERS[name].apply(small))) as image:
            assert image.size == (100, 50)


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
def test_jpeg_quality_is_read_from_the_tables(quality):
    """The probe would blame compression wrongly otherwise."""
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


def table(**columns) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    frame["index"] = np.arange(len(frame))
    frame["z"] = np.log(frame["p_fake"] / (1 - frame["p_fake"]))
    frame["verdict"] = np.select([frame["p_fake"] >= 0.6, frame["p_fake"] <= 0.4], ["fake", "real"], "unsure")
    return frame


def test_groups_are_measured_against_what_is_fair():
    """Inside itself where both classes are there; a generator always against all reals of the split."""
    frame = table(
        label=[0, 0, 1, 1, 0, 1],
        p_fake=[0.1, 0.7, 0.3, 0.9, 0.8, 0.75],
        source=["pair", "pair", "pair", "pair", "cameras", "machines"],
        generator=["a-camera", "a-camera", "g1", "g2", "a-camera", "g1"],
    )
    by_source = {row["name"]: row for row in group_rows(frame, "source", 0.5)}
    assert by_source["pair"]["against"] == "itself"
    assert by_source["pair"]["auc"] == pytest.approx(3 / 4)
    assert by_source["machines"]["against"] == "all reals"
    assert by_source["machines"]["auc"] == pytest.approx(2 / 3)
    assert by_source["cameras"]["against"] == "all fakes"
    by_generator = {row["name"]: row for row in group_rows(frame, "generator", 0.5)}
    assert set(by_generator) == {"g1", "g2"}, "the collections of real photos are no generators"
    assert by_generator["g1"]["auc"] == pytest.approx((1 + 2) / 6)
    assert by_generator["g1"]["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert by_generator["g2"]["mean_score"] == pytest.approx(0.9)


def test_hard_kinds_count_photographs_in_each_of_their_kinds():
    frame = table(
        label=[0, 0, 0, 0, 1],
        p_fake=[0.9, 0.5, 0.1, 0.1, 0.9],
        kind=["night;film", "night", "film", None, "night"],
    )
    night, film = (
        {"kind": kind, "n": 2, "n_called_fake": 1, "n_unsure": unsure, "called_fake": 0.5, "unsure": unsure / 2}
        for kind, unsure in (("night", 1), ("film", 0))
    )
    assert hard_kinds(frame) == [film, night]


def test_data_without_kinds_have_no_hard_kinds():
    assert hard_kinds(table(label=[0, 1], p_fake=[0.1, 0.9])) == []


def test_kind_and_camera_reach_the_score_table(scores):
    assert (scores[2]["kind"], scores[2]["camera"]) == ("night;film", "Pentax")


def test_report_starts_with_auc_inside_sources_abstention_and_hard_kinds(report, finished):
    tier = report["tiers"]["clean"]
    assert tier["matched"]["sources"] == 1
    assert tier["auc_ci_unit"] == "group"
    assert [row["kind"] for row in tier["hard_kinds"]] == ["film", "night"]
    text = (finished / "report.md").read_text(encoding="utf-8")
    places = [text.index(part) for part in ("AUC inside sources", "(AURC", "## Hard kinds", "## At the threshold")]
    assert places == sorted(places)


def test_three_answers_by_hand():
    """Coverage, false alarms and misses are promises to users."""
    result = three_answers(table(label=[0, 0, 0, 0, 1, 1], p_fake=[0.1, 0.2, 0.5, 0.9, 0.95, 0.3]))
    assert result["coverage"] == pytest.approx(5 / 6)
    assert result["accuracy_decided"] == pytest.approx(3 / 5)
    assert result["false_alarms"] == pytest.approx(1 / 4)
    assert result["missed"] == pytest.approx(1 / 2)
    assert result["balanced_accuracy_decided"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_shift_compares_the_same_images():
    """An image that was lost in one tier must not shift the others."""
    clean = table(label=[0, 1, 1], p_fake=[0.2, 0.9, 0.8])
    worn = clean.iloc[[0, 2]].assign(p_fake=[0.3, 0.8], verdict=["real", "unsure"])
    shift = score_shift(clean, worn)
    assert shift["real"]["mean_abs_p"] == pytest.approx(0.1)
    assert shift["fake"] == {"mean_z": 0.0, "mean_abs_p": 0.0, "verdict_changed": 1.0}


def test_worst_mistakes_come_first():
    """The contact sheet is read from the top left."""
    frame = table(label=[0, 0, 1, 1], p_fake=[0.8, 0.1, 0.05, 0.49])
    assert worst_mistakes(frame, 0.5, 2)["index"].tolist() == [2, 0]


def test_calibrate_command_changes_what_the_detector_answers(place):
    """From the command line to the verdict, with everything else of the configuration left as it is."""
    folder = place / "calibrated"
    shutil.copytree(place / "model", folder)
    before = json.loads((folder / "config.json").read_text())
    done = run("calibrate.py", place, "--model", "calibrated", "--data", "data")
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert "ece" in done.stdout
    after = json.loads((folder / "config.json").read_text())
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed <= {"calibration_temperature", "calibration_bias", "threshold", "unsure_band"}
    assert "calibration_temperature" in changed
    assert after["unsure_band"][0] <= 0.5 <= after["unsure_band"][1]
    verdict = Detector.from_pretrained(folder).predict(picture(3, brightness=100))
    z = verdict.logit / after["calibration_temperature"] + after["calibration_bias"]
    assert verdict.p_fake == pytest.approx(1 / (1 + math.exp(-z)))


def test_calibrate_by_risk_reads_a_parquet_file_and_reports_held_out_sources(place, tmp_path, capsys):
    """The band for unseen sources, from the file that training validated on."""
    folder, data = tmp_path / "model", tmp_path / "validation.parquet"
    shutil.copytree(place / "model", folder)
    datasets.load_from_disk(place / "data")["validation"].to_parquet(data)
    args = ["--model", str(folder), "--data", str(data), "--tiers", "clean", "web", "--num_workers", "0"]
    assert calibrate.main([*args, "--balance_sources", "--max_risk", "0.4", "--max_false_alarm", "0.4"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("cross-fitted  coverage") == 3
    low, high = json.loads((folder / "config.json").read_text())["unsure_band"]
    assert low <= 0.5 <= high


def test_a_lone_test_split_is_not_calibrated_on_by_default(place, tmp_path, capsys):
    data = tmp_path / "test.parquet"
    datasets.load_from_disk(place / "data")["test"].to_parquet(data)
    shutil.copytree(place / "model", tmp_path / "model")
    assert calibrate.main(["--model", str(tmp_path / "model"), "--data", str(data)]) == 2
    assert "only a test split" in capsys.readouterr().err


def test_tiny_images_get_numbers_of_their_own(place, tmp_path):
    """Icons must not set the temperature of photographs; and the report names the band that its images met."""
    folder, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(place / "model", folder)
    common = ["--model", str(folder), "--data", str(place / "data"), "--num_workers", "0"]
    assert calibrate.main([*common, "--tiny_side", "64"]) == 0  # every picture of the set is smaller than that
    config = json.loads((folder / "config.json").read_text())
    assert (config["tiny_side"], config["calibration_temperature"]) == (64, 1.0)
    small = Detector.from_pretrained(folder).predict(picture(2))
    z = small.logit / config["tiny_temperature"] + config["tiny_bias"]
    assert small.p_fake == pytest.approx(1 / (1 + math.exp(-z)))
    assert evaluation.main([*common, "--output_dir", str(out), "--max_samples", "4", "--probe_samples", "0"]) == 0
    tiny = json.loads((out / "report.json").read_text())["tiny"]
    assert tiny["side"] == 64
    assert tiny["images"] >= 3
    assert "calibration of their own" in (out / "report.md").read_text(encoding="utf-8")


def test_calibrate_refuses_what_is_no_folder(capsys):
    """A Hub id cannot be written to."""
    assert calibrate.main(["--model", "someone/model", "--data", "x"]) == 2
    assert "not a checkpoint folder" in capsys.readouterr().err
