"""Answering imports none of the packages for training, and says which extra to install where one is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from packaging.requirements import Requirement

GOLDEN = json.loads((ROOT / "tests" / "golden.json").read_text())
PHOTO = ROOT / "examples" / "images" / "photo_flower.jpg"
HEAVY = ("torch", "torchvision", "timm", "transformers", "datasets", "accelerate", "evaluate", "sklearn", "matplotlib",
         "pandas")  # fmt: skip
# gradio imports pandas itself; pyarrow does where it is installed
BY_OTHERS = {"app": {"pandas"}, "scan": {"pandas"}}
WITHOUT_TORCH = "import sys; sys.modules.update(dict.fromkeys(('torch', 'timm', 'transformers', 'datasets')));"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def heavy_imports(importtime: str) -> set[str]:
    """Top-level names of the packages for training in the output of `python -X importtime`."""
    return {line.split("|")[-1].strip().split(".")[0] for line in importtime.splitlines() if "|" in line} & set(HEAVY)


@pytest.mark.integration
@pytest.mark.parametrize(
    "command",
    [("predict", str(PHOTO), "--stability"), ("predict", str(PHOTO), "--report", os.devnull), ("info",),
     ("predict", str(PHOTO), "--json")],
)  # fmt: skip
def test_the_command_line_imports_no_package_for_training(command):
    done = python("-X", "importtime", "-m", "fakedet", *command)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "onnxruntime" in done.stderr or command == ("info",)
    assert heavy_imports(done.stderr) == set()
    assert not re.search(r"\b(gradio|fastapi|starlette)\b", done.stderr)


@pytest.mark.integration
def test_a_scan_imports_no_package_for_training(tmp_path):
    code = (
        "import sys; from fakedet.__main__ import main\n"
        f"assert main(['scan', {str(PHOTO.parent)!r}, '--output', {str(tmp_path / 'a.jsonl')!r}]) == 0\n"
        "print('MODULES', *sys.modules)"
    )
    assert heavy_modules(python("-c", code)) <= BY_OTHERS["scan"]


def heavy_modules(done: subprocess.CompletedProcess) -> set[str]:
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split("MODULES ")[1].split()) & set(HEAVY)


@pytest.mark.integration
@pytest.mark.parametrize("module", ["fakedet.scan.worker", "fakedet.sandbox.worker"])
def test_a_decoding_worker_imports_no_package_for_training(module):
    assert heavy_modules(python("-c", f"import sys, {module}; print('MODULES', *sys.modules)")) == set()


@pytest.mark.integration
def test_starting_the_app_and_answering_imports_no_package_for_training():
    code = (
        "import os, sys, app; from fastapi.testclient import TestClient\n"
        f"answer = TestClient(app.build_app()).post('/predict', files={{'image': open({str(PHOTO)!r}, 'rb')}}).json()\n"
        f"assert abs(answer['p_fake'] - {GOLDEN[PHOTO.name]['p_fake']}) < 1e-3, answer\n"
        "print('MODULES', *sys.modules, flush=True); os._exit(0)"
    )
    assert heavy_modules(python("-c", code)) <= BY_OTHERS["app"]


@pytest.mark.integration
def test_without_torch_the_scores_are_golden():
    code = (
        f"{WITHOUT_TORCH} from fakedet import Detector; detector = Detector.from_pretrained(); import json, pathlib\n"
        f"paths = sorted(pathlib.Path({str(PHOTO.parent)!r}).iterdir())\n"
        "print(json.dumps({path.name: detector.predict(path).p_fake for path in paths}))"
    )
    done = python("-c", code)
    scores = json.loads(done.stdout)
    assert scores == pytest.approx({name: GOLDEN[name]["p_fake"] for name in scores}, abs=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("graph.unlink()", "needs torch, which is not installed: pip install 'fakedet[torch]'"),
        ("graph.write_bytes(b'no graph')", "needs torch, which is not installed: pip install 'fakedet[torch]'"),
        ("graph.write_bytes(b'no graph ' + sha)", "needs torch, which is not installed: pip install 'fakedet[torch]'"),
        ("weights.unlink()", "the checkpoint has no model.safetensors"),
        ("weights.write_bytes(weights.read_bytes()[:5000])", "model.safetensors is corrupt"),
        ("config.write_text(config.read_text().replace('256', '128'))", "does not fit"),
    ],
    ids=["no graph", "corrupt graph", "corrupt graph that names the weights", "no weights", "corrupt weights",
         "other settings"],
)  # fmt: skip
def test_without_torch_a_checkpoint_that_cannot_be_used_is_one_sentence(spoil, message, tmp_path):
    code = f"""{WITHOUT_TORCH}
import hashlib, pathlib, shutil
from fakedet import Detector
from fakedet.hub import BUNDLED, ModelError
folder = pathlib.Path(shutil.copytree(BUNDLED, {str(tmp_path / "m")!r}))
graph, weights, config = (folder / name for name in ("model.onnx", "model.safetensors", "config.json"))
sha = hashlib.sha256(weights.read_bytes()).hexdigest().encode()
{spoil}
try:
    Detector.from_pretrained(folder)
except ModelError as error:
    print(error)
"""
    done = python("-c", code, FAKEDET_CACHE=str(tmp_path / "cache"))
    assert message in done.stdout, done.stderr[-2000:]
    assert done.stdout.count("\n") == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["predict", str(PHOTO), "--runtime", "torch"], "fakedet[torch]"),
        (["bench"], "fakedet[torch]"),
        (["scan", "someone/pictures", "--output", "a.csv"], "fakedet[train]"),
    ],
)
def test_a_command_that_needs_more_names_the_extra(command, message):
    done = python("-c", f"{WITHOUT_TORCH} from fakedet.__main__ import main; sys.exit(main({command!r}))")
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.integration
@pytest.mark.parametrize("first", ["import fakedet; from transformers import pipeline",
                                   "from transformers import pipeline; import fakedet",
                                   # looked for first, and imported later
                                   "import fakedet; from importlib.util import find_spec; import transformers.models;"
                                   "find_spec('transformers.models.auto.configuration_auto');"
                                   "from transformers import pipeline"])  # fmt: skip
def test_the_pipeline_knows_the_model_in_either_order_of_imports(first):
    code = f"{first}; print(pipeline('image-classification', model='fakedet/pretrained')({str(PHOTO)!r}))"
    done = python("-c", code)
    score = float(re.search(r"'fake', 'score': ([\d.]+)", done.stdout)[1])
    assert score == pytest.approx(GOLDEN[PHOTO.name]["p_fake"], abs=1e-3)


def test_stored_bfloat16_is_widened_exactly():
    import torch
    from safetensors.torch import save

    from fakedet.hub import weights

    values = torch.linspace(-3, 3, 17).to(torch.bfloat16)
    np.testing.assert_array_equal(weights.Tensors(save({"a": values}))["a"], values.float().numpy())


def specifiers(lines: list[str]) -> set[str]:
    requirements = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    return {str(requirement) for requirement in requirements if requirement.name != PROJECT["name"]}


def test_requirements_txt_holds_the_base_and_its_extras():
    extras = PROJECT["optional-dependencies"]
    packages = PROJECT["dependencies"] + [line for name in ("app", "scan", "torch", "train") for line in extras[name]]
    assert specifiers(packages) == specifiers((ROOT / "requirements.txt").read_text().splitlines())


def test_the_extra_dev_is_what_the_tests_need():
    listed = specifiers((ROOT / "tests" / "requirements.txt").read_text().splitlines())
    assert specifiers(PROJECT["optional-dependencies"]["dev"]) == listed


@pytest.mark.integration
@pytest.mark.slow  # installs the base dependencies in an empty environment
def test_an_installed_package_answers_in_an_empty_environment(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    source = tmp_path / "source"
    shutil.copytree(ROOT / "fakedet", source / "fakedet")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([programs / "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source], check=True)
    wheel = next(tmp_path.glob("fakedet-*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    data = ("pretrained/model.safetensors", "pretrained/model.onnx", "pretrained/model_tiny.onnx", "web/page.css",
            "pretrained/config.json", "web/page.js", "web/templates/programs.md",
            "web/templates/report_head.html", "py.typed")  # fmt: skip
    assert {f"fakedet/{name}" for name in data} <= names
    subprocess.run([programs / "pip", "install", "-q", wheel], check=True)
    done = subprocess.run(
        [programs / "fakedet", "predict", PHOTO, "--json"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["p_fake"] == pytest.approx(GOLDEN[PHOTO.name]["p_fake"], abs=1e-3)
    assert not list(Path(programs.parent).glob("lib/python*/site-packages/torch"))
