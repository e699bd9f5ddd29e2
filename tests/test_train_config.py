"""Flags and YAML files of train/finetune.py: precedence, values that are refused by name, settings with --init_from."""

from pathlib import Path

import pytest
import torch

from fakedet.hub import save_checkpoint
from train.data.loading import Source
from train.learning.build import build_model
from train.learning.options import parse

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "train" / "configs").glob("*.yaml"))


def parse_yaml(tmp_path: Path, text: str, *flags: str):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return parse(["--config", str(path), *flags])


def refusal(tmp_path: Path, capsys, text: str) -> str:
    with pytest.raises(SystemExit) as stop:
        parse_yaml(tmp_path, text)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "Traceback" not in message
    return message


def test_flags_win_over_the_config_file(tmp_path):
    config = parse_yaml(tmp_path, "data: [{path: somewhere}]\nfinetune_lr: 0.5\nseed: 3\n", "--finetune_lr", "0.25")
    assert (config.finetune_lr, config.seed, config.data) == (0.25, 3, [Source("somewhere")])


def test_a_data_set_on_the_command_line_wins_over_those_of_the_file(tmp_path):
    config = parse_yaml(tmp_path, "data: [{path: a}]\naugment: flip\n", "--train_dir", "b", "c")
    assert config.data == [Source("b", augment="flip"), Source("c", augment="flip")]


def test_only_what_the_user_sets_counts_as_given(tmp_path):
    config = parse_yaml(tmp_path, "data: [{path: a}]\nseed: 42\nsizes: null\n", "--no-cache_features")
    assert config.given == {"seed", "cache_features"} and config.cache_features is False


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("finetune_lr: 1e-3", "finetune_lr", 1e-3),  # PyYAML reads it as text
        ("mixed_precision: no", "mixed_precision", "no"),  # ... and this as a boolean
        ("unfreeze: 30", "unfreeze", "30"),
        ("checkpointing_steps: 300", "checkpointing_steps", "300"),
        ("image_mean: [-1, 0.5, 2]", "image_mean", [-1.0, 0.5, 2.0]),
        ("freeze_bn: true", "freeze_bn", True),
        ("cache_features: false", "cache_features", False),
        ("output_dir: --odd", "output_dir", "--odd"),
    ],
)
def test_a_yaml_value_is_read_as_its_flag_reads_it(text, name, value, tmp_path):
    assert getattr(parse_yaml(tmp_path, f"data: [{{path: a}}]\n{text}\n"), name) == value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("scheduler: cosin", "scheduler"),  # trained at a constant rate
        ("metric: acc", "metric"),  # called every epoch the best
        ("finetune_lr: fast", "finetune_lr"),
        ("finetune_lr: .nan", "finetune_lr"),
        ("optimizer: sgd", "optimizer"),
        ("augment: degrad", "augment"),
        ("seed: true", "seed"),
        ("seed: 2.5", "seed"),
        ("seed: null", "seed"),
        ("streaming: 1", "streaming"),
        ("freeze_bn: maybe", "freeze_bn"),
        ("sizes: 64", "sizes"),
        ("sizes: [64, large]", "sizes"),
        ("train_dir: data/mine", "train_dir"),
        ("image_mean: [0.5]", "image_mean"),
        ("patience: -1", "patience"),
        ("gradient_accumulation_steps: 0", "gradient_accumulation_steps"),
        ("ema_decay: 1.5", "ema_decay"),
        ("cutmix: -0.1", "cutmix"),
        ("unfreeze: some", "unfreeze"),
        ("checkpointing_steps: 0", "checkpointing_steps"),
        ("learning_rat: 1", "unknown keys learning_rat"),  # ignored, a misspelt key costs a night of training
        ("help: true", "unknown keys help"),
    ],
)
def test_a_wrong_value_in_a_config_is_refused_by_name(text, name, tmp_path, capsys):
    assert name in refusal(tmp_path, capsys, f"data: [{{path: a}}]\n{text}\n")


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("{share: 1}", "data[0].path"),
        ("{path: a, shar: 1}", "data[0].shar"),
        ("{path: a, share: big}", "data[0].share"),
        ("{path: a, share: true}", "data[0].share"),
        ("{path: a, balance: source}", "data[0].balance"),
        ("{path: a, only: {source: x}}", "data[0].only.source"),
        ("{path: a, augment: degrad}", "data[0].augment"),
        ("{path: a, augment: {jpg: 0.2}}", "data[0].augment.jpg"),
        ("{path: a, augment: {jpeg: 2}}", "data[0].augment.jpeg"),
        ("{path: a, augment: {quality_range: [90, 60]}}", "quality_range must be [low, high]"),
        ("a", "data[0]"),
    ],
)
def test_a_wrong_value_in_a_data_source_is_refused_by_name(entry, name, tmp_path, capsys):
    assert name in refusal(tmp_path, capsys, f"data: [{entry}]\n")


def test_no_data_is_refused(tmp_path, capsys):
    assert "say what to train on" in refusal(tmp_path, capsys, "seed: 1\n")


@pytest.mark.parametrize(("text", "part"), [("- 1\n", "not a mapping"), ("a: b: c\n", "not YAML")])
def test_a_file_that_is_no_config_is_refused(text, part, tmp_path, capsys):
    assert part in refusal(tmp_path, capsys, text)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_builds_its_network(path):
    # ResNet-50 and MobileNetV2 as well as EfficientNet-B0: pixels in, one logit and one map out.
    config = parse(["--config", str(path)])
    config.no_pretrained = not config.init_from
    model = build_model(config).eval()
    out = model(torch.zeros(2, 3, 64, 64))
    assert out.logit.shape == (2,) and out.cam.shape == (2, 2, 2) and out.logits.shape == (2, 2)


def test_a_value_that_the_network_refuses_is_one_sentence():
    with pytest.raises(SystemExit, match="dropout"):
        build_model(parse(["--train_dir", "x", "--no_pretrained", "--dropout", "2"]))


# --- --init_from: settings of the user are applied or refused, those of the checkpoint stay -------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """A checkpoint with settings that are not the defaults."""
    new = ["--train_dir", "x", "--no_pretrained", "--backbone", "test_efficientnet", "--input_size", "32",
           "--dropout", "0.25", "--max_views", "7", "--whole_views", "2", "--hidden_size", "8"]  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(build_model(parse(new)), folder)
    return str(folder)


def continued(checkpoint: str, *flags: str):
    return build_model(parse(["--train_dir", "x", "--init_from", checkpoint, *flags]))


def test_a_checkpoint_keeps_the_settings_that_the_user_does_not_set(checkpoint):
    model = continued(checkpoint)
    kept = (model.config.dropout, model.config.max_views, model.config.whole_views, model.config.hidden_size)
    assert kept == (0.25, 7, 2, 8)
    assert model.dropout.p == 0.25


def test_dropout_is_applied_to_a_checkpoint(checkpoint):
    model = continued(checkpoint, "--dropout", "0.5")  # the default, but set by the user
    assert model.config.dropout == model.dropout.p == 0.5


def test_drop_path_is_applied_to_a_checkpoint(checkpoint):
    rates = {module.drop_path.drop_prob for module in continued(checkpoint, "--drop_path", "0.2").backbone.modules()
             if hasattr(module, "drop_path")}  # fmt: skip
    assert rates == {0.2}


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_views", 5), ("whole_views", 1), ("crop_scale", 2.0), ("few_views_area", 3.0), ("squash", True)],
)
def test_views_are_applied_to_a_checkpoint(name, value, checkpoint):
    assert getattr(continued(checkpoint, f"--{name}={value}").config, name) == value


def test_views_of_the_config_file_are_applied_to_a_checkpoint(checkpoint, tmp_path):
    config = parse_yaml(tmp_path, f"data: [{{path: a}}]\ninit_from: {checkpoint}\nmax_views: 3\n")
    assert build_model(config).config.max_views == 3


@pytest.mark.parametrize(
    "flags",
    [
        ["--hidden_size", "16"],
        ["--backbone", "resnet50"],
        ["--image_mean", "0", "0", "0"],
        ["--image_std", "1", "1", "1"],
        ["--backbone_weights", "somewhere"],
        ["--no_pretrained"],
    ],
    ids=lambda flags: flags[0],
)
def test_what_cannot_be_changed_in_a_checkpoint_is_refused(flags, checkpoint):
    with pytest.raises(SystemExit, match=flags[0]):
        continued(checkpoint, *flags)


def test_the_backbone_of_the_checkpoint_may_be_named(checkpoint):
    assert continued(checkpoint, "--backbone", "test_efficientnet", "--hidden_size", "8").config.hidden_size == 8


def test_views_that_do_not_fit_each_other_are_refused(checkpoint):
    with pytest.raises(SystemExit, match="whole_views"):
        continued(checkpoint, "--max_views", "1")
