"""How `python app.py` starts and stops: settings, the model that it loads, and what it leaves behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT, App, photo_like
from gradio_client import Client, handle_file

from fakedet.hub import ModelError
from fakedet.web import panels
from fakedet.web.served import ServedModel


@pytest.mark.browser
def test_unreachable_model_falls_back_to_the_bundled_one_with_a_warning(browser, tmp_path):
    # a Hub that does not answer costs seconds; the page then names the model that answers
    dead = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache"), "FAKEDET_MODEL": "nobody/nothing"}
    app = App(tmp_path, FAKEDET_KEEP_MINUTES="0.05", **dead)
    try:
        page = browser.new_page()
        page.goto(app.url)
        page.wait_for_selector(".fd-source.fd-warn")
        text = page.inner_text(".fd-source.fd-warn >> nth=0")
        assert "bundled" in text and "nobody/nothing" in text and "cannot be reached" in text
        page.close()
        photo_like(64, 64).save(tmp_path / "a.png")
        Client(app.url, verbose=False).predict(handle_file(str(tmp_path / "a.png")), api_name="/predict")
        assert_gone_within(20, app.temp, "a.png")
    finally:
        app.stop()
    assert not list(app.temp.glob("fakedet-*"))  # the temporary folder goes with the app


def assert_gone_within(seconds, folder, name):
    """The privacy note promises that an upload is deleted."""
    end = time.monotonic() + seconds
    while list(folder.rglob(name)):
        assert time.monotonic() < end, "the upload is still there"
        time.sleep(0.5)


def test_wrong_setting_is_one_sentence(monkeypatch):
    # a typing error of the owner gives a sentence, not a traceback
    import app as application

    monkeypatch.setenv("FAKEDET_MAX_MB", "many")
    with pytest.raises(SystemExit, match="FAKEDET_MAX_MB must be a number"):
        application.build_app()


def detector_with_note(note: str) -> SimpleNamespace:
    """As far as the page reads it to say which model answers."""
    return SimpleNamespace(checkpoint=SimpleNamespace(note=note))


def test_a_fallback_is_marked_whatever_the_sentences_are():
    # the flag decides, even where the checkpoint's note says the same as the whole line
    served = ServedModel(detector_with_note("A."), fallback=True, wanted="lab/model", reason="It is gone.")
    same = ServedModel(detector_with_note(served.why))
    assert served.why == same.why
    assert "fd-warn" in panels.model_line(served)
    assert "fd-warn" not in panels.model_line(same)


def test_a_model_that_cannot_be_used_gives_the_bundled_one_as_a_fallback(monkeypatch, tmp_path):
    import app as application

    def from_pretrained(model=None, limits=None):
        if model:
            raise ModelError(f"{model} has no config.json")
        return detector_with_note("The bundled checkpoint answers.")

    monkeypatch.setattr(application.Detector, "from_pretrained", from_pretrained)
    served = application.load_detector(str(tmp_path / "mine"))
    assert (served.fallback, served.wanted, served.reason) == (True, "mine", "mine has no config.json")


def test_a_wanted_model_is_no_fallback(monkeypatch):
    import app as application

    monkeypatch.setattr(application.Detector, "from_pretrained", lambda model, limits: detector_with_note("A."))
    assert not application.load_detector("lab/model").fallback


@pytest.mark.integration
def test_a_gpu_is_borrowed_where_spaces_is_installed(tmp_path):
    # ZeroGPU lends a GPU for the time of a decorated function; its package is on those Spaces and nowhere else
    (tmp_path / "spaces.py").write_text(
        "def GPU(function):\n"
        "    def borrowed(*args):\n"
        "        print('borrowed')\n"
        "        return function(*args)\n"
        "    return borrowed\n"
    )
    code = "import app; from PIL import Image; app.load_detector(None).detector.predict(Image.new('RGB', (80, 80)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["borrowed"]


def test_every_setting_stands_in_the_table():
    # the table at the top of app.py lists every variable that the code reads
    files = [ROOT / "app.py", *(ROOT / "fakedet").rglob("*.py"), *(ROOT / "train").rglob("*.py")]
    read = {name for file in files for name in re.findall(r"FAKEDET_[A-Z0-9_]+", file.read_text())}
    table = set(re.findall(r"^\| (FAKEDET_\w+) +\|", (ROOT / "app.py").read_text(), flags=re.M))
    assert read == table
