"""train/study.py and the filters of rows, as commands on tiny images."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from train.data.filters import filter_rows, parse_where
from train.evaluation import run as evaluation
from train.learning.options import parse
from train.study import changed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A prepared data set of two collections, and the YAML of a study that leaves one of them out of training."""
    root = tmp_path_factory.mktemp("study")
    rng, rows = np.random.default_rng(0), []
    for number in range(32):
        label, source = number % 2, ("meadow", "harbour")[number // 2 % 2]
        pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8) + np.uint8(90 * label)
        generator = f"{source}-model" if label else ""
        rows.append({"image": Image.fromarray(pixels), "label": label, "source": source, "generator": generator})
    text = datasets.Value("string")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["real", "fake"]), source=text,
                                 generator=text)  # fmt: skip
    data = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": data, "validation": data}).save_to_disk(root / "data")
    base = {"data": [{"path": str(root / "data"), "augment": "flip"}], "backbone": "test_efficientnet",
            "no_pretrained": True, "input_size": 32, "hidden_size": 8, "head_epochs": 0, "finetune_epochs": 1,
            "per_device_train_batch_size": 8, "num_workers": 0}  # fmt: skip
    (root / "base.yaml").write_text(yaml.safe_dump(base))
    common = f"--data {root / 'data'} --split validation --probe_samples 0 --mistakes 0"
    study = {
        "base": "base.yaml",
        "evaluations": {"all": common},
        "variants": {
            "full": None,
            "without_harbour": {
                "changes": {"data.0.exclude": {"source": ["harbour"]}},
                "evaluations": {"harbour": f"{common} --where source=harbour"},
            },
        },
    }
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    return root


@pytest.mark.integration
@pytest.mark.integration
def test_a_study_trains_each_variant_once_and_puts_the_figures_side_by_side(place):
    command = [sys.executable, str(ROOT / "train" / "study.py"), "--study", str(place / "study.yaml"),
               "--output_dir", str(place / "out"), "--launch", sys.executable,
               "--set", "hidden_size=4"]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    rows = json.loads((place / "out" / "study.json").read_text())
    assert [(row["variant"], row["evaluation"], row["real / fake"]) for row in rows] == [
        ("full", "all", "16 / 16"),
        ("without_harbour", "harbour", "8 / 8"),
    ]
    report = json.loads((place / "out" / "without_harbour" / "reports" / "harbour" / "report.json").read_text())
    assert float(rows[1]["AUC"]) == pytest.approx(report["tiers"]["clean"]["metrics"]["roc_auc"], abs=5e-4)
    assert "training images [16]" in (place / "out" / "without_harbour" / "train.log").read_text()
    assert yaml.safe_load((place / "out" / "full" / "config.yaml").read_text())["hidden_size"] == 4
    assert "harbour-model" in (place / "out" / "study.md").read_text()
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0 and "+ " not in again.stdout, "what is finished is not done again"


def test_rows_are_chosen_by_value_and_a_typing_error_is_refused(place):
    data = datasets.load_from_disk(place / "data")["train"]
    assert len(filter_rows(data, {"source": ["meadow"]}, {"generator": ["meadow-model"]})) == 8
    with pytest.raises(ValueError, match="no row has source = medow"):
        filter_rows(data, {"source": ["medow"]}, {})
    with pytest.raises(ValueError, match="no column 'colour'"):
        filter_rows(data, {}, {"colour": ["x"]})
    assert parse_where(["source=a,b", "content=photo"]) == {"source": ["a", "b"], "content": ["photo"]}


def test_a_change_reaches_inside_and_a_wrong_path_is_refused():
    base = {"data": [{"path": "x", "augment": "degrade"}, {"path": "y"}], "seed": 1}
    assert changed(base, {"data.0.augment": "flip", "data.1": None}) == {
        "data": [{"path": "x", "augment": "flip"}],
        "seed": 1,
    }
    assert base["data"][0]["augment"] == "degrade"
    with pytest.raises(SystemExit, match="does not exist"):
        changed(base, {"data.7.augment": "flip"})


@pytest.mark.parametrize("path", sorted((ROOT / "train" / "studies").iterdir()), ids=lambda path: path.stem)
def test_every_shipped_study_makes_configs_that_the_trainer_takes(path, tmp_path):
    study = yaml.safe_load(path.read_text())
    base = yaml.safe_load((path.parent / study["base"]).read_text())
    for name, variant in study["variants"].items():
        config = changed(base, {**study.get("changes", {}), **((variant or {}).get("changes", {}))})
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
        config = parse(["--config", str(tmp_path / f"{name}.yaml")])
        assert all(source.share > 0 for source in config.data)
        for flags in ((variant or {}).get("evaluations") or study["evaluations"]).values():
            evaluation.parse_args([*shlex.split(flags), "--output_dir", "x"])
