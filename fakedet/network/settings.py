"""The settings of a checkpoint: every number that can change a score.

This file needs the standard library alone, so that a picture can be scored without torch and transformers. It travels
with the checkpoint to the Hub, see model.py, and imports nothing else of fakedet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

LABELS = ("real", "fake")
KINDS = ("photo", "graphic", "drawing")  # photo-like; charts, text and screens; drawn, painted or rendered
MODEL_TYPE = "fakedet"
# Keys that transformers writes into config.json beside the settings; none of them changes a score.
FOREIGN_KEYS = frozenset(
    "_name_or_path architectures auto_map chunk_size_feed_forward dtype id2label is_encoder_decoder label2id "
    "model_type output_attentions output_hidden_states problem_type return_dict torch_dtype "
    "transformers_version".split()
)


@dataclass(frozen=True)
class Calibration:
    """Turns raw logits of one kind of image into probabilities and answers.

    Attributes:
        temperature: Divides the logit; above 0.
        bias: Added after the division.
        unsure_band: (low, high), 0..1; a P(fake) strictly inside is answered "unsure". The literature calls this
            abstention or selective prediction.
        threshold: P(fake) from which a forced binary answer is "fake", 0..1.
    """

    temperature: float
    bias: float
    unsure_band: tuple[float, float]
    threshold: float

    def scale(self, logit):
        """Calibrated logit of a raw logit; a number or a tensor."""
        return logit / self.temperature + self.bias

    def p_fake(self, logit: float) -> float:
        """P(fake), 0..1, of a raw logit."""
        z = self.scale(logit)
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))

    def classify(self, p_fake: float) -> str:
        """ "real", "fake" or "unsure" for a calibrated probability, 0..1."""
        low, high = self.unsure_band
        if low < p_fake < high:
            return "unsure"
        return "fake" if p_fake >= self.threshold else "real"


@dataclass(repr=False)
class Settings:
    """Every number that can change a score, saved as config.json beside the weights.

    Attributes:
        backbone: timm name of a convolutional network (its last feature map must be B x C x H x W).
        hidden_size: Units of the dense layer between pooling and output.
        dropout: Probability, 0..1, before the output unit; only in training.
        input_size: Side in pixels of the square views that the network sees.
        max_views: Maximum number of views per image.
        mirror_single: Score an image that fits into one crop a second time, mirrored.
        aggregate: How the views' logits become one: "mean" or "max".
        image_mean, image_std: Normalisation per RGB channel, for pixels in 0..1.
        calibration_temperature, calibration_bias: P(fake) = sigmoid(z / temperature + bias), z the raw logit;
            temperature above 0. (transformers reserves the plain name `temperature` for text generation.)
        threshold: P(fake) from which a forced binary answer is "fake", 0..1.
        unsure_band: [low, high] around the threshold; a P(fake) strictly inside is answered "unsure".
        tiny_side: Images whose short side is below this many pixels, such as CIFAKE's icons of 32 pixels, have their
            own calibration and band: their logits have another distribution than photographs'. 0 is off.
        tiny_temperature, tiny_bias, tiny_unsure_band: As above, for tiny images.
        tiny_input_size: Side in pixels of the views of tiny images, at most `input_size`; 0 means `input_size`.
            Enlarging an icon further adds cost and no information.
        tiny_network: Tiny images have their own network, with the same layers. The side of a view selects the network,
            so `tiny_input_size` must be set and differ from `input_size`.
        few_views_area: Images with at most this many times the area of one crop get at most five crops (centre and
            corners; with `whole_views`, one view of the whole and two corners), since more would repeat the same
            pixels. 0 is off.
        stability_jpeg: Quality, 1..95, of the JPEG copy that `fakedet.stability` scores as well; 0 is off.
        stability_resize: Size of the smaller copy, as a share of both sides, 0.25..1; 1 is off.
        stability_grey: Score a copy without colour as well. Colour is evidence, so this copy makes an answer "unsure"
            only where it has the opposite one.
        stability_flip: When one of the other copies makes an answer "unsure": "threshold", it lies on the other side of
            the threshold; "verdict", it has the opposite answer, outside the unsure band.
        whole_views: How many of the `max_views` views at most show the whole image, scaled down until its short side is
            one view: its centre first, then its ends. They come first; crops fill the rest. 0 is off.
        crop_scale: Images whose short side exceeds this many view sides are scaled down to it before crops are cut.
            0 is off: crops have the image's own resolution.
        early_exit_views, early_exit_band: Where early exit is asked for (`Detector`), this many views are scored first,
            and the others only if the P(fake) of these lies strictly inside [low, high]. 0 views is off.
        trim_borders: Largest share of the area, 0..0.9, that `borders` of one colour may take to be cut off; 0 is off.
        squash: Resize the whole image to one square view instead of cropping, as most classifiers do; for comparison.
        families: Names of the generator families of the second output, for images that are called AI-generated.
            Empty: there is no such output. Tiny images have none.
        family_temperature: P(family) is the mean over the views of softmax(output / family_temperature); above 0.
        family_threshold: A family is named from this probability on, 0..1; "other" is never named.
        kinds: Names of the kinds of picture of the third output: "photo" first, which means photo-like, made by a
            camera or by a generator, then what is no photograph. Empty: there is no such output. Tiny images have none.
        kind_levels: Stages of the backbone, as timm's `forward_intermediates` counts them, of whose channels the third
            output reads mean and deviation; the number after the last stage's stands for the pooled features.
        kind_threshold: A picture counts as no photograph if P("photo") is at most 1 minus this, 0..1.

    Raises:
        ValueError: A value is of the wrong type or out of range.
    """

    backbone: str = "efficientnet_b0"
    hidden_size: int = 256
    dropout: float = 0.5
    input_size: int = 224
    max_views: int = 9
    mirror_single: bool = True
    aggregate: str = "mean"
    image_mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    image_std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    calibration_temperature: float = 1.0
    calibration_bias: float = 0.0
    threshold: float = 0.5
    unsure_band: list[float] = field(default_factory=lambda: [0.5, 0.5])
    tiny_side: int = 0
    tiny_temperature: float = 1.0
    tiny_bias: float = 0.0
    tiny_unsure_band: list[float] = field(default_factory=lambda: [0.5, 0.5])
    tiny_input_size: int = 0
    tiny_network: bool = False
    few_views_area: float = 0.0
    stability_jpeg: int = 80
    stability_resize: float = 0.75
    stability_grey: bool = False
    stability_flip: str = "threshold"
    whole_views: int = 0
    crop_scale: float = 0.0
    early_exit_views: int = 0
    early_exit_band: list[float] = field(default_factory=lambda: [0.0, 1.0])
    trim_borders: float = 0.0
    squash: bool = False
    families: list[str] = field(default_factory=list)
    family_temperature: float = 1.0
    family_threshold: float = 0.5
    kinds: list[str] = field(default_factory=list)
    kind_levels: list[int] = field(default_factory=list)
    kind_threshold: float = 0.5

    def __post_init__(self) -> None:
        for key in SEQUENCES:
            setattr(self, key, list(getattr(self, key)))
        self.check()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The settings of a config.json.

        Raises:
            ValueError: Not of a fakedet model, an unknown key, or a value that `check` refuses.
        """
        if not isinstance(values, Mapping) or values.get("model_type") != MODEL_TYPE:
            raise ValueError("it is not the configuration of a fakedet model")
        if unknown := sorted(set(values) - set(KEYS) - FOREIGN_KEYS):
            raise ValueError(f"unknown keys {', '.join(unknown)[:200]}")
        return cls(**{key: values[key] for key in KEYS if key in values})

    def to_dict(self) -> dict[str, Any]:
        """The settings as config.json has them."""
        return {"model_type": MODEL_TYPE} | {key: getattr(self, key) for key in KEYS}

    def is_tiny(self, size: tuple[int, int]) -> bool:
        """Whether an image of `size`, (width, height) in pixels, counts as tiny."""
        return min(size) < self.tiny_side

    def calibration(self, tiny: bool = False) -> Calibration:
        """The calibration of tiny images, or of all others."""
        if tiny:
            return Calibration(self.tiny_temperature, self.tiny_bias, tuple(self.tiny_unsure_band), self.threshold)
        return Calibration(self.calibration_temperature, self.calibration_bias, tuple(self.unsure_band), self.threshold)

    def for_tiny_network(self, side: int) -> bool:
        """Whether the network of tiny images scores views of `side` pixels."""
        return self.tiny_network and side == self.tiny_input_size

    def tells_families(self, side: int) -> bool:
        """Whether the network also outputs families for views of `side` pixels; never for those of tiny images."""
        return bool(self.families) and side == self.input_size

    def tells_kinds(self, side: int) -> bool:
        """Whether the network also outputs the kind of picture for views of `side` pixels; never for tiny images."""
        return bool(self.kinds) and side == self.input_size

    def check(self) -> None:
        """Checks types and ranges of all values.

        Raises:
            ValueError: Names the key, its value and the allowed values.
        """

        def require(key: str, ok: bool, allowed: str) -> None:
            if not ok:
                raise ValueError(f"config: {key} must be {allowed}, not {getattr(self, key)!r}")

        def number(value, low: float, high: float) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

        def whole(value, low: int, high: int) -> bool:
            return isinstance(value, int) and number(value, low, high)

        require("backbone", isinstance(self.backbone, str) and 0 < len(self.backbone) < 100, "a timm model name")
        require("hidden_size", whole(self.hidden_size, 1, 8192), "a whole number from 1 to 8192")
        require("dropout", number(self.dropout, 0, 0.99), "a number from 0 to 0.99")
        require("input_size", whole(self.input_size, 32, 1024), "a whole number from 32 to 1024")
        require("max_views", whole(self.max_views, 1, 9), "a whole number from 1 to 9")
        require("few_views_area", number(self.few_views_area, 0, 9), "a number from 0 to 9")
        require("mirror_single", isinstance(self.mirror_single, bool), "true or false")
        for key in ("whole_views", "early_exit_views"):
            require(key, whole(getattr(self, key), 0, self.max_views), "a whole number from 0 to max_views")
        scale = number(self.crop_scale, 0, 64) and not 0 < self.crop_scale < 1
        require("crop_scale", scale, "0, or a number from 1 to 64")
        require("trim_borders", number(self.trim_borders, 0, 0.9), "a number from 0 to 0.9")
        for key in ("squash", "stability_grey"):
            require(key, isinstance(getattr(self, key), bool), "true or false")
        require("aggregate", self.aggregate in ("mean", "max"), "'mean' or 'max'")
        for key, low in (("image_mean", -10), ("image_std", 1e-6)):
            value = getattr(self, key)
            require(key, len(value) == 3 and all(number(v, low, 10) for v in value), "three numbers")
        for key in ("calibration_temperature", "tiny_temperature", "family_temperature"):
            require(key, number(getattr(self, key), 1e-3, 1e3), "a number above 0")
        for key in ("calibration_bias", "tiny_bias"):
            require(key, number(getattr(self, key), -100, 100), "a number from -100 to 100")
        require("tiny_side", whole(self.tiny_side, 0, 1024), "a whole number from 0 to 1024")
        fits = self.tiny_input_size == 0 or whole(self.tiny_input_size, 32, self.input_size)
        require("tiny_input_size", fits, "0 or a whole number from 32 to input_size")
        differs = isinstance(self.tiny_network, bool) and self.tiny_input_size not in (0, self.input_size)
        allowed = differs or self.tiny_network is False
        require("tiny_network", allowed, "false, or true with a tiny_input_size")
        require("threshold", number(self.threshold, 0, 1), "a number from 0 to 1")
        for key in ("unsure_band", "tiny_unsure_band", "early_exit_band"):
            band = getattr(self, key)
            inside = len(band) == 2 and all(number(v, 0, 1) for v in band) and band[0] <= self.threshold <= band[1]
            require(key, inside, "[low, high] within 0..1 around the threshold")
        require("stability_jpeg", whole(self.stability_jpeg, 0, 95), "a whole number from 0 to 95")
        require("stability_resize", number(self.stability_resize, 0.25, 1), "a number from 0.25 to 1")
        require("stability_flip", self.stability_flip in ("threshold", "verdict"), "'threshold' or 'verdict'")
        names = [name for name in self.families if isinstance(name, str) and 0 < len(name) < 41 and name.isprintable()]
        distinct = len(self.families) in (0, *range(2, 33)) and len(set(names)) == len(self.families)
        require("families", distinct, "none, or 2 to 32 different names of at most 40 letters")
        require("family_threshold", number(self.family_threshold, 0, 1), "a number from 0 to 1")
        known = not self.kinds or (len(self.kinds) > 1 and self.kinds[0] == KINDS[0] and set(self.kinds) <= set(KINDS))
        distinct = known and len(set(self.kinds)) == len(self.kinds)
        require("kinds", distinct, f"none, or of {', '.join(KINDS)}, photo first")
        levels = all(whole(level, 0, 31) for level in self.kind_levels)
        given = bool(self.kind_levels) == bool(self.kinds) and len(self.kind_levels) < 9
        require("kind_levels", levels and given, "at most 8 whole numbers from 0 to 31, and some where there are kinds")
        require("kind_threshold", number(self.kind_threshold, 0, 1), "a number from 0 to 1")


KEYS = tuple(own.name for own in fields(Settings))
SEQUENCES = tuple(own.name for own in fields(Settings) if str(own.type).startswith("list"))
