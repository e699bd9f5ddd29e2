"""`python -m fakedet bench`: it compares what it names, and runs. The speeds themselves are not tested."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fakedet import FakeDetConfig, FakeDetForImageClassification
from fakedet.bench.baselines import HookedGradCam
from fakedet.bench.network import PlainNetwork
from fakedet.bench.run import as_table
from fakedet.bench.timing import time_interleaved, timing_rows

ROOT = Path(__file__).resolve().parents[1]


def test_the_baseline_with_hooks_computes_the_same_map():
    # Otherwise the baseline would do less work, or more.
    torch.manual_seed(0)
    model = FakeDetForImageClassification(FakeDetConfig(backbone="test_efficientnet", input_size=64)).eval()
    pixels = torch.randn(1, 3, 96, 96)
    score, cam = HookedGradCam(PlainNetwork(model), model.backbone).grad_cam(pixels)
    with torch.no_grad():
        logit, signed = model.score(pixels)[:2]
    positive = signed[0].clamp(min=0)
    assert score == pytest.approx(torch.sigmoid(logit[0]).item(), abs=1e-5)
    np.testing.assert_allclose(cam, (positive / (positive.max() + 1e-8)).numpy(), atol=1e-3)


def test_every_turn_runs_everything():
    calls = []
    timings = time_interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0, min_turns=4)
    assert "".join(calls) == "ab" * 5
    assert len(timings["a"]) == len(timings["b"]) == 4


def test_ratios_are_taken_within_a_turn_and_stand_in_the_table():
    rows = timing_rows("part", {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 4.0, 20.0]}, "ours")
    assert rows[1]["times_ours"] == [2, 3, 5]
    assert rows[1]["ms"] == 4
    table = as_table({"machine": {"threads": 2}, "rows": rows})
    assert "| part | theirs | 4.00 | 2 / **3** / 5 |" in table.splitlines()


@pytest.mark.integration
@pytest.mark.slow  # minutes: runs a ViT and a Swin on every image size
def test_the_command_prints_a_table_and_writes_json(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fakedet", "bench", "--quick", "--json", tmp_path / "b.json"],
        cwd=ROOT, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    parts = {row["part"].split(" ")[0] for row in rows}
    assert parts == {"network,", "file", "scan", "fresh"}
    assert "**" in done.stdout
