"""From an image to a verdict in Python, with the bundled checkpoint."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import photo_like
from detector_material import EXAMPLES, ROOT, make_folder
from image_material import SHARED, STORED_AS, needs_shared
from PIL import Image, ImageOps

from fakedet import Detector, ImageError
from fakedet.detector import Failure
from fakedet.network.heatmap import assemble, overlay

GOLDEN = ROOT / "tests" / "golden.json"
KEYS = {"schema", "file", "verdict", "p_fake", "logit", "threshold", "unsure_band", "generator", "provenance", "kind",
        "decided_by", "pixel_verdict", "stability", "p_photo", "notes", "image", "views", "model", "ms"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_have_the_golden_scores(path, detector):
    # Rewrite tests/golden.json with `python tests/golden.py` only when the bundled checkpoint is replaced.
    golden = json.loads(GOLDEN.read_text())[path.name]
    verdict = detector.predict(path)
    assert verdict.p_fake == pytest.approx(golden["p_fake"], abs=1e-3)
    assert verdict.verdict == golden["verdict"]


def test_pipeline_gives_the_same_probability(detector):
    from transformers import pipeline

    classify = pipeline("image-classification", model=str(detector.checkpoint.folder))
    for path in EXAMPLES:
        scores = {row["label"]: row["score"] for row in classify(str(path))}
        assert scores["fake"] == pytest.approx(detector.predict(path).p_fake, abs=1e-3)


def test_path_bytes_pil_and_array_get_the_same_score(detector):
    path = EXAMPLES[0]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        scores = [detector.predict(source).logit for source in (path, path.read_bytes(), picture, pixels)]
    assert scores == pytest.approx([scores[0]] * 4, abs=1e-5)


def test_the_json_has_every_key_of_the_schema(detector):
    answer = detector.predict(EXAMPLES[0]).to_dict()
    assert set(answer) == KEYS
    assert answer["schema"] == "1"
    assert json.loads(json.dumps(answer)) == answer
    assert answer["image"].keys() == {"sha256", "format", "mode", "width", "height", "bytes"}
    assert answer["model"]["id"] == "bundled"
    assert answer["ms"].keys() == {
        "decode",
        "views",
        "network",
        "provenance",
        "total",
    }


def test_a_declared_generator_decides_and_the_verdict_of_the_pixels_is_kept(detector, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a <b>castle</b>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64")
    Image.open(EXAMPLES[-1]).convert("RGB").save(tmp_path / "a.png", pnginfo=info)
    verdict = detector.predict(tmp_path / "a.png")
    assert (verdict.verdict, verdict.decided_by, verdict.headline) == ("fake", "declared_ai", "AI-generated (declared)")
    plain = Detector(detector.checkpoint, provenance=False).predict(tmp_path / "a.png")
    assert plain.provenance is None
    assert plain.p_fake == verdict.p_fake
    assert plain.verdict == verdict.pixel_verdict


def test_many_images_keep_their_order_and_one_bad_file_is_one_row(detector, folder):
    paths = [folder / name for name in ("a.jpg", "empty.jpg", "sub/b.png", "cut.jpg", "c.webp")]
    answers = list(detector.predict_many(paths, batch_size=2))
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False, True, False]
    assert [answer.file for answer in answers] == [str(path) for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        if not isinstance(answer, Failure):
            assert answer.p_fake == pytest.approx(detector.predict(path).p_fake, abs=1e-4)


def test_only_what_lies_strictly_inside_the_band_is_unsure(detector, monkeypatch):
    monkeypatch.setattr(detector.config, "unsure_band", [0.3, 0.8])
    answers = [detector.classify(p) for p in (0.1, 0.3, 0.31, 0.5, 0.79, 0.8, 0.9)]
    assert answers == ["real", "real", "unsure", "unsure", "unsure", "fake", "fake"]
    assert detector.calibrate(-1e6) == 0
    assert detector.calibrate(1e6) == 1


def test_icons_and_photographs_of_one_batch_may_have_views_of_different_sides(tmp_path, detector):
    # A checkpoint may use smaller views for icons; this must not change order, scores or the pipeline's answers.
    from transformers import pipeline

    from fakedet.hub import save_checkpoint
    from fakedet.network.configuration import FakeDetConfig
    from fakedet.network.model import FakeDetForImageClassification

    config = detector.config.to_dict() | {"input_size": 96, "tiny_side": 48, "tiny_input_size": 64}
    model = FakeDetForImageClassification(FakeDetConfig.from_dict(config))
    model.load_state_dict(detector.checkpoint.model.state_dict())
    mixed = Detector.from_pretrained(save_checkpoint(model, tmp_path / "model"))
    rng, pictures = np.random.default_rng(3), []
    for number, side in enumerate((200, 32, 120, 40)):
        pictures.append(tmp_path / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(pictures[-1])
    single = [mixed.predict(path, heatmap=True) for path in pictures]
    together = list(mixed.predict_many(pictures, heatmap=True))
    assert [verdict.file for verdict in together] == [str(path) for path in pictures]
    classify = pipeline("image-classification", model=str(tmp_path / "model"))
    for one, many, path in zip(single, together, pictures, strict=True):
        assert many.logit == pytest.approx(one.logit, abs=1e-3)
        assert many.overlay().size == one.overlay().size
        assert {row["label"]: row["score"] for row in classify(str(path))}["fake"] == pytest.approx(
            one.p_fake, abs=1e-3
        )
    # the views of an icon are those of the bundled checkpoint, which also have 64 pixels
    assert single[1].logit == pytest.approx(detector.predict(pictures[1]).logit, abs=1e-3)


def test_a_tiny_image_gets_a_note(detector, folder):
    assert any("tiny" in note for note in detector.predict(folder / "sub" / "b.png").notes)


def test_a_very_long_strip_is_refused(detector):
    with pytest.raises(ImageError, match="64 times"):
        detector.predict(Image.new("RGB", (5000, 8)))


def test_the_overlay_marks_the_peak_of_the_map(detector):
    # Evidence in one corner must be drawn in that corner, at the aspect ratio of the image.
    maps = np.zeros((1, 3, 3), np.float32)
    maps[0, 0, 0] = 1
    placed = assemble(maps, ((100, 0, 200, 100),), (False,), (200, 100))
    assert placed.shape == (48, 96)
    assert np.isnan(placed[:, :40]).all()
    row, column = np.unravel_index(np.nanargmax(placed), placed.shape)
    assert row < 10
    assert 45 <= column < 60
    mirrored = assemble(maps, ((0, 0, 100, 100),), (True,), (100, 100))
    assert np.unravel_index(np.nanargmax(mirrored), mirrored.shape)[1] > 60
    grey = Image.new("RGB", (200, 100), (128, 128, 128))
    drawn = np.asarray(overlay(grey, np.nan_to_num(placed))).astype(int)
    changed = np.abs(drawn - 128).sum(-1)
    assert changed[:, : drawn.shape[1] // 3].max() == 0
    assert changed.max() > 50


def test_an_overlay_needs_predict_with_a_heat_map(detector, folder):
    verdict = detector.predict(folder / "a.jpg", heatmap=True)
    assert verdict.heatmap.min() >= 0
    assert verdict.heatmap.max() <= 1
    assert verdict.overlay().size == (300, 200)
    with pytest.raises(ValueError, match="heatmap=True"):
        detector.predict(folder / "a.jpg").overlay()


def test_a_prompt_with_markup_is_shown_as_text(detector, tmp_path):
    # The panel of the page is HTML made from a stranger's text.
    from PIL.PngImagePlugin import PngInfo

    from fakedet.web import answer

    info = PngInfo()
    prompt = "<img src=x onerror=alert(1)> **bold**"
    info.add_text("parameters", prompt + "\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5")
    Image.open(EXAMPLES[-1]).convert("RGB").save(tmp_path / "a.png", pnginfo=info)
    verdict = detector.predict(tmp_path / "a.png")
    for html in (answer.provenance(verdict), answer.verdict_card(verdict)):
        assert "<img" not in html
        assert "<script" not in html
    assert "onerror" in answer.provenance(verdict)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_the_eight_orientations_of_one_photo_score_the_same(detector, kind):
    # stored without loss, so that nothing but the turn differs
    scores = []
    for orientation, turned in STORED_AS.items():
        exif, buffer = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(turned(np.asarray(photo_like(400, 300)))))
        stored.save(buffer, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
        scores.append(detector.predict(buffer.getvalue()).p_fake)
    assert len(scores) == 8
    assert max(scores) - min(scores) < 1e-3


@pytest.mark.shared
@needs_shared
def test_a_known_photo_scores_as_its_upright_pixels_in_every_orientation(detector):
    # the copies in that folder were compressed anew one by one, so they are compared with their own pixels
    for path in sorted((SHARED / "pillow").glob("hopper_orientation_*")):
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        assert abs(detector.predict(path).p_fake - detector.predict(upright).p_fake) < 1e-3, path.name
        for orientation, turned in STORED_AS.items():  # and these pixels, stored in all eight ways
            exif, buffer = Image.Exif(), io.BytesIO()
            exif[0x0112] = orientation
            Image.fromarray(np.ascontiguousarray(turned(np.asarray(upright)))).save(buffer, "PNG", exif=exif)
            assert abs(detector.predict(path).p_fake - detector.predict(buffer.getvalue()).p_fake) < 1e-3, path.name
