"""Builds the model that a training starts from, and chooses which of its layers learn."""

from __future__ import annotations

import logging
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file

from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from train.learning.config import TrainConfig

log = logging.getLogger("fakedet.train")
INPUT_SIZE = 224  # where neither a flag nor a checkpoint says otherwise
VIEWS = ("dropout", "max_views", "whole_views", "crop_scale", "few_views_area", "trim_borders", "squash")
SIDES = ("input_size", "tiny_side", "tiny_input_size")
FIXED = ("backbone", "hidden_size", "image_mean", "image_std")  # what the weights of a checkpoint were trained for
WEIGHTS = ("backbone_weights", "no_pretrained")  # where the weights of a new network come from


def build_model(config: TrainConfig) -> FakeDetForImageClassification:
    """A FakeDet model in float32, channels_last: continued from a checkpoint, or new.

    Raises:
        SystemExit: Weights are missing, do not fit or contradict a setting; one sentence says which.
    """
    try:
        model = continued_model(config) if config.init_from else new_model(config)
    except ValueError as error:  # FakeDetConfig refuses a value
        raise SystemExit(str(error)) from None
    if config.drop_path:
        for module in model.backbone.modules():
            if hasattr(module, "drop_path"):
                module.drop_path = timm.layers.DropPath(config.drop_path)
    return model.to(memory_format=torch.channels_last)


def new_model(config: TrainConfig) -> FakeDetForImageClassification:
    """A model whose backbone has local weights, timm's pretrained weights or random ones, and whose head is random.

    Raises:
        SystemExit: The weights are missing or do not fit.
        ValueError: A setting is out of range.
    """
    pretrained = timm.get_pretrained_cfg(config.backbone, allow_unregistered=True)
    model = FakeDetForImageClassification(
        FakeDetConfig(
            backbone=config.backbone,
            hidden_size=config.hidden_size,
            input_size=config.input_size or INPUT_SIZE,
            tiny_side=config.tiny_side or 0,
            tiny_input_size=config.tiny_input_size or 0,
            image_mean=config.image_mean or (pretrained.mean if pretrained else (0.5,) * 3),
            image_std=config.image_std or (pretrained.std if pretrained else (0.5,) * 3),
            **{key: getattr(config, key) for key in VIEWS},
        )
    )
    if config.backbone_weights:
        load_backbone(model, Path(config.backbone_weights))
    elif not config.no_pretrained:
        try:
            source = timm.create_model(config.backbone, pretrained=True, num_classes=0, global_pool="")
        except Exception as error:
            raise SystemExit(
                f"timm's weights for {config.backbone} could not be fetched ({type(error).__name__}). Without a "
                "network give a local file with --backbone_weights, or start from random weights with --no_pretrained."
            ) from None
        model.backbone.load_state_dict(source.state_dict())
    return model


def load_backbone(model: FakeDetForImageClassification, path: Path) -> None:
    """Loads a safetensors file with timm's names into the backbone.

    Raises:
        SystemExit: There is no such file, or it lacks tensors.
    """
    if not path.is_file():
        raise SystemExit(f"no file {path} for --backbone_weights")
    state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
    missing, _ = model.backbone.load_state_dict(state, strict=False)
    if missing:
        raise SystemExit(f"--backbone_weights has no values for {len(missing)} tensors, {missing[0]} among them")


def continued_model(config: TrainConfig) -> FakeDetForImageClassification:
    """One network of the checkpoint `init_from`, with the settings that the user gave in place of its own.

    Raises:
        SystemExit: The checkpoint cannot be loaded, or a setting contradicts its weights.
        ValueError: A setting is out of range.
    """
    from fakedet.hub import ModelError, load_checkpoint

    for name in WEIGHTS:
        if getattr(config, name):
            raise SystemExit(f"--{name} cannot be combined with --init_from, which brings all weights")
    try:
        model = load_checkpoint(config.init_from).model
    except ModelError as error:
        raise SystemExit(f"--init_from: {error}") from None
    if config.init_branch == "tiny" and not model.config.tiny_network:
        raise SystemExit(f"--init_branch tiny: {config.init_from} has no network of its own for tiny images")
    given = {key: getattr(config, key) for key in config.given if getattr(config, key, None) is not None}
    for key in FIXED:
        if key in given and given[key] != getattr(model.config, key):
            raise SystemExit(
                f"--{key} {given[key]} does not fit --init_from {config.init_from}: "
                f"its weights were trained with {getattr(model.config, key)}"
            )
    return one_network(model, config.init_branch, {key: given[key] for key in (*VIEWS, *SIDES) if key in given})


def one_network(
    model: FakeDetForImageClassification, branch: str, changes: dict | None = None
) -> FakeDetForImageClassification:
    """A copy with one of a model's networks ("main" or "tiny"), for images of every size, without calibration.

    The old calibration does not fit future weights (run calibrate.py afterwards), the other network does not fit the
    new data, and the layers of families and kinds do not fit other features (run attribute.py, kinds.py afterwards).

    Args:
        changes: Settings of the copy that differ from the model's.

    Raises:
        ValueError: The settings are out of range.
    """
    if model.config.families or model.config.kinds:
        log.info("the layers that name families and kinds are dropped: they belong to the old features")
    values, fresh = model.config.to_dict(), FakeDetConfig().to_dict()
    dropped = ("tiny_", "calibration_", "unsure_", "famil", "kind", "early_exit_")
    values |= {key: fresh[key] for key in fresh if key.startswith(dropped)}
    if branch == "tiny":
        values["input_size"] = model.config.tiny_input_size
    single = FakeDetForImageClassification(FakeDetConfig.from_dict(values | (changes or {})))
    source = model.tiny if branch == "tiny" else model
    names = single.state_dict().keys()
    single.load_state_dict({key: value for key, value in source.state_dict().items() if key in names})
    return single


def synchronise_batch_norm(model: FakeDetForImageClassification) -> FakeDetForImageClassification:
    """Replaces each BatchNorm with one whose statistics are those of all processes (GPUs only).

    timm's conversion keeps the activations inside its BatchNorm layers; torch's own drops them.
    """
    return timm.layers.convert_sync_batchnorm(model)


def trainable_layers(model: FakeDetForImageClassification, unfreeze: str | int) -> list[torch.nn.Module]:
    """Freezes the backbone except its last layers and returns the frozen layers (they are kept in eval mode).

    A layer is a module with weights of its own, in timm's order: a convolution and a BatchNorm count as one each.

    Args:
        unfreeze: "all", or how many of the last layers learn.
    """
    layers = [module for module in model.backbone.modules() if next(module.parameters(recurse=False), None) is not None]
    count = len(layers) if unfreeze == "all" else min(int(unfreeze), len(layers))
    frozen = layers[: len(layers) - count]
    for parameter in model.parameters():
        parameter.requires_grad = True
    for layer in frozen:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad = False
    return frozen
