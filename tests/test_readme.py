"""What the README promises, run as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def commands(heading: str) -> list[str]:
    """The indented command lines of the first block under a heading."""
    block = README.split(f"## {heading}", 1)[1].split("\n## ")[0]
    return re.findall(r"^    (\S.*)$", block, flags=re.M)


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
    three = commands("Training in three commands")
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
    assert "clean" in json.dumps(report)
    pictures = {path.name for path in (tmp_path / "reports/mine").glob("*.png")}
    assert len(pictures) >= 5 and (tmp_path / "reports/mine/report.md").is_file()


def test_the_front_matter_is_what_a_space_needs():
    facts = yaml.safe_load(README.split("---")[1])
    assert facts["sdk"] == "gradio" and facts["app_file"] == "app.py" and facts["license"] == "mit"
    assert float(facts["python_version"].split(".")[1]) >= 11 and len(facts["short_description"]) <= 60
    import gradio

    assert facts["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_link_in_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_nothing_but_requirements_is_imported_by_the_package():
    # Every dependency is listed once, with what it is for; nothing else is needed to import the detector.
    names = re.findall(r"^([a-z_0-9-]+)", (ROOT / "requirements.txt").read_text(), flags=re.M)
    assert len(names) == len(set(names))
    assert all("#" in line for line in (ROOT / "requirements.txt").read_text().splitlines()[1:])
