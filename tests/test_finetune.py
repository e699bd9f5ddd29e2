"""Training as its users start it: `accelerate launch` as a process, on tiny images and a tiny timm network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from train.finetune import training_function
from train.learning import loop
from train.learning.build import build_model, synchronise_batch_norm, trainable_layers
from train.learning.options import parse

ROOT = Path(__file__).resolve().parents[1]


def make_data(folder: Path, train: int = 64, validation: int = 16) -> Path:
    """A prepared data set whose fakes carry stripes: learnable in a few steps."""
    rng = np.random.default_rng(7)

    def rows(count):
        for index in range(count):
            pixels = rng.integers(90, 160, (40, 40, 3))
            pixels[:, ::2] += 90 * (index % 2)
            yield {"image": Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "label": index % 2, "source": "made"}

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["real", "fake"]),
            "source": datasets.Value("string"),
        }
    )
    splits = {"train": train, "validation": validation}
    datasets.DatasetDict(
        {name: datasets.Dataset.from_list(list(rows(count)), features=features) for name, count in splits.items()}
    ).save_to_disk(str(folder))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "made")


def launch(*flags, processes: int = 1, ok: bool = True) -> str:
    """Runs finetune.py under accelerate on the CPU; returns what it printed."""
    # `--cpu --num_processes 2` would silently run one process; this is the way to get two without a GPU
    shape = ["--num_processes", str(processes), *(["--multi_gpu"] if processes > 1 else [])]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *shape, "--mixed_precision", "no", "--num_machines", "1",
         "--dynamo_backend", "no", "train/finetune.py", *map(str, flags)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, output[-4000:]
    return output


def last_weights(output: Path) -> dict[str, torch.Tensor]:
    """The weights at the very end of a run, from its last checkpoint."""
    return load_file(next((output / "checkpoints").iterdir()) / "model.safetensors")


TINY = ["--backbone", "test_efficientnet", "--no_pretrained", "--input_size", "32", "--num_workers", "0",
        "--head_epochs", "1", "--finetune_epochs", "2"]  # fmt: skip


def log_rows(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "train_log.jsonl").read_text().splitlines()]


@pytest.mark.integration
@pytest.mark.integration
def test_two_processes_train_the_same_model_as_one(data, tmp_path):
    # Nothing random may depend on the process: with frozen BatchNorm and no dropout only summation order is left. Of
    # three batches of gradients two are not exchanged, the fourth batch is the odd rest of the epoch.
    still = [*TINY, "--train_dir", data, "--freeze_bn", "--dropout", "0", "--gradient_accumulation_steps", 3]
    one = launch(*still, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", 16)
    two = launch(*still, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", 8, processes=2)
    assert "1 process(es)" in one and "2 process(es)" in two
    rates = [[(row["step"], row["lr"]) for row in log_rows(tmp_path / name) if "lr" in row] for name in ("one", "two")]
    assert rates[0] == rates[1], "a prepared scheduler steps once, not once per process"
    first, second = (last_weights(tmp_path / name) for name in ("one", "two"))
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.integration
@pytest.mark.integration
def test_a_resumed_run_ends_bit_for_bit_where_a_straight_one_does(data, tmp_path):
    # Dropout, BatchNorm, augmentation, averaged weights and optimizer all have to continue exactly.
    run = [*TINY, "--train_dir", data, "--augment", "degrade", "--ema_decay", "0.9", "--checkpointing_steps", 3,
           "--per_device_train_batch_size", 16]  # fmt: skip
    launch(*run, "--output_dir", tmp_path / "straight")
    launch(*run, "--output_dir", tmp_path / "cut", "--stop_after_steps", 6)  # in the middle of the second phase
    output = launch(*run, "--output_dir", tmp_path / "cut", "--resume_from_checkpoint", "latest")
    assert "resumed step_0000006" in output
    straight, cut = last_weights(tmp_path / "straight"), last_weights(tmp_path / "cut")
    assert all(torch.equal(value, cut[key]) for key, value in straight.items())
    best = [load_file(tmp_path / name / "model.safetensors") for name in ("straight", "cut")]
    assert all(torch.equal(value, best[1][key]) for key, value in best[0].items())


@pytest.mark.integration
@pytest.mark.integration
def test_it_learns_and_logs(data, tmp_path):
    # The one thing a practitioner looks at: validation AUC goes up, images/s and losses are in the log and tracker.
    launch(*TINY, "--train_dir", data, "--output_dir", tmp_path, "--finetune_epochs", 12, "--finetune_lr", "3e-3",
           "--augment", "flip", "--per_device_train_batch_size", 8, "--with_tracking")  # fmt: skip
    rows = log_rows(tmp_path)
    assert max(row["auc"] for row in rows if "auc" in row) > 0.95
    assert all(row["images_per_s"] > 0 for row in rows if "images_per_s" in row)
    assert list(tmp_path.rglob("events.out.tfevents*"))
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.integration
@pytest.mark.integration
def test_missing_weights_end_in_one_sentence(data, tmp_path):
    output = launch(*TINY, "--train_dir", data, "--output_dir", tmp_path, "--backbone_weights", "nowhere.st", ok=False)
    assert "no file nowhere.st for --backbone_weights" in output


def test_freezing_leaves_exactly_the_asked_layers_to_learn():
    model = build_model(parse(["--train_dir", "x", "--no_pretrained"]))
    trainable_layers(model, 0)
    assert not any(p.requires_grad for p in model.backbone.parameters()) and model.fc1.weight.requires_grad
    trainable_layers(model, 30)
    learning = [name for name, p in model.backbone.named_parameters() if p.requires_grad]
    assert any(name.startswith("bn2") for name in learning) and not any(
        name.startswith("blocks.0") for name in learning
    )
    assert trainable_layers(model, "all") == []


@pytest.mark.integration
@pytest.mark.integration
def test_features_of_a_teacher_are_distilled(data, tmp_path):
    # Their error must fall from epoch to epoch, mixed images included; the auxiliary layer is not in the saved model.
    teacher = tmp_path / "teacher.onnx"
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten(), torch.nn.Linear(3 * 4, 8))
    torch.onnx.export(network.eval(), (torch.zeros(2, 3, 32, 32),), str(teacher), dynamic_axes={"pixels": {0: "n"}},
                      input_names=["pixels"], dynamo=False)  # fmt: skip
    script = [sys.executable, "train/distill_features.py", "--data", data, "--teacher", teacher, "--dims", 6]
    script = [*map(str, script), "--output_dir", str(tmp_path / "distilled")]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "64 images with 6 numbers each" in done.stdout, done.stderr[-2000:]
    distilled = datasets.load_from_disk(str(tmp_path / "distilled"))
    targets = np.array(distilled["train"]["teacher"])
    assert targets.shape == (64, 6) and abs(targets.std() - 1) < 1e-3
    assert "teacher" not in distilled["validation"].column_names
    run = [*TINY, "--augment", "flip", "--per_device_train_batch_size", 16, "--finetune_epochs", 8, "--cutmix", "0.25"]
    launch(
        *run,
        "--train_dir",
        tmp_path / "distilled",
        "--distill",
        4,
        "--finetune_lr",
        "3e-3",
        "--output_dir",
        tmp_path / "m",
    )
    rows = log_rows(tmp_path / "m")
    losses = [row["train_loss"] for row in rows if "train_loss" in row][1:]  # without the head's phase
    assert losses[-1] < losses[0] - 0.5
    assert not [key for key in load_file(tmp_path / "m" / "model.safetensors") if "distill_head" in key]
    # without the cache the head's phase gets the targets, too, and has to ignore them
    launch(*run, "--train_dir", tmp_path / "distilled", "--distill", 4, "--no-cache_features", "--finetune_epochs", 1,
           "--output_dir", tmp_path / "o")  # fmt: skip
    refused = launch(*run, "--train_dir", data, "--distill", 1, "--output_dir", tmp_path / "n", ok=False)
    assert "--distill needs a column 'teacher'" in refused


# --- in this process: what needs no launcher -------------------------------------------------------------------------


@pytest.fixture
def train(data, tmp_path, monkeypatch):
    """A function (name of the output folder, flags) -> rows of the log."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def run(name: str, *flags) -> list[dict]:
        output = tmp_path / name
        training_function(parse([*TINY, "--train_dir", str(data), "--output_dir", str(output), *map(str, flags)]))
        return log_rows(output)

    return run


@pytest.mark.parametrize("cache", ["--cache_features", "--no-cache_features"])
def test_the_odd_batches_at_the_end_of_an_epoch_make_a_step(cache, train):
    # 4 batches, 3 a step: left over, the gradients of the fourth leaked into the next epoch.
    rows = train("out", cache, "--head_epochs", 2, "--finetune_epochs", 0, "--per_device_train_batch_size", 16,
                 "--gradient_accumulation_steps", 3)  # fmt: skip
    assert [row["step"] for row in rows if "lr" in row] == [2, 4]


def test_the_logged_loss_is_the_mean_over_all_batches(train, monkeypatch):
    losses = iter([1.0, 2.0, 3.0, 6.0])
    monkeypatch.setattr(loop, "training_loss", lambda outputs, labels, distill: 0 * outputs.sum() + next(losses))
    rows = train("out", "--head_epochs", 0, "--finetune_epochs", 1, "--per_device_train_batch_size", 16)
    assert [row["train_loss"] for row in rows if "train_loss" in row] == [3.0]


def test_the_learning_rate_warms_up_and_falls_to_zero(train, monkeypatch):
    rates, step = [], loop.step

    def noted(state, phase):
        done = step(state, phase)
        rates.append(state.progress.lr)
        return done

    monkeypatch.setattr(loop, "step", noted)
    train("out", "--head_epochs", 0, "--finetune_epochs", 2, "--per_device_train_batch_size", 16, "--finetune_lr", 1,
          "--warmup_ratio", 0.25)  # fmt: skip
    cosine = [0.5 * (1 + np.cos(np.pi * step / 6)) for step in range(6)]
    assert rates == pytest.approx([0.5, 1.0, *cosine])


@pytest.mark.integration
def test_a_resumed_run_with_a_plateau_scheduler_ends_where_a_straight_one_does(train, tmp_path):
    flags = ["--scheduler", "plateau", "--metric", "accuracy", "--finetune_lr", 1e-5, "--head_epochs", 0,
             "--finetune_epochs", 4, "--per_device_train_batch_size", 32]  # fmt: skip
    straight = train("straight", *flags)
    assert len({row["lr"] for row in straight if row.get("phase") == "finetune"}) > 1, "no plateau: nothing is tested"
    train("cut", *flags, "--stop_after_steps", 5)
    resumed = train("cut", *flags, "--resume_from_checkpoint", "latest")
    assert resumed[-1]["lr"] == straight[-1]["lr"]
    first, second = (last_weights(tmp_path / name) for name in ("straight", "cut"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_batch_norm_over_all_gpus_keeps_the_activations():
    # torch's own conversion drops those inside timm's BatchNorm layers.
    model = build_model(parse(["--train_dir", "x", *TINY])).eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        before = model.pooled(pixels)[1]
        assert torch.equal(synchronise_batch_norm(model).pooled(pixels)[1], before)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in model.modules())
