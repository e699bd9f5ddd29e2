"""`python train/speed.py`: what it compares, and that its figures are those of real trainings."""

import re
from pathlib import Path

import pytest
import torch

from train import speed

ROOT = Path(__file__).resolve().parents[1]


def test_each_row_differs_from_the_others_in_one_thing(monkeypatch):
    monkeypatch.setattr(speed, "find_library", lambda name: f"lib{name}.so.2")
    monkeypatch.setattr(speed.os, "cpu_count", lambda: 2)
    rows = {row.name: row for row in speed.variants()}
    assert not any((rows["one process, all cores"].flags, rows["one process, all cores"].env))
    assert (
        rows["two processes, jemalloc"].two and rows["two processes, jemalloc"].env["LD_PRELOAD"] == "libjemalloc.so.2"
    )
    monkeypatch.setattr(speed, "find_library", lambda name: None)  # not installed: no row that claims to have it
    assert not [row for row in speed.variants() if "jemalloc" in row.name or row.env]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [row.name for row in speed.variants()][:3] == ["one GPU, fp32", "one GPU, bf16", "one GPU, fp16"]


@pytest.mark.integration
def test_a_training_that_cannot_run_ends_in_one_line(tmp_path, capsys):
    assert speed.main(["--data", str(tmp_path / "nowhere")]) == 2
    message = capsys.readouterr().err.strip()
    assert "nowhere" in message and "\n" not in message and "Traceback" not in message


@pytest.mark.integration
@pytest.mark.slow  # minutes: a training for each row
def test_the_command_prints_images_a_second_of_every_row(tmp_path, capsys):
    from test_finetune import make_data

    data = make_data(tmp_path / "made")
    assert speed.main(["--data", str(data), "--input_size", "64", "--samples", "64", "--batch", "16"]) == 0
    printed = capsys.readouterr().out.splitlines()[2:]
    assert len(printed) == len(speed.variants())
    assert all(re.fullmatch(r"\| [^|]+ \| ([\d.]+ once, then )?[\d,.]+ \|", line) for line in printed), printed
