"""The samples of a training epoch: weights, order, augmentation and views, without a training."""

import io
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from test_finetune import TINY, make_data
from torch.utils.data import DataLoader

from fakedet.network.configuration import FakeDetConfig
from train.data.augment import PRESETS, Augment, augment
from train.data.loading import Source
from train.data.mix import make_mix
from train.data.sampling import BalancedTrainDataset, sample_weights
from train.learning.build import build_model
from train.learning.options import parse


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "made")


def test_a_sample_depends_on_seed_epoch_and_place_alone(data):
    # This is what makes resume and several processes exact.
    train = datasets.load_from_disk(str(data))["train"].cast_column("image", datasets.Image(decode=False))
    config = build_model(parse(["--train_dir", "x", *TINY])).config
    first, second = (
        BalancedTrainDataset([(Source("x", augment="degrade"), train)], config, 40, seed=5) for _ in range(2)
    )
    assert torch.equal(first[17][0], second[17][0])
    second.plan_epoch(1)
    assert not torch.equal(first[17][0], second[17][0])


def test_the_loader_samples_the_epoch_that_was_planned(data):
    # accelerate resets a data set's `set_epoch` to 0 for each new loader: once, that made every epoch the same samples.
    from accelerate import Accelerator

    train = datasets.load_from_disk(str(data))["train"].cast_column("image", datasets.Image(decode=False))
    config = build_model(parse(["--train_dir", "x", *TINY])).config
    samples = BalancedTrainDataset([(Source("x"), train)], config, 16, seed=5)
    samples.plan_epoch(3)
    expected = torch.stack([samples[index][0] for index in range(16)])
    pixels, _ = next(iter(Accelerator(cpu=True).prepare(DataLoader(samples, 16))))
    assert torch.equal(pixels, expected)


def test_balanced_samples_give_classes_and_small_sources_their_share():
    rows = {"label": [0] * 90 + [1] * 10, "source": ["big"] * 80 + ["small"] * 10 + ["fakes"] * 10}
    weights = sample_weights(datasets.Dataset.from_dict(rows), ["source"], max_weight=4.0)
    assert weights[:90].sum() == pytest.approx(0.5) and weights[80:90].mean() > 2 * weights[:80].mean()


def test_an_unreadable_image_is_skipped_by_name_and_many_stop_the_run(data, caplog):
    train = datasets.load_from_disk(str(data))["train"].cast_column("image", datasets.Image(decode=False))
    rows = train.to_list()
    rows[3]["image"] = {"bytes": b"not an image", "path": "broken.png"}
    config = build_model(parse(["--train_dir", "x", *TINY])).config
    broken = datasets.Dataset.from_list(rows, features=train.features)
    samples = BalancedTrainDataset([(Source("x"), broken)], config, 64, seed=5)
    at = [index for index in range(64) if samples.plan[index][1] == 3]
    assert samples[at[0]][0].shape == (3, 32, 32) and "broken.png" in caplog.text
    with pytest.raises(RuntimeError, match="over 1 % of the images"):
        [samples[at[0]] for _ in range(3)]


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


def test_both_classes_are_sampled_equally_inside_each_collection_and_the_rest_less_often():
    # Where one collection holds portraits that are all fake, portraits must not come to mean fake.
    counts = {("a", 0): 30, ("a", 1): 10, ("b", 0): 5, ("b", 1): 20, ("faces", 1): 40, ("rooms", 0): 15}
    rows = [(source, label) for (source, label), count in counts.items() for _ in range(count)]
    table = datasets.Dataset.from_dict({"source": [r[0] for r in rows], "label": [r[1] for r in rows]})
    weights = sample_weights(table, [], 4.0, match="source", unmatched=0.5)
    weight_of = {key: sum(w for w, row in zip(weights, rows, strict=True) if row == key) for key in counts}
    for source in ("a", "b"):
        assert weight_of[source, 0] == pytest.approx(weight_of[source, 1])
    assert weight_of["faces", 1] == pytest.approx(weight_of["rooms", 0])
    plain = sample_weights(table, [], 4.0)
    share = sum(w for w, row in zip(plain, rows, strict=True) if row[0] in ("faces", "rooms"))
    assert weight_of["faces", 1] + weight_of["rooms", 0] < 0.7 * share


def test_icons_and_photographs_are_trained_in_views_of_their_own_side():
    def images(side: int) -> datasets.Dataset:
        rng = np.random.default_rng(side)
        rows = [{"image": Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)), "label": i % 2}
                for i in range(20)]  # fmt: skip
        made = datasets.Dataset.from_list(
            rows, features=datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
        )
        return made.cast_column("image", datasets.Image(decode=False))

    parts = [(Source("photos", share=0.7), images(100)), (Source("icons", share=0.3, size=32), images(24))]
    samples = BalancedTrainDataset(parts, FakeDetConfig(input_size=64), 50, seed=1, batch=8)
    sides = [pixels.shape[-1] for pixels, _ in DataLoader(samples, batch_size=8)]  # a mixed batch could not be stacked
    assert len(sides) == 7 and sides.count(32) == 1


def test_training_sees_what_scoring_sees():
    # A large photograph is scored as a whole and made smaller: a network continued on it must not learn a corner.
    ramp = np.linspace(0, 255, 900).astype(np.uint8)[None, :, None].repeat(600, 0).repeat(3, 2)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    rows = datasets.Dataset.from_list([{"image": {"bytes": buffer.getvalue(), "path": None}, "label": 0}] * 2)

    def spread(**settings) -> list[float]:
        config = FakeDetConfig(input_size=64, image_mean=(0,) * 3, image_std=(1,) * 3, **settings)
        samples = BalancedTrainDataset([(Source("made", augment="none"), rows)], config, 24, 0)
        return [float(samples[index][0].max() - samples[index][0].min()) for index in range(24)]

    assert max(spread()) < 0.1  # 64 of 900 native pixels
    spreads = spread(whole_views=3, crop_scale=2.0)
    assert (
        min(spreads) > 0.3 and 6 <= sum(value > 0.6 for value in spreads) <= 18
    )  # two thirds of the width, half as often


def test_sharpening_raises_contrast_at_edges():
    half = Image.new("RGB", (64, 64), (100, 100, 100))
    half.paste((150, 150, 150), (32, 0, 64, 64))
    sharp = augment(half, np.random.default_rng(0), Augment(sharpen=1.0, flip=0.0))
    assert np.asarray(sharp).max() > 155 and np.asarray(sharp).min() < 95
