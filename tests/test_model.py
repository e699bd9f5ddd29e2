"""The network: its map, its logits, its configuration, and how it looks to transformers."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fakedet import FakeDetConfig, FakeDetForImageClassification
from fakedet.hub import load_checkpoint, save_checkpoint
from fakedet.network.processing import FakeDetImageProcessor
from fakedet.network.views import make_views
from train.combine import combine
from train.learning.build import one_network

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


def test_tiny_images_have_a_calibration_of_their_own():
    model = network(tiny_side=48, tiny_temperature=0.5, tiny_bias=0.2)
    out = model(torch.randn(2, 3, 64, 64), tiny=torch.tensor([[1], [0]]))
    expected = torch.sigmoid(torch.stack([out.logit[0] / 0.5 + 0.2, out.logit[1]]))
    torch.testing.assert_close(out.logits.softmax(-1)[:, 1], expected)


def test_tiny_images_may_have_smaller_views_and_one_batch_holds_both():
    model = network(tiny_side=40, tiny_input_size=32)
    photo, icon = (Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8))
                   for side in (70, 24))  # fmt: skip
    assert make_views(photo, model.config).pixels.shape[-1] == 64
    small = make_views(icon, model.config).pixels
    assert small.shape[-1] == 32
    batch = FakeDetImageProcessor(**model.config.to_dict())([photo, icon])
    got = model(**batch)
    expected = [model(make_views(photo, model.config).pixels).logit.mean(), model(small).logit.mean()]
    torch.testing.assert_close(got.logit, torch.stack(expected))
    assert got.cam.shape[2:] == (2, 2)
    alone = FakeDetImageProcessor(**model.config.to_dict())([icon])
    torch.testing.assert_close(model(**alone).logit, expected[1][None])


def test_tiny_images_may_have_a_network_of_their_own(tmp_path):
    # One checkpoint for icons and photographs: each is scored exactly as by the checkpoint that it came from.
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
def test_training_goes_on_with_one_network_for_images_of_every_size(branch):
    photos, icons = network(), network()
    icons.config.input_size = 32
    torch.nn.init.normal_(icons.fc2.weight)
    single = one_network(combine(photos, icons, tiny_side=40), branch).eval()
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(single(pixels).logit, (icons if branch == "tiny" else photos)(pixels).logit)
    assert (single.config.tiny_network, single.config.tiny_side) == (False, 0)
    assert single.config.input_size == (32 if branch == "tiny" else 64)


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_an_image_of_several_views_scores_as_its_views_do_and_padding_does_not_count(aggregate):
    model = network(aggregate=aggregate)
    pixels = torch.randn(2, 4, 3, 64, 64)
    both = model(pixels, view_count=torch.tensor([[4], [2]]))
    first, second = model(pixels[0]).logit, model(pixels[1, :2]).logit
    merge = torch.mean if aggregate == "mean" else torch.max
    torch.testing.assert_close(both.logit, torch.stack([merge(first), merge(second)]))
    assert both.cam.shape == (2, 4, 2, 2) and (both.cam[1, 2:] == 0).all()


def test_the_loss_is_binary_cross_entropy_and_reaches_every_parameter():
    model = network().train()
    out = model(torch.randn(8, 3, 64, 64), labels=torch.tensor([0, 1] * 4))
    out.loss.backward()
    assert out.loss.item() == pytest.approx(0.69, abs=0.5)
    assert all(p.grad is not None for p in model.parameters())


def test_labels_are_real_0_and_fake_1_whatever_was_asked():
    assert FakeDetConfig(id2label={0: "fake", 1: "real"}).id2label == {0: "real", 1: "fake"}


@pytest.mark.parametrize(
    "wrong",
    [{"input_size": 5}, {"calibration_temperature": 0}, {"unsure_band": [0.6, 0.7]}, {"threshold": "high"},
     {"max_views": 2.5}, {"aggregate": "vote"}, {"image_std": [0, 0, 0]}, {"dropout": float("nan")}],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FakeDetConfig(**wrong)


def test_a_backbone_without_a_feature_map_says_so():
    model = FakeDetForImageClassification(FakeDetConfig(backbone="test_vit", input_size=160))
    with pytest.raises(ValueError, match="convolutional"):
        model(torch.zeros(1, 3, 160, 160))


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(32, 32), (20, 90), (64, 64), (70, 70), (300, 64), (200, 500), (1000, 700)])
def test_views_are_square_inside_the_image_and_never_squashed(size):
    config = FakeDetConfig(input_size=64, max_views=9)
    views = make_views(image(*size), config)
    assert views.pixels.shape == (len(views.boxes), 3, 64, 64) and 1 <= len(views.boxes) <= 9
    for left, top, right, bottom in views.boxes:
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        assert abs((right - left) - (bottom - top)) <= 2
        if min(size) >= 64:
            assert right - left == 64


def test_large_images_are_seen_at_native_pixels():
    # The forensic trace is in the pixels: the crop must be the image's own values, not resampled ones.
    picture = image(500, 400)
    config = FakeDetConfig(input_size=64, image_mean=(0, 0, 0), image_std=(1, 1, 1))
    views = make_views(picture, config)
    for pixels, box in zip(views.pixels, views.boxes, strict=True):
        native = torch.from_numpy(np.asarray(picture.crop(box)).copy()).permute(2, 0, 1) / 255
        torch.testing.assert_close(pixels, native)


def test_a_small_picture_is_not_looked_at_again_and_again():
    config = FakeDetConfig(input_size=128, few_views_area=5.0)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    few = make_views(Image.fromarray(pixels), config)
    assert len(few.boxes) == 5
    seen = np.zeros((256, 256), bool)
    for left, top, right, bottom in few.boxes:
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert len(make_views(Image.fromarray(pixels).resize((300, 300)), config).boxes) == 9


def test_the_whole_picture_is_seen_beside_native_crops():
    # What is wrong with a picture may be larger than a crop: middle and ends come first, shrunk, then native pixels.
    picture = image(900, 300)
    config = FakeDetConfig(input_size=64, whole_views=3, image_mean=(0,) * 3, image_std=(1,) * 3)
    views = make_views(picture, config)
    assert len(views.boxes) == 9
    assert views.boxes[:3] == ((300, 0, 600, 300), (0, 0, 300, 300), (600, 0, 900, 300))
    small = picture.resize((192, 64), Image.Resampling.BICUBIC, reducing_gap=2.0).crop((64, 0, 128, 64))
    torch.testing.assert_close(views.pixels[0], torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1) / 255)
    native = torch.from_numpy(np.asarray(picture.crop(views.boxes[3])).copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(views.pixels[3], native)
    assert make_views(picture, config, max_views=1).boxes == views.boxes[:1]
    shared = FakeDetConfig(
        input_size=64, whole_views=1, crop_scale=2.0
    )  # crops of the picture as if it had been shared
    boxes = make_views(picture, shared).boxes
    assert boxes[0] == (300, 0, 600, 300) and {right - left for left, _, right, _ in boxes[1:]} <= {150, 151}
    few = FakeDetConfig(input_size=64, whole_views=3, few_views_area=3.0)  # small: the whole and two opposite corners
    assert make_views(image(110, 104), few).boxes == ((3, 0, 107, 104), (0, 0, 64, 64), (46, 40, 110, 104))
    # where native crops show as good as all of it there is no need of another
    assert all(right - left == 64 for left, _, right, _ in make_views(image(100, 80), config).boxes)


def test_squashing_shows_the_whole_picture_in_one_view():
    picture, config = image(500, 300), FakeDetConfig(input_size=64, squash=True)
    views = make_views(picture, config)
    assert views.boxes == ((0, 0, 500, 300),) * 2 and views.mirrored == (False, True)
    whole = make_views(picture.resize((64, 64), Image.Resampling.BICUBIC), config)
    torch.testing.assert_close(views.pixels, whole.pixels)


def test_a_picture_that_fits_one_view_is_also_seen_mirrored():
    views = make_views(image(64, 64), FakeDetConfig(input_size=64))
    assert views.mirrored == (False, True)
    torch.testing.assert_close(views.pixels[0].flip(-1), views.pixels[1])


def test_transformers_finds_model_and_processor_by_folder(tmp_path):
    # The Auto classes and pipeline() work after `import fakedet`; a batch may mix sizes.
    from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

    save_checkpoint(network(), tmp_path)
    model = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(model, FakeDetForImageClassification) and processor.input_size == 64
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
