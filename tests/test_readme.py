"""README.md: its commands run as they stand there, its order and its size."""

import json
import os
import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
HEADINGS = (
    "How good it is", "Two commands", "Use it", "Fine-tune in three commands", "How it works", "Limits",
    "Map of the repository", "Licence",
)  # fmt: skip


def commands(heading: str) -> list[str]:
    """The indented command lines of the first block under a heading."""
    block = README.split(f"## {heading}", 1)[1].split("\n## ")[0]
    return re.findall(r"^    (\S.*)$", block, flags=re.M)


@pytest.mark.integration
def test_the_three_commands_prepare_train_and_evaluate(tmp_path):
    # A practitioner with a folder of photographs and a folder of fakes, on two cores, without a network.
    rng = np.random.default_rng(0)
    for name, radius in {"REAL": 0.0, "Fake": 1.5}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(60):
            colors = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((128, 128))
            noisy = np.asarray(colors, float) + rng.normal(0, 12, (128, 128, 3))
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
            image.save(tmp_path / "photos" / name / f"{index}.png")
    (tmp_path / "train").symlink_to(ROOT / "train")
    three = commands("Fine-tune in three commands")
    assert [line.split("train/")[1].split(".py")[0] for line in three] == ["prepare", "finetune", "evaluate"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
    }
    for line in three:
        done = subprocess.run(line.split(), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    report = json.loads((tmp_path / "reports/mine/report.json").read_text())
    assert "clean" in report["tiers"]
    pictures = {path.name for path in (tmp_path / "reports/mine").glob("*.png")}
    assert len(pictures) >= 5
    assert (tmp_path / "reports/mine/report.md").is_file()


@pytest.mark.integration
def test_the_examples_print_what_the_readme_shows():
    page = runpy.run_path(str(ROOT / "examples/sample_output.py"))["with_output"](README)
    number = re.compile(r"\d+\.\d+")
    assert number.sub("#", page) == number.sub("#", README)
    # another processor gives slightly different scores
    assert [*map(float, number.findall(page))] == pytest.approx([*map(float, number.findall(README))], rel=0.01)


def test_the_front_matter_is_what_a_space_needs():
    facts = yaml.safe_load(README.split("---")[1])
    assert facts["sdk"] == "gradio"
    assert facts["app_file"] == "app.py"
    assert facts["license"] == "mit"
    assert float(facts["python_version"].split(".")[1]) >= 11
    assert len(facts["short_description"]) <= 60
    installed = metadata.version("gradio")  # without the seconds that its import takes
    assert facts["sdk_version"].split(".")[0] == installed.split(".")[0]


def test_the_readme_keeps_its_order():
    assert tuple(re.findall(r"^## (.*)$", README, re.M)) == HEADINGS


@pytest.mark.parametrize("document", ["README.md", "fakedet/README.md", "train/README.md"])
def test_a_readme_stays_short(document):
    assert len((ROOT / document).read_text(encoding="utf-8").splitlines()) <= 150


def test_the_ci_finds_the_test_command():
    first = next(line for line in README.splitlines() if "python -m pytest" in line)
    assert first == "    pip install -r requirements.txt -r tests/requirements.txt && python -m pytest"
