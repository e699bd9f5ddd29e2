"""The network: its map, its logits, its configuration, and its use by transformers."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fakedet import FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import load_checkpoint, save_checkpoint
from fakedet.network import views
from fakedet.network.processing import FakeDetImageProcessor
from fakedet.network.views import make_views
from train.combine import combine
from train.learning.build import one_network
from train.publishing.model_repo import CODE

BACKBONES = ("efficientnet_b0", "resnet18", "mobilenetv2_100")


def network(backbone: str = "test_efficientnet", **settings) -> FakeDetForImageClassification:
    torch.manual_seed(0)
    model = FakeDetForImageClassification(FakeDetConfig(backbone=backbone, input_size=64, **settings)).eval()
    torch.nn.init.normal_(model.fc1.bias, std=0.5)  # some hidden units off, some on
    return model


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_forward_map_is_grad_cam_as_autograd_computes_it(backbone):
    # Selvaraju et al. 2017: channel weight = mean over positions of dz/dA, map = sum of weight times A.
    model = network(backbone)
    pixels = torch.randn(3, 3, 96, 64)
    features = model.backbone.forward_features(pixels)
    features.retain_grad()
    model.head(features.mean((2, 3))).sum().backward()
    expected = torch.einsum("nc,nchw->nhw", features.grad.mean((2, 3)), features)
    got = model(pixels).cam
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_softmax_of_the_two_logits_is_the_calibrated_probability():
    model = network(calibration_temperature=2.5, calibration_bias=-0.3)
    out = model(torch.randn(4, 3, 64, 64))
    expected = torch.sigmoid(out.logit / 2.5 - 0.3)
    torch.testing.assert_close(out.logits.softmax(-1)[:, 1], expected)


def test_tiny_images_have_their_own_calibration():
    model = network(tiny_side=48, tiny_temperature=0.5, tiny_bias=0.2)
    out = model(torch.randn(2, 3, 64, 64), tiny=torch.tensor([[1], [0]]))
    expected = torch.sigmoid(torch.stack([out.logit[0] / 0.5 + 0.2, out.logit[1]]))
    torch.testing.assert_close(out.logits.softmax(-1)[:, 1], expected)


def test_a_calibration_turns_logits_into_probabilities():
    calibration = FakeDetConfig(calibration_temperature=2.0, calibration_bias=0.5).calibration()
    assert calibration.p_fake(3.0) == pytest.approx(1 / (1 + np.exp(-2.0)))


@pytest.mark.parametrize(("p_fake", "verdict"), [(0.3, "real"), (0.31, "unsure"), (0.79, "unsure"), (0.8, "fake")])
def test_a_calibration_is_unsure_strictly_inside_its_band(p_fake, verdict):
    assert FakeDetConfig(unsure_band=[0.3, 0.8]).calibration().classify(p_fake) == verdict


def test_the_calibration_of_tiny_images_has_its_own_band_and_the_common_threshold():
    config = FakeDetConfig(threshold=0.6, unsure_band=[0.3, 0.8], tiny_unsure_band=[0.6, 0.6])
    assert config.calibration(tiny=True).classify(0.59) == "real"
    assert config.calibration(tiny=True).classify(0.6) == "fake"


def test_the_published_modelling_code_imports_nothing_else_of_fakedet():
    # These files are copied flat beside the weights, for trust_remote_code=True without fakedet.
    for name in CODE:
        tree = ast.parse((Path(views.__file__).parent / name).read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
        relative = {f"{node.module}.py" for node in imports if isinstance(node, ast.ImportFrom) and node.level}
        absolute = {node.module for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
        absolute |= {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
        assert relative <= set(CODE)
        assert not [module for module in absolute if module.split(".")[0] in ("fakedet", "train")]


def pixels_of(picture: Image.Image, config) -> torch.Tensor:
    return torch.from_numpy(make_views(picture, config).pixels)


def test_tiny_images_may_have_smaller_views_and_one_batch_holds_both():
    model = network(tiny_side=40, tiny_input_size=32)
    photo, icon = (Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8))
                   for side in (70, 24))  # fmt: skip
    assert make_views(photo, model.config).pixels.shape[-1] == 64
    small = pixels_of(icon, model.config)
    assert small.shape[-1] == 32
    batch = FakeDetImageProcessor(**model.config.to_dict())([photo, icon])
    got = model(**batch)
    expected = [model(pixels_of(photo, model.config)).logit.mean(), model(small).logit.mean()]
    torch.testing.assert_close(got.logit, torch.stack(expected))
    assert got.cam.shape[2:] == (2, 2)
    alone = FakeDetImageProcessor(**model.config.to_dict())([icon])
    torch.testing.assert_close(model(**alone).logit, expected[1][None])


def test_tiny_images_may_have_their_own_network(tmp_path):
    # A combined checkpoint scores icons and photographs exactly as the two it was made from.
    photos, icons = network(), network(tiny_side=40, tiny_temperature=2.0)
    icons.config.input_size = 32
    torch.nn.init.normal_(icons.fc2.weight)
    both = combine(photos, icons, tiny_side=40)
    pixels = torch.randn(3, 3, 64, 64)
    small = pixels[..., :32, :32]
    torch.testing.assert_close(both(pixels).logit, photos(pixels).logit)
    torch.testing.assert_close(both(small).logit, icons(small).logit)
    torch.testing.assert_close(both(small).cam, icons(small).cam)
    mixed = both(pixels, tiny=torch.tensor([0, 1, 0]))
    torch.testing.assert_close(mixed.logit[1], icons(small).logit[1])
    torch.testing.assert_close(mixed.logits.softmax(-1)[1, 1], torch.sigmoid(icons(small).logit[1] / 2))
    loaded = load_checkpoint(save_checkpoint(both, tmp_path)).model
    torch.testing.assert_close(loaded(small).logit, icons(small).logit)
    with pytest.raises(ValueError, match="tiny_network"):
        FakeDetConfig(tiny_network=True, tiny_input_size=0)
    with pytest.raises(ValueError, match="differ in hidden_size"):
        combine(photos, network(hidden_size=8), tiny_side=40)


@pytest.mark.parametrize("branch", ["main", "tiny"])
def test_a_combined_checkpoint_gives_back_each_network_without_what_was_fitted_on_it(branch):
    photos, icons = network(kinds=["photo", "graphic"], kind_levels=[0], early_exit_views=1), network()
    icons.config.input_size = 32
    torch.nn.init.normal_(icons.fc2.weight)
    single = one_network(combine(photos, icons, tiny_side=40), branch).eval()
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(single(pixels).logit, (icons if branch == "tiny" else photos)(pixels).logit)
    assert (single.config.tiny_network, single.config.tiny_side) == (False, 0)
    assert (single.config.kinds, single.config.early_exit_views) == ([], 0)
    assert single.config.input_size == (32 if branch == "tiny" else 64)


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_the_score_of_an_image_aggregates_its_views_without_padding(aggregate):
    model = network(aggregate=aggregate)
    pixels = torch.randn(2, 4, 3, 64, 64)
    both = model(pixels, view_count=torch.tensor([[4], [2]]))
    first, second = model(pixels[0]).logit, model(pixels[1, :2]).logit
    merge = torch.mean if aggregate == "mean" else torch.max
    torch.testing.assert_close(both.logit, torch.stack([merge(first), merge(second)]))
    assert both.cam.shape == (2, 4, 2, 2)
    assert (both.cam[1, 2:] == 0).all()


def test_the_loss_is_binary_cross_entropy_and_reaches_every_parameter():
    model = network().train()
    out = model(torch.randn(8, 3, 64, 64), labels=torch.tensor([0, 1] * 4))
    out.loss.backward()
    assert out.loss.item() == pytest.approx(0.69, abs=0.5)
    assert all(p.grad is not None for p in model.parameters())


def test_labels_are_always_real_0_and_fake_1():
    assert FakeDetConfig(id2label={0: "fake", 1: "real"}).id2label == {0: "real", 1: "fake"}


@pytest.mark.parametrize(
    "wrong",
    [{"input_size": 5}, {"calibration_temperature": 0}, {"unsure_band": [0.6, 0.7]}, {"threshold": "high"},
     {"max_views": 2.5}, {"aggregate": "vote"}, {"image_std": [0, 0, 0]}, {"dropout": float("nan")}],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FakeDetConfig(**wrong)


def test_a_backbone_without_a_feature_map_is_refused():
    model = FakeDetForImageClassification(FakeDetConfig(backbone="test_vit", input_size=160))
    with pytest.raises(ValueError, match="convolutional"):
        model(torch.zeros(1, 3, 160, 160))


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_transformers_finds_model_and_processor_by_folder(tmp_path):
    # The Auto classes and pipeline() work after `import fakedet`; a batch may mix sizes.
    from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

    save_checkpoint(network(), tmp_path)
    model = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(model, FakeDetForImageClassification)
    assert processor.input_size == 64
    classify = pipeline("image-classification", model=str(tmp_path))
    pictures = [image(300, 200), image(40, 40), image(64, 90)]
    one_by_one = [classify(picture) for picture in pictures]
    together = classify(pictures, batch_size=3)
    for single, batched, picture in zip(one_by_one, together, pictures, strict=True):
        inputs = processor(picture)
        expected = model(**inputs).logits.softmax(-1)[0, 1].item()
        for answer in (single, batched):
            assert {row["label"]: row["score"] for row in answer}["fake"] == pytest.approx(expected, abs=1e-5)


def test_half_precision_files_are_computed_in_float32(tmp_path):
    model = network()
    save_checkpoint(model, tmp_path, half=True)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"
    loaded = FakeDetForImageClassification.from_pretrained(tmp_path).eval()
    assert loaded.fc1.weight.dtype == torch.float32
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded(pixels).logit, model(pixels).logit, atol=5e-3, rtol=5e-3)
