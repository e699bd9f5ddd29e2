"""The model at the start of a training, and which of its layers learn."""

from __future__ import annotations

import logging
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file

from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification

log = logging.getLogger("fakedet.train")
INPUT_SIZE = 224  # where neither a flag nor a checkpoint says otherwise


def build_model(args) -> FakeDetForImageClassification:
    """A FakeDet model in float32, channels_last: continued, from local backbone weights, from timm's, or random.

    Raises:
        SystemExit: With one sentence, where weights are missing or do not fit.
    """
    if args.init_from:
        from fakedet.hub import ModelError, load_checkpoint

        try:
            model = load_checkpoint(args.init_from).model
        except ModelError as error:
            raise SystemExit(f"--init_from: {error}") from None
        if args.init_branch == "tiny" and not model.config.tiny_network:
            raise SystemExit(f"--init_branch tiny: {args.init_from} has no network of its own for tiny images")
        model = one_network(model, args.init_branch)
        set_sides(model.config, args)
        return model.to(memory_format=torch.channels_last)
    norm = timm.get_pretrained_cfg(args.backbone, allow_unregistered=True)
    config = FakeDetConfig(
        backbone=args.backbone,
        hidden_size=args.hidden_size,
        dropout=args.dropout,
        input_size=args.input_size or INPUT_SIZE,
        max_views=args.max_views,
        whole_views=args.whole_views,
        crop_scale=args.crop_scale,
        few_views_area=args.few_views_area,
        squash=args.squash,
        image_mean=args.image_mean or (norm.mean if norm else (0.5,) * 3),
        image_std=args.image_std or (norm.std if norm else (0.5,) * 3),
    )
    set_sides(config, args)
    model = FakeDetForImageClassification(config)
    if args.backbone_weights:
        if not Path(args.backbone_weights).is_file():
            raise SystemExit(f"no file {args.backbone_weights} for --backbone_weights")
        state = {key: value.float() if value.is_floating_point() else value
                 for key, value in load_file(args.backbone_weights).items()}  # fmt: skip
        missing, _ = model.backbone.load_state_dict(state, strict=False)
        if missing:
            raise SystemExit(f"--backbone_weights has no values for {len(missing)} tensors, {missing[0]} among them")
    elif not args.no_pretrained:
        try:
            source = timm.create_model(args.backbone, pretrained=True, num_classes=0, global_pool="")
        except Exception as error:
            raise SystemExit(
                f"timm's weights for {args.backbone} could not be fetched ({type(error).__name__}). Without a network "
                "give a local file with --backbone_weights, or start from random weights with --no_pretrained."
            ) from None
        model.backbone.load_state_dict(source.state_dict())
    if args.drop_path:
        for module in model.backbone.modules():
            if hasattr(module, "drop_path"):
                module.drop_path = timm.layers.DropPath(args.drop_path)
    return model.to(memory_format=torch.channels_last)


def one_network(model: FakeDetForImageClassification, branch: str) -> FakeDetForImageClassification:
    """A copy with one of a model's networks ("main" or "tiny"), for images of every size, without calibration.

    The old calibration does not fit the weights to come (run calibrate.py afterwards), nor would the other network fit
    the data to come, nor does the layer for families fit other features (run attribute.py afterwards).
    """
    if model.config.families:
        log.info("the layer that names families is dropped: it belongs to the old features")
    values, fresh = model.config.to_dict(), FakeDetConfig().to_dict()
    values |= {key: fresh[key] for key in fresh if key.startswith(("tiny_", "calibration_", "unsure_", "famil"))}
    if branch == "tiny":
        values["input_size"] = model.config.tiny_input_size
    single = FakeDetForImageClassification(FakeDetConfig.from_dict(values))
    source = model.tiny if branch == "tiny" else model
    names = single.state_dict().keys()
    single.load_state_dict({key: value for key, value in source.state_dict().items() if key in names})
    return single


def set_sides(config: FakeDetConfig, args) -> None:
    """Puts the sides of views that were asked for into a configuration.

    Raises:
        SystemExit: They do not fit each other.
    """
    for key in ("input_size", "tiny_side", "tiny_input_size"):
        if getattr(args, key):
            setattr(config, key, getattr(args, key))
    try:
        config.check()
    except ValueError as error:
        raise SystemExit(str(error)) from None


def trainable_layers(model: FakeDetForImageClassification, unfreeze: str | int) -> list[torch.nn.Module]:
    """Freezes the backbone but for its last layers and returns the frozen ones (they are kept in eval mode).

    A layer is a module with weights of its own, in timm's order: a convolution and a BatchNorm count as one each.
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
