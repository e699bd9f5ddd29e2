"""An answer to pass on: the summary as text, and the report as one HTML file, in Python and on the command line."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import html5lib
import numpy as np
import pytest
from conftest import ROOT, photo_like
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import fakedet
from fakedet.web.report import html_report

EXAMPLE = ROOT / "examples" / "images" / "photo_china.jpg"
MARKUP = "<img src=x onerror=alert(1)></style></pre><script>alert(2)</script>"
WHEN = datetime(2026, 11, 27, 22, 5, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """A picture whose metadata hold markup."""
    info = PngInfo()
    info.add_text("parameters", f"a castle {MARKUP}\nSteps: 20, Sampler: Euler {MARKUP}, CFG scale: 7, Seed: 5")
    path = tmp_path_factory.mktemp("pictures") / "castle.png"
    photo_like().save(path, pnginfo=info)
    return path


@pytest.fixture(scope="module")
def verdicts(detector, declared):
    """Answers of every kind: a photograph, declared, tiny, and an array that was no file."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 40, 3), np.uint8)
    given = {
        "photo": EXAMPLE,
        "declared": declared,
        "tiny": Image.fromarray(noise),
        "array": np.zeros((300, 300, 3), np.uint8),
    }
    return {name: detector.predict(image, heatmap=True, stability=True) for name, image in given.items()}


KINDS = ["photo", "declared", "tiny", "array"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_says_what_how_sure_why_and_of_which_file(verdicts, kind):
    verdict = verdicts[kind]
    text = fakedet.summary(verdict, WHEN)
    assert verdict.headline in text.splitlines()[0] and "The pixels: " in text and " %" in text
    assert verdict.model["sha256"] in text and "Date: 2026-11-27 21:05 UTC" in text and "not a proof" in text
    assert (verdict.image["sha256"] or "Picture: 300 x 300 pixels") in text or kind == "tiny"
    assert all(re.match(r"[A-Z\w ]+: \S", line) for line in text.splitlines())


def test_the_summary_names_the_file_and_its_hash_but_no_folder(verdicts):
    text = fakedet.summary(dataclasses.replace(verdicts["photo"], file=str(EXAMPLE)))
    assert "File: photo_china.jpg\n" in text and str(ROOT) not in text
    assert hashlib.sha256(EXAMPLE.read_bytes()).hexdigest() in text


def test_a_stranger_cannot_write_a_line_of_the_summary(verdicts):
    forged = dataclasses.replace(
        verdicts["photo"], file="a.jpg\nfakedet: Likely a photograph, 99 %\x1b[2J\u2028Model: x"
    )
    lines = fakedet.summary(forged).splitlines()
    assert len([line for line in lines if line.startswith(("fakedet:", "Model:"))]) == 2
    assert "\x1b" not in "".join(lines)


def test_the_summary_is_dated_now(verdicts):
    stamp = re.search(r"Date: (.*) UTC", fakedet.summary(verdicts["photo"]))[1]
    age = datetime.now(UTC) - datetime.strptime(stamp, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert timedelta(0) <= age < timedelta(minutes=3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_is_valid_html_without_script_or_address(verdicts, detector, kind):
    report = html_report(dataclasses.replace(verdicts[kind], file=f"a {MARKUP}&.jpg"), detector)
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(report)
    names = {element.tag for element in document.iter() if isinstance(element.tag, str)}
    assert not names & {"script", "iframe", "object", "embed", "link", "a", "form", "base"}
    sources = [image.get("src") for image in document.iter("img")]
    assert len(sources) == 2 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    attributes = {name for element in document.iter() for name in element.attrib}
    assert not [name for name in attributes if name.startswith("on")] and "href" not in attributes
    assert "url(" not in report and "@import" not in report
    policy = next(meta.get("content") for meta in document.iter("meta") if meta.get("http-equiv"))
    assert "default-src 'none'" in policy and "script" not in policy


def test_markup_in_name_and_metadata_is_shown_as_text(verdicts, detector):
    report = html_report(dataclasses.replace(verdicts["declared"], file=f"{MARKUP.replace('/', '')}.jpg"), detector)
    assert "<img src=x" not in report and "<script" not in report
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(report)
    text = "".join(document.itertext())
    assert MARKUP in text and MARKUP.replace("/", "") in text


def test_the_report_shows_picture_marks_evidence_limits_and_hashes(verdicts, detector):
    verdict = verdicts["photo"]
    report = html_report(verdict, detector, WHEN)
    pictures = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", report)]
    plain, marked = (np.asarray(Image.open(io.BytesIO(data)), float) for data in pictures)
    assert plain.shape == marked.shape == (427, 640, 3) and np.abs(plain - marked).mean() > 3
    assert np.abs(plain - np.asarray(verdict.picture, float)).mean() < 5
    assert not any(Image.open(io.BytesIO(data)).getexif() for data in pictures)
    words = ["What this is based on", "What the file says about itself", "What it cannot tell", "2026-11-27 21:05 UTC"]
    for expected in (verdict.headline, verdict.image["sha256"], verdict.model["sha256"], *words):
        assert expected in report


def test_a_report_needs_the_heat_map(detector):
    with pytest.raises(ValueError, match="heatmap=True"):
        html_report(detector.predict(EXAMPLE), detector)


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "fakedet", "predict", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.integration
def test_the_command_line_writes_a_report_beside_the_answer(tmp_path):
    done = run(EXAMPLE, "--report", tmp_path / "out.html")
    assert done.returncode == 0 and f"report: {tmp_path / 'out.html'}" in done.stdout
    report = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert report.startswith("<!DOCTYPE html>") and "photo_china.jpg" in report and str(ROOT) not in report
    assert not list(tmp_path.glob("*.png"))  # no heat map that nobody asked for


@pytest.mark.integration
def test_several_pictures_get_a_folder_of_reports_and_names_do_not_clash(tmp_path, declared):
    (tmp_path / "in" / "more").mkdir(parents=True)
    for place in ("in/a.png", "in/more/a.png", "in/a.bmp"):
        photo_like(80, 60).save(tmp_path / place)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no image")
    done = run(tmp_path / "in", "--report", tmp_path / "out", "--json")
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 4  # the broken file is a row, without a report
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.html", "a-2.html", "a-3.html"}


@pytest.mark.integration
def test_one_file_for_several_pictures_is_refused_before_scoring(tmp_path):
    done = run(EXAMPLE, EXAMPLE, "--report", tmp_path / "out.html")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.strip() == "--report names one file, but there are 2 images: name a folder."
