"""What a model card says of the network: made from config.json alone."""

from __future__ import annotations

from fakedet.network.families import OTHER
from fakedet.network.settings import Settings

FAKE = "`fake`"


def network_facts(config: Settings, parameters: int, sha256: str) -> dict[str, str]:
    """Name to sentence, for the list of Model Details.

    Args:
        parameters: Of all networks in the checkpoint.
        sha256: Of the weights file, hex.
    """
    networks = "two networks of the same layers" if config.tiny_network else "one network"
    facts = {
        "Model type": f"image classification; `{config.backbone}`, global average pooling, a dense layer of "
        f"{config.hidden_size} units and one output unit; {parameters / 1e6:.1f} million parameters in {networks}",
        "Weights": f"SHA-256 `{sha256}`",
        "Input": f"an upright RGB image, cut into views of {config.input_size} x {config.input_size} pixels: "
        + describe_views(config),
        "Output": _output(config),
    }
    if config.tiny_side:
        facts["Tiny images"] = _tiny(config)
    names = ", ".join(name for name in config.families if name != OTHER)
    if names:
        facts["Generator families"] = (
            f"{names}; one is named for an image called {FAKE} where its probability is at least "
            f"{config.family_threshold:.3g}"
        )
    return facts


def describe_views(config: Settings) -> str:
    """Which views an image is cut into, as `fakedet.network.views` does it."""
    side = config.input_size
    if config.squash:
        return f"the whole image resized to {side} x {side} pixels, without regard to its aspect ratio."
    shrunk = f"the image with its short side shrunk to at most {round(config.crop_scale * side)} pixels"
    crops = f"crops of {shrunk}" if config.crop_scale else "crops at native resolution"
    if config.whole_views:
        count = "one view" if config.whole_views == 1 else f"up to {config.whole_views} views"
        text = f"{count} of the whole image with its short side shrunk to {side} pixels, and "
        text += f"{crops}; at most {config.max_views} views"
    else:
        text = f"at most {config.max_views} {crops}"
    text += ". A smaller image is enlarged."
    if config.few_views_area:
        few = "one view of the whole and two crops" if config.whole_views else f"at most {min(5, config.max_views)}"
        text += f" An image with the area of up to {config.few_views_area:g} views gets {few}."
    if config.trim_borders:
        text += " Borders of one colour are cut off first."
    return text + (" An image that fits into one view is also scored mirrored." if config.mirror_single else "")


def _output(config: Settings) -> str:
    low, high = config.unsure_band
    unsure = f"strictly between {low:.4g} and {high:.4g} it is `unsure`" if low < high else "no answer is `unsure`"
    return (
        f"P(fake) = {_sigmoid(config.calibration_temperature, config.calibration_bias)}, z the {config.aggregate} of "
        f"the views' logits; from P(fake) = {config.threshold:g} the answer is {FAKE}; {unsure}"
    )


def _sigmoid(temperature: float, bias: float) -> str:
    return f"sigmoid(z / {temperature:.4g} {'-' if bias < 0 else '+'} {abs(bias):.4g})"


def _tiny(config: Settings) -> str:
    low, high = config.tiny_unsure_band
    which = "a network of their own" if config.tiny_network else "the same network"
    unsure = f"`unsure` strictly between {low:.4g} and {high:.4g}" if low < high else "never `unsure`"
    return (
        f"images with a short side below {config.tiny_side} pixels are scored by {which} in views of "
        f"{config.tiny_input_size or config.input_size} pixels; P(fake) = "
        f"{_sigmoid(config.tiny_temperature, config.tiny_bias)}; {unsure}"
    )
