"""The folder that a Space gets, installed into an empty environment and started as a Space starts it."""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import App
from gradio_client import Client, handle_file

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow  # installs everything in requirements.txt: minutes and 6 GB of disk
def test_the_space_installs_starts_and_answers(detector):
    with tempfile.TemporaryDirectory(prefix="space-") as made:
        folder = Path(made)
        publish = [sys.executable, "train/publish.py", "space", "--repo", "lab/show", "--output_dir", folder / "app"]
        subprocess.run(publish, cwd=ROOT, check=True)
        assert {path.name for path in (folder / "app").iterdir()} == {
            "LICENSE", "README.md", "app.py", "examples", "fakedet", "requirements.txt"}  # fmt: skip
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        python = str(folder / "venv" / "bin" / "python")
        wanted = folder / "app" / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", wanted], check=True)
        photo = ROOT / "examples" / "images" / "photo_flower.jpg"
        # a home that cannot be written to, whoever runs the tests, and a cache that can
        variables = {"SPACE_ID": "lab/show", "HOME": "/dev/null/home", "HF_HOME": str(folder / "cache"),
                     "FAKEDET_PORT": str(space_port())}  # fmt: skip
        started = App(folder, folder / "app", python, **variables)
        try:
            answer = Client(started.url, verbose=False).predict(handle_file(str(photo)), api_name="/predict")
            assert answer["p_fake"] == pytest.approx(detector.predict(photo).p_fake, abs=1e-3)
        finally:
            started.stop()


def space_port() -> int:
    """7860, as on a Space; another one where that is taken."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 7860)):
            return 7860
        probe.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
