"""Kinds of picture are taught along with photographs and AI-generated pictures (finetune.py --kinds)."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from test_finetune import TINY, launch, log_rows, make_data

from train.data.kinds import kind_target
from train.learning.options import parse
from train.learning.validation import kinds_loss


def make_graphics(folder: Path, count: int) -> Path:
    """A split graphics_train as a catalogue has it: pages with black bars."""
    rng, folder = np.random.default_rng(3), Path(folder)
    rows = []
    for _ in range(count):
        page = np.full((40, 40, 3), 255, np.uint8)
        page[rng.integers(0, 40, 6), : rng.integers(10, 40)] = 0
        rows.append({"image": Image.fromarray(page), "label": 2, "content": "document", "source": "pages"})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64"),
                                  "content": datasets.Value("string"), "source": datasets.Value("string")})  # fmt: skip
    folder.mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(folder / "graphics_train.parquet"))
    return folder


@pytest.mark.integration
def test_graphics_are_trained_on_and_leave_nothing_in_the_model(tmp_path):
    photos = make_data(tmp_path / "made")
    plain = datasets.load_from_disk(str(photos))
    datasets.DatasetDict(
        {name: part.add_column("content", ["scene"] * len(part)) for name, part in plain.items()}
    ).save_to_disk(str(tmp_path / "photos"))
    config = tmp_path / "kinds.yaml"
    config.write_text(yaml.safe_dump({
        "data": [
            {"path": str(tmp_path / "photos"), "share": 0.7, "augment": "flip"},
            {"path": str(make_graphics(tmp_path / "graphics", 20)), "split": "graphics_train", "share": 0.3},
        ],
        "kinds": 1.0,
    }))  # fmt: skip
    output = launch("--config", config, *TINY, "--head_epochs", 0, "--finetune_epochs", 6, "--finetune_lr", "3e-3",
                    "--cutmix", "0.25", "--per_device_train_batch_size", 16,
                    "--output_dir", tmp_path / "out")  # fmt: skip
    assert "training images [64, 20], validation [16]" in output
    losses = [row["train_loss"] for row in log_rows(tmp_path / "out") if "train_loss" in row]
    assert losses[-1] < 0.7 * losses[0]
    assert not [key for key in load_file(tmp_path / "out" / "model.safetensors") if "kind" in key]


def test_a_graphic_counts_for_the_kinds_only():
    # Neither class is right for a chart: its score must not be pulled to one.
    photo, chart = kind_target({"label": 1, "content": "scene"}), kind_target({"label": 2, "content": "chart"})
    mixed = [0.6 * a + 0.4 * b for a, b in zip(photo, chart, strict=True)]
    labels = torch.tensor([photo, chart, mixed])
    outputs = torch.zeros(3, 4, requires_grad=True)
    kinds_loss(outputs, labels, 1.0).backward()
    assert outputs.grad[:, 0].ne(0).tolist() == [True, False, False]
    assert outputs.grad[:, 1:].ne(0).all()


def test_pictures_without_a_known_content_teach_no_kind():
    labels = torch.tensor([kind_target({"label": 0})])
    outputs = torch.randn(1, 4, requires_grad=True)
    kinds_loss(outputs, labels, 1.0).backward()
    assert outputs.grad[0, 0] != 0 and not outputs.grad[0, 1:].any()


@pytest.mark.parametrize("flags", [["--distill", "1", "--head_epochs", "0"], ["--head_epochs", "1"]])
def test_kinds_refuse_what_they_cannot_be_combined_with(flags, capsys):
    with pytest.raises(SystemExit):
        parse(["--train_dir", "x", "--kinds", "0.3", *flags])
    assert "--kinds cannot be combined with --distill" in capsys.readouterr().err
