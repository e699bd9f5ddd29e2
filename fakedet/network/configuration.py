"""A checkpoint's configuration: every number that can change a score. Travels with it to the Hub (see model.py)."""

from __future__ import annotations

from transformers import PreTrainedConfig

LABELS = ("real", "fake")


class FakeDetConfig(PreTrainedConfig):
    """Every number that can change a score, saved as config.json beside the weights.

    Args:
        backbone: timm name of a convolutional network (its last feature map must be B x C x H x W).
        hidden_size: Units of the dense layer between pooling and output.
        dropout: Probability, 0..1, before the output unit; only in training.
        input_size: Side in pixels of the square crops that the network sees.
        max_views: Crops per image at most, at native resolution unless `whole_views`, `crop_scale` say otherwise.
        few_views_area: Pictures of up to so many crops' area get five crops at most, in the middle and in the corners
            (with `whole_views` one of the whole and two corners): more would see the same pixels again. 0 is off.
        whole_views: So many views at most, of `max_views`, are of the picture shrunk until its short side is one view:
            its middle first, then its ends. 0 is off; they come first, and the other crops after them.
        crop_scale: Pictures whose short side is longer than so many views' sides are shrunk to that before crops are
            cut. 0 is off: crops of native pixels.
        squash: Resize the whole image to one square view, as most classifiers do, in place of crops; to compare with
            (README, ablations).
        mirror_single: Score an image that fits into one crop a second time, mirrored.
        aggregate: How the views' logits become one: "mean" or "max".
        image_mean, image_std: Normalisation per RGB channel, for pixels in 0..1.
        calibration_temperature, calibration_bias: P(fake) = sigmoid(z / temperature + bias), z the raw logit;
            temperature above 0. (The plain name `temperature` is one that transformers keeps for text generation.)
        threshold: P(fake) at and above which a forced binary answer is "fake", 0..1.
        unsure_band: [low, high] around the threshold; a P(fake) strictly inside is answered "unsure".
        tiny_side: Images whose short side is below this many pixels have a calibration and a band of their own: icons
            like CIFAKE's 32 pixels are another population than photographs, and one temperature cannot be honest
            about both. 0 is off.
        tiny_temperature, tiny_bias, tiny_unsure_band: As above, for those images.
        tiny_input_size: Side in pixels of the views of those images, at most `input_size`; 0 is the same side. An icon
            that is scaled up further shows nothing more and costs more.
        tiny_network: Those images have a network of their own, with the same layers; `tiny_input_size` must then be
            set and differ from `input_size`, for the side of a view says which network it is for.
        stability_jpeg: Quality, 1..95, of the JPEG copy that `fakedet.stability` scores as well; 0 is off.
        stability_resize: Size of the smaller copy, as a share of both sides, 0.25..1; 1 is off.
        stability_flip: When a copy turns an answer into "unsure": "threshold", it lies on the other side of the
            threshold; "verdict", it has the opposite answer, beyond the unsure band.
        families: Names of the generator families that the second output tells apart, for images that are called
            AI-generated; none, and there is no such output. Images with a tiny side have none.
        family_temperature: P(family) is the mean over the views of softmax(output / family_temperature); above 0.
        family_threshold: A family is named from this probability on, 0..1, and "other" never.

    Raises:
        ValueError: A value is of the wrong type or out of range.
    """

    model_type = "fakedet"

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        hidden_size: int = 256,
        dropout: float = 0.5,
        input_size: int = 224,
        max_views: int = 9,
        mirror_single: bool = True,
        aggregate: str = "mean",
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        calibration_temperature: float = 1.0,
        calibration_bias: float = 0.0,
        threshold: float = 0.5,
        unsure_band: tuple[float, float] = (0.5, 0.5),
        tiny_side: int = 0,
        tiny_temperature: float = 1.0,
        tiny_bias: float = 0.0,
        tiny_unsure_band: tuple[float, float] = (0.5, 0.5),
        tiny_input_size: int = 0,
        tiny_network: bool = False,
        few_views_area: float = 0.0,
        stability_jpeg: int = 80,
        stability_resize: float = 0.75,
        stability_flip: str = "threshold",
        whole_views: int = 0,
        crop_scale: float = 0.0,
        squash: bool = False,
        families: tuple[str, ...] = (),
        family_temperature: float = 1.0,
        family_threshold: float = 0.5,
        **kwargs,
    ):
        kwargs["id2label"] = dict(enumerate(LABELS))
        kwargs["label2id"] = {name: index for index, name in enumerate(LABELS)}
        kwargs.pop("num_labels", None)
        super().__init__(**kwargs)
        self.backbone = backbone
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.input_size = input_size
        self.max_views = max_views
        self.few_views_area = few_views_area
        self.mirror_single = mirror_single
        self.aggregate = aggregate
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.calibration_temperature = calibration_temperature
        self.calibration_bias = calibration_bias
        self.threshold = threshold
        self.unsure_band = list(unsure_band)
        self.tiny_side = tiny_side
        self.tiny_temperature = tiny_temperature
        self.tiny_bias = tiny_bias
        self.tiny_unsure_band = list(tiny_unsure_band)
        self.tiny_input_size = tiny_input_size
        self.tiny_network = tiny_network
        self.stability_jpeg = stability_jpeg
        self.stability_resize = stability_resize
        self.stability_flip = stability_flip
        self.whole_views = whole_views
        self.crop_scale = crop_scale
        self.squash = squash
        self.families = list(families)
        self.family_temperature = family_temperature
        self.family_threshold = family_threshold
        self.check()

    def calibration(self, tiny: bool) -> tuple[float, float, tuple[float, float]]:
        """Temperature, bias and unsure band of images whose short side is (or not) below `tiny_side`."""
        if tiny:
            return self.tiny_temperature, self.tiny_bias, tuple(self.tiny_unsure_band)
        return self.calibration_temperature, self.calibration_bias, tuple(self.unsure_band)

    def for_tiny_network(self, side: int) -> bool:
        """Whether views of `side` pixels are for the network of tiny images."""
        return self.tiny_network and side == self.tiny_input_size

    def tells_families(self, side: int) -> bool:
        """Whether the network also tells the families of views of `side` pixels: not of those of tiny images."""
        return bool(self.families) and side == self.input_size

    def check(self) -> None:
        """Refuses a configuration that could not have been written by us.

        Raises:
            ValueError: Names the key, what it holds and what it may hold.
        """

        def need(key: str, ok: bool, what: str) -> None:
            if not ok:
                raise ValueError(f"config: {key} must be {what}, not {getattr(self, key)!r}")

        def number(value, low: float, high: float) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

        def whole(value, low: int, high: int) -> bool:
            return isinstance(value, int) and number(value, low, high)

        need("backbone", isinstance(self.backbone, str) and 0 < len(self.backbone) < 100, "a timm model name")
        need("hidden_size", whole(self.hidden_size, 1, 8192), "a whole number from 1 to 8192")
        need("dropout", number(self.dropout, 0, 0.99), "a number from 0 to 0.99")
        need("input_size", whole(self.input_size, 32, 1024), "a whole number from 32 to 1024")
        need("max_views", whole(self.max_views, 1, 9), "a whole number from 1 to 9")
        need("few_views_area", number(self.few_views_area, 0, 9), "a number from 0 to 9")
        need("mirror_single", isinstance(self.mirror_single, bool), "true or false")
        need("whole_views", whole(self.whole_views, 0, self.max_views), "a whole number from 0 to max_views")
        scale = number(self.crop_scale, 0, 64) and not 0 < self.crop_scale < 1
        need("crop_scale", scale, "0, or a number from 1 to 64")
        need("squash", isinstance(self.squash, bool), "true or false")
        need("aggregate", self.aggregate in ("mean", "max"), "'mean' or 'max'")
        for key, low in (("image_mean", -10), ("image_std", 1e-6)):
            value = getattr(self, key)
            need(key, len(value) == 3 and all(number(v, low, 10) for v in value), "three numbers")
        for key in ("calibration_temperature", "tiny_temperature", "family_temperature"):
            need(key, number(getattr(self, key), 1e-3, 1e3), "a number above 0")
        for key in ("calibration_bias", "tiny_bias"):
            need(key, number(getattr(self, key), -100, 100), "a number from -100 to 100")
        need("tiny_side", whole(self.tiny_side, 0, 1024), "a whole number from 0 to 1024")
        small = self.tiny_input_size == 0 or whole(self.tiny_input_size, 32, self.input_size)
        need("tiny_input_size", small, "0 or a whole number from 32 to input_size")
        apart = self.tiny_network is False or self.tiny_input_size not in (0, self.input_size)
        need("tiny_network", apart and isinstance(self.tiny_network, bool), "false, or true with a tiny_input_size")
        need("threshold", number(self.threshold, 0, 1), "a number from 0 to 1")
        for key in ("unsure_band", "tiny_unsure_band"):
            band = getattr(self, key)
            inside = len(band) == 2 and all(number(v, 0, 1) for v in band) and band[0] <= self.threshold <= band[1]
            need(key, inside, "[low, high] within 0..1 around the threshold")
        need("stability_jpeg", whole(self.stability_jpeg, 0, 95), "a whole number from 0 to 95")
        need("stability_resize", number(self.stability_resize, 0.25, 1), "a number from 0.25 to 1")
        need("stability_flip", self.stability_flip in ("threshold", "verdict"), "'threshold' or 'verdict'")
        names = [name for name in self.families if isinstance(name, str) and 0 < len(name) < 41 and name.isprintable()]
        apart = len(self.families) in (0, *range(2, 33)) and len(set(names)) == len(self.families)
        need("families", apart, "none, or 2 to 32 different names of at most 40 letters")
        need("family_threshold", number(self.family_threshold, 0, 1), "a number from 0 to 1")
