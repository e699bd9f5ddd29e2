"""Training as its users start it: `accelerate launch` as a process, on tiny images and a tiny timm network."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fakedet.network.configuration import FakeDetConfig
from train.data.augment import PRESETS, augment
from train.data.loading import Source
from train.data.mix import make_mix
from train.data.sampling import BalancedTrainDataset, sample_weights
from train.learning.build import build_model, trainable_layers
from train.learning.options import parse

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "train" / "configs").glob("*.yaml"))


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


def test_two_processes_train_the_same_model_as_one(data, tmp_path):
    # Nothing random may depend on the process: with frozen BatchNorm and no dropout only summation order is left.
    still = [*TINY, "--train_dir", data, "--freeze_bn", "--dropout", "0"]
    one = launch(*still, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", 16)
    two = launch(*still, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", 8, processes=2)
    assert "1 process(es)" in one and "2 process(es)" in two
    first, second = (last_weights(tmp_path / name) for name in ("one", "two"))
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


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


def test_it_learns_and_logs(data, tmp_path):
    # The one thing a practitioner looks at: validation AUC goes up, images/s and losses are in the log and tracker.
    launch(*TINY, "--train_dir", data, "--output_dir", tmp_path, "--finetune_epochs", 12, "--finetune_lr", "3e-3",
           "--augment", "flip", "--per_device_train_batch_size", 8, "--with_tracking")  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "train_log.jsonl").read_text().splitlines()]
    assert max(row["auc"] for row in rows if "auc" in row) > 0.95
    assert all(row["images_per_s"] > 0 for row in rows if "images_per_s" in row)
    assert list(tmp_path.rglob("events.out.tfevents*"))
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= {p.name for p in tmp_path.iterdir()}


def test_flags_win_over_the_config_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: [{path: somewhere}]\nfinetune_lr: 0.5\nseed: 3\n")
    args = parse(["--config", str(path), "--finetune_lr", "0.25"])
    assert (args.finetune_lr, args.seed, args.data) == (0.25, 3, [{"path": "somewhere"}])


@pytest.mark.parametrize("text", ["data: [{path: a}]\nlearning_rat: 1\n", "seed: 1\n"])
def test_a_config_that_cannot_run_is_refused_in_one_sentence(text, tmp_path, capsys):
    # A misspelt key that is silently ignored costs a night of training.
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(SystemExit) as stop:
        parse(["--config", str(path)])
    assert stop.value.code == 2
    assert "unknown keys learning_rat" in (err := capsys.readouterr().err) or "say what to train on" in err


def test_missing_weights_are_told_plainly(data, tmp_path):
    output = launch(*TINY, "--train_dir", data, "--output_dir", tmp_path, "--backbone_weights", "nowhere.st", ok=False)
    assert "no file nowhere.st for --backbone_weights" in output


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_builds_its_network(path):
    # ResNet-50 and MobileNetV2 as well as EfficientNet-B0: pixels in, one logit and one map out.
    model = build_model(parse(["--config", str(path), "--no_pretrained"])).eval()
    out = model(torch.zeros(2, 3, 64, 64))
    assert out.logit.shape == (2,) and out.cam.shape == (2, 2, 2) and out.logits.shape == (2, 2)


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


def test_a_draw_depends_on_seed_epoch_and_place_alone(data):
    # This is what makes resume and several processes exact.
    train = datasets.load_from_disk(str(data))["train"].cast_column("image", datasets.Image(decode=False))
    config = build_model(parse(["--train_dir", "x", *TINY])).config
    first, second = (
        BalancedTrainDataset([(Source("x", augment="degrade"), train)], config, 40, seed=5) for _ in range(2)
    )
    assert torch.equal(first[17][0], second[17][0])
    second.plan_epoch(1)
    assert not torch.equal(first[17][0], second[17][0])


def test_the_loader_draws_the_epoch_that_was_planned(data):
    # accelerate resets a data set's `set_epoch` to 0 for each new loader: once, that made every epoch the same draws.
    from accelerate import Accelerator

    train = datasets.load_from_disk(str(data))["train"].cast_column("image", datasets.Image(decode=False))
    config = build_model(parse(["--train_dir", "x", *TINY])).config
    draws = BalancedTrainDataset([(Source("x"), train)], config, 16, seed=5)
    draws.plan_epoch(3)
    expected = torch.stack([draws[index][0] for index in range(16)])
    pixels, _ = next(iter(Accelerator(cpu=True).prepare(torch.utils.data.DataLoader(draws, 16))))
    assert torch.equal(pixels, expected)


def test_balanced_draws_give_classes_and_small_sources_their_share():
    rows = {"label": [0] * 90 + [1] * 10, "source": ["big"] * 80 + ["small"] * 10 + ["fakes"] * 10}
    weights = sample_weights(datasets.Dataset.from_dict(rows), ["source"], max_weight=4.0)
    assert weights[:90].sum() == pytest.approx(0.5) and weights[80:90].mean() > 2 * weights[:80].mean()


def test_an_unreadable_image_is_skipped_by_name_and_many_stop_the_run(data, caplog):
    train = datasets.load_from_disk(str(data))["train"].cast_column("image", datasets.Image(decode=False))
    rows = train.to_list()
    rows[3]["image"] = {"bytes": b"not an image", "path": "broken.png"}
    config = build_model(parse(["--train_dir", "x", *TINY])).config
    broken = datasets.Dataset.from_list(rows, features=train.features)
    draws = BalancedTrainDataset([(Source("x"), broken)], config, 64, seed=5)
    at = [index for index in range(64) if draws.plan[index][1] == 3]
    assert draws[at[0]][0].shape == (3, 32, 32) and "broken.png" in caplog.text
    with pytest.raises(RuntimeError, match="over 1 % of the images"):
        [draws[at[0]] for _ in range(3)]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_augmentation_gives_an_rgb_image(preset):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    for seed in range(30):
        made = augment(image, np.random.default_rng(seed), PRESETS[preset])
        assert made.mode == "RGB" and min(made.size) >= 16


def test_a_mixed_image_has_the_label_of_its_parts():
    pixels, labels = torch.arange(8.0)[:, None, None, None].repeat(1, 3, 16, 16), torch.tensor([0, 1] * 4)
    np.random.seed(0)
    args = SimpleNamespace(cutmix=1.0, mixup=0.0)
    mixed, targets = make_mix(args)(pixels.clone(), labels)
    other = 7 - torch.arange(8)
    share = (mixed[:, 0] == pixels[other, 0]).float().mean((1, 2))  # of each image's pixels that come from its partner
    torch.testing.assert_close(targets, labels * (1 - share) + labels[other] * share)
    assert (share > 0).any() and (share < 1).all()
    for off in (SimpleNamespace(cutmix=0.0, mixup=0.0), args):
        same, plain = make_mix(off)(pixels[:7].clone(), labels[:7])  # an odd number cannot be paired
        assert torch.equal(same, pixels[:7]) and torch.equal(plain, labels[:7].float())


def test_both_classes_are_drawn_equally_inside_each_collection_and_the_rest_less_often():
    # Where one collection holds portraits that are all fake, portraits must not come to mean fake.
    import datasets

    counts = {("a", 0): 30, ("a", 1): 10, ("b", 0): 5, ("b", 1): 20, ("faces", 1): 40, ("rooms", 0): 15}
    rows = [(source, label) for (source, label), count in counts.items() for _ in range(count)]
    table = datasets.Dataset.from_dict({"source": [r[0] for r in rows], "label": [r[1] for r in rows]})
    weights = sample_weights(table, [], 4.0, match="source", unmatched=0.5)
    drawn = {key: sum(w for w, row in zip(weights, rows, strict=True) if row == key) for key in counts}
    for source in ("a", "b"):
        assert drawn[source, 0] == pytest.approx(drawn[source, 1])
    assert drawn["faces", 1] == pytest.approx(drawn["rooms", 0])
    plain = sample_weights(table, [], 4.0)
    share = sum(w for w, row in zip(plain, rows, strict=True) if row[0] in ("faces", "rooms"))
    assert drawn["faces", 1] + drawn["rooms", 0] < 0.7 * share


def test_icons_and_photographs_are_trained_in_views_of_their_own_side():
    import datasets
    from torch.utils.data import DataLoader

    from fakedet.network.configuration import FakeDetConfig

    def images(side: int) -> datasets.Dataset:
        rng = np.random.default_rng(side)
        rows = [{"image": Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)), "label": i % 2}
                for i in range(20)]  # fmt: skip
        made = datasets.Dataset.from_list(
            rows, features=datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
        )
        return made.cast_column("image", datasets.Image(decode=False))

    parts = [(Source("photos", share=0.7), images(100)), (Source("icons", share=0.3, size=32), images(24))]
    draws = BalancedTrainDataset(parts, FakeDetConfig(input_size=64), 50, seed=1, batch=8)
    sides = [pixels.shape[-1] for pixels, _ in DataLoader(draws, batch_size=8)]  # a mixed batch could not be stacked
    assert len(sides) == 7 and sides.count(32) == 1


def test_training_sees_what_scoring_sees():
    # A large photograph is scored as a whole and made smaller: a network continued on it must not learn a corner.
    ramp = np.linspace(0, 255, 900).astype(np.uint8)[None, :, None].repeat(600, 0).repeat(3, 2)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    rows = datasets.Dataset.from_list([{"image": {"bytes": buffer.getvalue(), "path": None}, "label": 0}] * 2)

    def spread(**settings) -> list[float]:
        config = FakeDetConfig(input_size=64, image_mean=(0,) * 3, image_std=(1,) * 3, **settings)
        draws = BalancedTrainDataset([(Source("made", augment="none"), rows)], config, 24, 0)
        return [float(draws[index][0].max() - draws[index][0].min()) for index in range(24)]

    assert max(spread()) < 0.1  # 64 of 900 native pixels
    found = spread(whole_views=3, crop_scale=2.0)
    assert min(found) > 0.3 and 6 <= sum(value > 0.6 for value in found) <= 18  # two thirds of the width, half as often


def test_a_teacher_is_learned_from_beside_the_labels(data, tmp_path):
    # Its numbers must be predicted better from epoch to epoch, mixed images included, and leave no layer in the model.
    teacher = tmp_path / "teacher.onnx"
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten(), torch.nn.Linear(3 * 4, 8))
    torch.onnx.export(network.eval(), (torch.zeros(2, 3, 32, 32),), str(teacher), dynamic_axes={"pixels": {0: "n"}},
                      input_names=["pixels"], dynamo=False)  # fmt: skip
    script = [sys.executable, "train/distill_features.py", "--data", data, "--teacher", teacher, "--dims", 6]
    done = subprocess.run([*map(str, script), "--output_dir", str(tmp_path / "taught")], cwd=ROOT, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0 and "64 images with 6 numbers each" in done.stdout, done.stderr[-2000:]
    taught = datasets.load_from_disk(str(tmp_path / "taught"))
    said = np.array(taught["train"]["teacher"])
    assert said.shape == (64, 6) and abs(said.std() - 1) < 1e-3 and "teacher" not in taught["validation"].column_names
    run = [*TINY, "--augment", "flip", "--per_device_train_batch_size", 16, "--finetune_epochs", 8, "--cutmix", "0.25"]
    launch(
        *run,
        "--train_dir",
        tmp_path / "taught",
        "--distill",
        4,
        "--finetune_lr",
        "3e-3",
        "--output_dir",
        tmp_path / "m",
    )
    rows = [json.loads(line) for line in (tmp_path / "m" / "train_log.jsonl").read_text().splitlines()]
    losses = [row["train_loss"] for row in rows if "train_loss" in row][1:]  # the head's phase is not taught
    assert losses[-1] < losses[0] - 0.5
    assert not [key for key in load_file(tmp_path / "m" / "model.safetensors") if "pupil" in key]
    # without the cache the head's phase is given what the teacher says, too, and must leave it alone
    launch(*run, "--train_dir", tmp_path / "taught", "--distill", 4, "--no-cache_features", "--finetune_epochs", 1,
           "--output_dir", tmp_path / "o")  # fmt: skip
    refused = launch(*run, "--train_dir", data, "--distill", 1, "--output_dir", tmp_path / "n", ok=False)
    assert "--distill needs a column 'teacher'" in refused
