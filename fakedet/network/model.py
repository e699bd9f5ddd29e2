"""The network: timm backbone -> global average pooling -> Dense(256) -> Dense(1).

This file, `settings.py`, `configuration.py`, `borders.py`, `views.py` and `processing.py` import nothing else of
fakedet: together they are the modelling code that is published with a checkpoint (`auto_map`), so that
`trust_remote_code=True` works without fakedet installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import timm
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration import FakeDetConfig


@dataclass
class FakeDetOutput(ModelOutput):
    """Output of one forward pass, for B images, or for B views where the input was 4-D.

    Attributes:
        loss: Binary cross-entropy of the raw logits, where labels were given.
        logits: (B, 2), columns real and fake; their softmax is exactly the calibrated probabilities.
        logit: (B,), the raw z of the head, before calibration.
        cam: (B, h, w) or (B, V, h, w), signed Grad-CAM of z on the last feature map, positive for "fake".
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    logit: torch.Tensor | None = None
    cam: torch.Tensor | None = None


class Layers:
    """Backbone, pooling and head of one network."""

    def build(self, config: FakeDetConfig) -> None:
        """Creates the layers.

        Raises:
            ValueError: timm has no such backbone.
        """
        if not timm.is_model(config.backbone.split(".")[0]):
            raise ValueError(f"config: timm {timm.__version__} has no backbone named {config.backbone!r}")
        self.backbone = timm.create_model(config.backbone, pretrained=False, num_classes=0, global_pool="")
        self.fc1 = nn.Linear(self.backbone.num_features, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.fc2 = nn.Linear(config.hidden_size, 1)

    def pooled(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Last feature map (N, C, h, w) and its global average (N, C) for pixels (N, 3, S, S).

        Raises:
            ValueError: The backbone is not convolutional.
        """
        features = self.backbone.forward_features(pixels)
        if features.ndim != 4:
            raise ValueError("the backbone has no B x C x H x W feature map: it must be convolutional")
        return features, features.mean(dim=(2, 3))

    def head(self, pooled: torch.Tensor) -> torch.Tensor:
        """Raw logit z (N,) for pooled features (N, C)."""
        return self.fc2(self.dropout(torch.relu(self.fc1(pooled)))).squeeze(-1)

    def cam(self, features: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """Signed Grad-CAM (N, h, w) of z without a backward pass.

        After global average pooling the gradient of z with respect to the feature map is the same at every position,
        W2 diag(h > 0) W1 / (h w), and therefore equals Grad-CAM's channel weights (Selvaraju et al. 2017, eq. 1). The
        ReLU of eq. 2 is applied when the map is drawn: the negative part is the evidence for "real".
        """
        active = (self.fc1(pooled) > 0).to(pooled.dtype)
        weights = (active * self.fc2.weight) @ self.fc1.weight
        height, width = features.shape[2:]
        return torch.einsum("nc,nchw->nhw", weights, features) / (height * width)


def mean_and_deviation(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (N, C) of each channel of feature maps (N, C, h, w)."""
    mean, power = maps.mean((2, 3), keepdim=True), (maps * maps).mean((2, 3), keepdim=True)
    return mean.flatten(1), (power - mean * mean).clamp(min=1e-12).sqrt().flatten(1)


def level_width(backbone: nn.Module, levels: Sequence[int]) -> int:
    """Numbers per image that `features_and_levels` gives for levels."""
    stages = backbone.feature_info
    return sum(2 * stages[at]["num_chs"] if at < len(stages) else backbone.num_features for at in levels)


def features_and_levels(
    backbone: nn.Module, pixels: torch.Tensor, levels: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Last feature map (N, C, h, w), its global average (N, C), and what levels stand for, each (N, C of the level).

    A stage of the backbone stands for mean and deviation of its channels, the number after the last stage's for the
    global average.
    """
    stages = [level for level in levels if level < len(backbone.feature_info)]
    features, maps = backbone.forward_intermediates(pixels, indices=stages)
    pooled = features.mean((2, 3), keepdim=True).flatten(1)
    parts = [part for own in maps for part in mean_and_deviation(own)]
    return features, pooled, parts if len(stages) == len(levels) else [*parts, pooled]


class TinyNetwork(Layers, nn.Module):
    """The separate network of tiny images."""

    def __init__(self, config: FakeDetConfig):
        super().__init__()
        self.build(config)


class FakeDetForImageClassification(Layers, PreTrainedModel):
    """Binary classifier whose Grad-CAM map is an output of the forward pass."""

    config_class = FakeDetConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ()

    def __init__(self, config: FakeDetConfig):
        super().__init__(config)
        self.build(config)
        if config.families:
            self.family = nn.Linear(self.backbone.num_features, len(config.families))
        if config.kinds:
            self.kind = nn.Linear(level_width(self.backbone, config.kind_levels), len(config.kinds))
        if config.tiny_network:
            self.tiny = TinyNetwork(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialises the head only: timm initialises the backbone."""
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)

    def network_for(self, side: int) -> Layers:
        """The network that scores views of `side` pixels."""
        return self.tiny if self.config.for_tiny_network(side) else self

    def score(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Raw logits (N,) and signed maps (N, h, w) of views (N, 3, S, S).

        Raw outputs of the families (N, F) and of the kinds (N, K) follow where the configuration has them and the views
        are not of tiny images.
        """
        side, pixels = pixels.shape[-1], pixels.contiguous(memory_format=torch.channels_last)
        network, levels = self.network_for(side), ()
        if self.config.tells_kinds(side):
            features, pooled, levels = features_and_levels(self.backbone, pixels, self.config.kind_levels)
        else:
            features, pooled = network.pooled(pixels)
        outputs = [network.head(pooled), network.cam(features, pooled)]
        if self.config.tells_families(side):
            outputs.append(self.family(pooled))
        if self.config.tells_kinds(side):
            outputs.append(self.kind(torch.cat(levels, 1)))
        return tuple(outputs)

    def score_mixed(self, pixels: torch.Tensor, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and maps of `score` for a batch that mixes both view sizes.

        Args:
            pixels: (N, 3, S, S); small views fill the upper left corner.
            small: (N,) bool, whether a view has `tiny_input_size`.

        Returns:
            Logits (N,), and maps (N, h, w), those of small views enlarged (nearest neighbour) unless all are small.
        """
        side = self.config.tiny_input_size
        if small.all():
            return self.score(pixels[..., :side, :side])[:2]
        logit, cam = self.score(pixels[~small])[:2]
        all_logits, all_maps = logit.new_zeros(len(pixels)), cam.new_zeros(len(pixels), *cam.shape[1:])
        all_logits[~small], all_maps[~small] = logit, cam
        if small.any():
            logit, cam = self.score(pixels[small][..., :side, :side])[:2]
            all_logits[small] = logit
            all_maps[small] = nn.functional.interpolate(cam[None], all_maps.shape[1:])[0]
        return all_logits, all_maps

    def _per_image(
        self, logit: torch.Tensor, cam: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B,) and maps (B, V, h, w) of images.

        Args:
            logit, cam: (N,) and (N, h, w), of the N valid views.
            valid: (B, V) bool; maps of the other views are zero.
        """
        maps = cam.new_zeros(*valid.shape, *cam.shape[1:])
        maps[valid] = cam
        per_view = logit.new_zeros(valid.shape).masked_scatter(valid, logit)
        if self.config.aggregate == "max":
            return per_view.masked_fill(~valid, float("-inf")).amax(1), maps
        return per_view.sum(1) / valid.sum(1), maps

    def forward(
        self,
        pixel_values: torch.Tensor,
        view_count: torch.Tensor | None = None,
        tiny: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **unused,
    ) -> FakeDetOutput:
        """Scores views, or images of several views.

        Args:
            pixel_values: (B, 3, S, S), one view per image, or (B, V, 3, S, S), normalised floats. Where
                `tiny_input_size` is set, the views of tiny images fill the upper left corner.
            view_count: (B,) or (B, 1), how many of the V views count; the rest is padding. By default all.
            tiny: (B,) or (B, 1), 1 for tiny images; by default none.
            labels: (B,), 0 = real, 1 = fake.

        Returns:
            FakeDetOutput; maps of padding views are zero.
        """
        shape = pixel_values.shape
        if pixel_values.ndim == 5:
            counts = torch.full((shape[0],), shape[1]) if view_count is None else view_count.reshape(-1)
            valid = torch.arange(shape[1], device=pixel_values.device)[None] < counts.to(pixel_values.device)[:, None]
            pixels = pixel_values[valid]
        else:
            pixels = pixel_values
        small = None
        if tiny is not None and 0 < self.config.tiny_input_size < shape[-1]:
            small = tiny.reshape(-1).to(pixels.device) > 0
            small = small[:, None].expand(valid.shape)[valid] if pixel_values.ndim == 5 else small
        logit, cam = self.score(pixels)[:2] if small is None else self.score_mixed(pixels, small)
        if pixel_values.ndim == 5:
            logit, cam = self._per_image(logit, cam, valid)
        loss = None
        if labels is not None:
            loss = nn.functional.binary_cross_entropy_with_logits(logit.float(), labels.float())
        half = self.config.calibration().scale(logit) / 2
        if tiny is not None:
            half_tiny = self.config.calibration(tiny=True).scale(logit) / 2
            half = torch.where(tiny.reshape(-1).to(half.device) > 0, half_tiny, half)
        return FakeDetOutput(loss=loss, logits=torch.stack((-half, half), dim=1), logit=logit, cam=cam)
