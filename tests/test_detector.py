"""From a picture to a verdict, in Python and on the command line, with the bundled checkpoint."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import photo_like
from PIL import Image, ImageOps
from test_images import SHARED, STORED_AS, needs_shared

from fakedet import Detector, ImageError
from fakedet.detector import Failure
from fakedet.network.heatmap import assemble, overlay

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples" / "images").iterdir())
GOLDEN = ROOT / "tests" / "golden.json"
KEYS = {"schema", "file", "verdict", "p_fake", "logit", "threshold", "unsure_band", "generator", "provenance",
        "decided_by", "pixel_verdict", "stability", "notes", "image", "views", "model", "ms"}  # fmt: skip


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.from_pretrained()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images with one of each kind of trouble between them."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, size in {"a.jpg": (300, 200), "sub/b.png": (40, 40), "c.webp": (120, 400)}.items():
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(root / name)
    (root / "empty.jpg").touch()
    (root / "text.png").write_text("this is not an image")
    (root / "cut.jpg").write_bytes((root / "a.jpg").read_bytes()[:9000])
    (root / "notes.txt").write_text("left out of a folder's walk")
    Image.new("1", (9000, 9000)).save(root / "huge.png")
    return root


def run(*words, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "fakedet", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_score_what_they_always_did(path, detector):
    # Rewrite tests/golden.json with `python tests/golden.py` when the bundled checkpoint is exchanged, never otherwise.
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


def test_path_bytes_pil_and_array_are_one_picture(detector):
    path = EXAMPLES[0]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        scores = [detector.predict(source).logit for source in (path, path.read_bytes(), picture, pixels)]
    assert scores == pytest.approx([scores[0]] * 4, abs=1e-5)


def test_the_json_has_every_key_of_the_schema(detector):
    answer = detector.predict(EXAMPLES[0]).to_dict()
    assert set(answer) == KEYS and answer["schema"] == "1"
    assert json.loads(json.dumps(answer)) == answer
    assert answer["image"].keys() == {"sha256", "format", "mode", "width", "height", "bytes"}
    assert answer["model"]["id"] == "bundled" and answer["ms"].keys() == {
        "decode",
        "views",
        "network",
        "provenance",
        "total",
    }


def test_a_declared_generator_decides_and_the_pixels_still_say_theirs(detector, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a <b>castle</b>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64")
    Image.open(EXAMPLES[-1]).convert("RGB").save(tmp_path / "a.png", pnginfo=info)
    verdict = detector.predict(tmp_path / "a.png")
    assert (verdict.verdict, verdict.decided_by, verdict.headline) == ("fake", "declared_ai", "AI-generated (declared)")
    plain = Detector(detector.checkpoint, provenance=False).predict(tmp_path / "a.png")
    assert plain.provenance is None and plain.p_fake == verdict.p_fake and plain.verdict == verdict.pixel_verdict


def test_many_images_keep_their_order_and_one_bad_file_is_one_row(detector, folder):
    paths = [folder / name for name in ("a.jpg", "empty.jpg", "sub/b.png", "cut.jpg", "c.webp")]
    answers = list(detector.predict_many(paths, batch_size=2))
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False, True, False]
    assert [answer.file for answer in answers] == [str(path) for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        if not isinstance(answer, Failure):
            assert answer.p_fake == pytest.approx(detector.predict(path).p_fake, abs=1e-4)


def test_unsure_is_what_lies_strictly_inside_the_band(detector, monkeypatch):
    monkeypatch.setattr(detector.config, "unsure_band", [0.3, 0.8])
    answers = [detector.classify(p) for p in (0.1, 0.3, 0.31, 0.5, 0.79, 0.8, 0.9)]
    assert answers == ["real", "real", "unsure", "unsure", "unsure", "fake", "fake"]
    assert detector.calibrate(-1e6) == 0 and detector.calibrate(1e6) == 1


def test_icons_and_photographs_of_one_batch_may_have_views_of_different_sides(tmp_path, detector):
    # A checkpoint may look at icons in smaller views; order, scores and the pipeline's answers must not care.
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
    # an icon is seen exactly as the bundled checkpoint sees it, whose views have that side everywhere
    assert single[1].logit == pytest.approx(detector.predict(pictures[1]).logit, abs=1e-3)


def test_a_tiny_picture_gets_a_warning(detector, folder):
    assert any("tiny" in note for note in detector.predict(folder / "sub" / "b.png").notes)


def test_a_very_long_strip_is_refused_not_blown_up(detector):
    with pytest.raises(ImageError, match="64 times"):
        detector.predict(Image.new("RGB", (5000, 8)))


def test_the_overlay_marks_the_place_that_the_map_names(detector):
    # Evidence in one corner must be drawn in that corner, at the image's aspect.
    maps = np.zeros((1, 3, 3), np.float32)
    maps[0, 0, 0] = 1
    placed = assemble(maps, ((100, 0, 200, 100),), (False,), (200, 100))
    assert placed.shape == (48, 96) and np.isnan(placed[:, :40]).all()
    row, column = np.unravel_index(np.nanargmax(placed), placed.shape)
    assert row < 10 and 45 <= column < 60
    mirrored = assemble(maps, ((0, 0, 100, 100),), (True,), (100, 100))
    assert np.unravel_index(np.nanargmax(mirrored), mirrored.shape)[1] > 60
    grey = Image.new("RGB", (200, 100), (128, 128, 128))
    drawn = np.asarray(overlay(grey, np.nan_to_num(placed))).astype(int)
    changed = np.abs(drawn - 128).sum(-1)
    assert changed[:, : drawn.shape[1] // 3].max() == 0 and changed.max() > 50


def test_predict_with_a_heat_map_gives_a_picture(detector, folder):
    verdict = detector.predict(folder / "a.jpg", heatmap=True)
    assert verdict.heatmap.min() >= 0 and verdict.heatmap.max() <= 1 and verdict.overlay().size == (300, 200)
    with pytest.raises(ValueError, match="heatmap=True"):
        detector.predict(folder / "a.jpg").overlay()


def test_the_command_line_answers_in_words_and_in_json(folder, detector):
    words = run("predict", EXAMPLES[0])
    assert words.returncode == 0 and "%" in words.stdout and "Traceback" not in words.stderr
    lines = run("predict", EXAMPLES[0], EXAMPLES[1], "--json")
    answers = [json.loads(line) for line in lines.stdout.splitlines()]
    assert lines.returncode == 0 and [answer["file"] for answer in answers] == [str(path) for path in EXAMPLES[:2]]
    assert answers[0]["p_fake"] == pytest.approx(detector.predict(EXAMPLES[0]).p_fake, abs=1e-3)


@pytest.mark.parametrize("name", ["empty.jpg", "text.png", "cut.jpg", "huge.png", "missing.jpg"])
def test_what_cannot_be_read_is_told_in_one_line(name, folder):
    done = run("predict", folder / name)
    lines = [line for line in done.stderr.splitlines() if "cannot be scored" in line]
    assert done.returncode == 2 and len(lines) == 1 and name in lines[0] and "Traceback" not in done.stderr


def test_a_folder_is_walked_and_bad_files_cost_only_the_exit_code(folder, tmp_path):
    done = run("predict", folder, "--json", "--save", tmp_path / "maps")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2 and len(answers) == 7 and sum("error" in answer for answer in answers) == 4
    assert len(list((tmp_path / "maps").iterdir())) == 3


def test_a_model_that_cannot_be_had_is_told_in_one_line(tmp_path):
    done = run("predict", EXAMPLES[0], "--model", tmp_path)
    assert done.returncode == 2 and done.stderr.strip() == "the checkpoint has no config.json"


def test_info_names_the_model():
    facts = json.loads(run("info", "--json").stdout)
    assert facts["id"] == "bundled" and len(facts["sha256"]) == 64


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
        assert "<img" not in html and "<script" not in html
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
    assert len(scores) == 8 and max(scores) - min(scores) < 1e-3


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


def test_a_file_name_is_no_command_to_the_terminal(tmp_path):
    # names with line ends, escape sequences and bytes that are no UTF-8, of a picture and of a broken file
    for name in (b"a\n\x1b[31mred.png", b"caf\xe9.png", b"-rf.png"):
        Image.new("RGB", (64, 64)).save(os.path.join(os.fsencode(tmp_path), name).decode("utf-8", "surrogateescape"))
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"bad\x1b[2J\xff.jpg"))).write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    for flags in ([], ["--json"]):
        done = subprocess.run([sys.executable, "-m", "fakedet", "predict", *flags, "--", str(tmp_path)],
                              cwd=ROOT, capture_output=True, timeout=120)  # fmt: skip
        assert done.returncode == 2 and b"Traceback" not in done.stderr, done.stderr
        assert b"\x1b" not in done.stdout + done.stderr.replace(b"\x1b[A", b"")
    assert len(done.stdout.splitlines()) == 6
