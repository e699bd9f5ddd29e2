"""Shared by the tests of the page and the API: an app as a process, a browser, and a picture made here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: a core a worker, else their idle threads spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hub_stand_in import TOKEN, Hub
from PIL import Image, ImageFilter
from visitor import Visitor, axe_source

ROOT = Path(__file__).resolve().parents[1]
ARTIFACTS = ROOT / "artifacts"


def photo_like(width: int = 640, height: int = 480, seed: int = 7) -> Image.Image:
    """A landscape of gradients, soft hills and sensor-like noise: no photograph, but not empty for the network."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    sky = np.stack([120 + 60 * y / height, 160 + 40 * y / height, np.full_like(y, 225)], -1)
    for level, color in ((0.55, (96, 120, 110)), (0.7, (70, 92, 60)), (0.83, (52, 62, 34))):
        phase = rng.uniform(0, 6.28, 3)
        edge = height * (level + 0.06 * sum(np.sin(x * k / width * 6.28 + p) / k for k, p in zip((1, 2.3, 5), phase)))
        sky = np.where((y > edge)[..., None], np.array(color, np.float32), sky)
    image = Image.fromarray(sky.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2))
    noisy = np.asarray(image, np.float32) + rng.normal(0, 5, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photo(tmp_path_factory) -> Path:
    """A JPEG of 640 x 480 pixels whose name needs escaping."""
    path = tmp_path_factory.mktemp("pictures") / "my <b>hill & sea.jpg"
    photo_like().save(path, quality=92)
    return path


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class App:
    """A started `python app.py`.

    Attributes:
        url: Without a slash at the end.
        started_s: Seconds until it answered.
    """

    def __init__(self, folder: Path, root: Path = ROOT, python: str = sys.executable, **environment: str):
        self.port, self.temp = int(environment.get("FAKEDET_PORT") or free_port()), folder / "temp"
        self.temp.mkdir()
        self.url, self.log = f"http://127.0.0.1:{self.port}", folder / "app.log"
        # a closed proxy and HF_HUB_OFFLINE unset: whatever reaches out would fail and show
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FAKEDET_", "GRADIO_", "SPACE_"))}
        env |= {"FAKEDET_PORT": str(self.port), "TMPDIR": str(self.temp), "PYTHONUNBUFFERED": "1", **environment}
        began = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen([python, "app.py"], cwd=root, env=env, stdout=log, stderr=log)
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() - began > 240:
                self.stop()
                raise RuntimeError("the app did not start:\n" + self.log.read_text())
            time.sleep(0.3)
        self.started_s = time.monotonic() - began

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Asks it to end, as a supervisor would, and waits."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """The app with the bundled checkpoint and its defaults."""
    started = App(tmp_path_factory.mktemp("app"))
    yield started
    started.stop()


def connect(hub: Hub, monkeypatch, cache: Path) -> None:
    """Lets the Hub client in this process talk to a stand-in."""
    from huggingface_hub import constants

    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A stand-in for the Hub that the client in this process talks to; its cache lies in tmp_path/cache."""
    with Hub() as hub:
        connect(hub, monkeypatch, tmp_path / "cache")
        yield hub


@pytest.fixture(scope="session")
def detector():
    """The bundled checkpoint in this process, to compare with."""
    from fakedet import Detector

    return Detector.from_pretrained()


@contextmanager
def open_browser():
    """Chromium. Where there is none this fails: a page nobody has opened is not tested."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        # without a system browser playwright's own is tried, and says how to install it
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # Chromium's own test picture
        chromium = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", *camera]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def browser():
    """Chromium, for all tests."""
    with open_browser() as chromium:
        yield chromium


@pytest.fixture
def page(browser, app):
    """A fresh tab on the app; `page.hosts` gathers every host that it asked, `page.problems` the script errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    tab = context.new_page()
    tab.hosts, tab.problems = set(), []
    tab.on("request", lambda request: tab.hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.goto(app.url)
    tab.wait_for_selector("#picture input[type=file]", state="attached")
    yield tab
    context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return axe_source()


@pytest.fixture
def visitor(browser, app, axe):
    """A visitor on a desktop, light."""
    one = Visitor(browser, app, axe)
    yield one
    one.context.close()
    assert one.problems == []


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def window(browser, app, axe, request):
    """Visitors on a desktop and a phone, light and dark."""
    one = Visitor(browser, app, axe, *request.param)
    yield one
    one.context.close()
    assert one.problems == []
