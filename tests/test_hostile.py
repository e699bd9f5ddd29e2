"""Hostile requests to a started app: the schema and beyond it, gradio's own routes, uploads, unfinished requests."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import ARTIFACTS, ROOT, App
from seeds import encoded, picture

SECRETS = ("Traceback", "site-packages", 'File "', "/tmp/", "/home/", f"{Path.home()}/")


def tells_nothing(text: str) -> bool:
    """Return whether an answer has no path and no stack trace."""
    return not any(secret in text for secret in (*SECRETS, str(ROOT)))


@pytest.mark.integration
def test_the_schema_says_what_the_interface_does(app, tmp_path):
    # Schemathesis sends valid and invalid requests and compares the answers with the schema
    command = [shutil.which("schemathesis", path=os.path.dirname(sys.executable)) or "schemathesis", "--config-file",
               str(ROOT / "tests" / "schemathesis.toml"), "run", f"{app.url}/openapi.json", "--max-time", "20",
               "--max-examples", "25", "--seed", "1", "--no-color", "--generation-database", "none",
               "--report-dir", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.integration
@pytest.mark.parametrize("method", ["HEAD", "TRACE", "DELETE", "OPTIONS", "QUERY"])
def test_other_methods_are_refused_with_the_right_one(app, method):
    for path, right in {"/predict": "POST", "/health": "GET", "/model": "GET", "/openapi.json": "GET"}.items():
        response = httpx.request(method, app.url + path, timeout=30)
        assert response.status_code == 405 and response.headers["allow"] == right


def gradio(app, path: str, body: dict | None = None) -> httpx.Response:
    """Send a request to gradio's own routes."""
    url = f"{app.url}/gradio_api{path}"
    return httpx.get(url, timeout=20) if body is None else httpx.post(url, json=body, timeout=20)


def called(app, data: list) -> str:
    """Return the answer of the event /predict to data that no page would send."""
    first = gradio(app, "/call/predict", {"data": data})
    if first.status_code != 200:
        return first.text
    return gradio(app, f"/call/predict/{first.json()['event_id']}").text


@pytest.mark.integration
@pytest.mark.parametrize(
    "given",
    [
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": "../../../../etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": str(ROOT / "app.py"), "meta": {"_type": "gradio.FileData"}},
        {"path": "/dev/zero", "meta": {"_type": "gradio.FileData"}},
        {"url": "http://127.0.0.1:1/x.png", "path": "", "meta": {"_type": "gradio.FileData"}},
        {"url": "file:///etc/passwd", "path": "", "meta": {"_type": "gradio.FileData"}},
        {"path": "http://169.254.169.254/latest/meta-data", "meta": {"_type": "gradio.FileData"}},
        {"url": "data:image/png;base64,AAAA", "path": ""},
        {"path": "a" * 100_000},
        {"path": None},
        "text",
        7,
        [[[]]],
        None,
    ],
    ids=lambda given: json.dumps(given)[:40],
)
def test_gradio_opens_nothing_that_was_not_uploaded(app, given):
    text = called(app, [given])
    assert tells_nothing(text) and "root:" not in text and '"p_fake"' not in text
    assert httpx.get(f"{app.url}/health", timeout=30).json()["status"] == "ok"


@pytest.mark.integration
@pytest.mark.parametrize(
    "path",
    [
        "/file=/etc/passwd",
        f"/file={ROOT / 'app.py'}",
        "/file=../../../../etc/passwd",
        "/file=app.py",
        "/file=http://127.0.0.1:1/",
        "/proxy=http://127.0.0.1:1/x",
        "/proxy=https://example.org/",
        "/stream/x/y/z",
        "/component_server",
        "/custom_component/x/y/z",
        "/monitoring/summary",
        "/upload_progress?upload_id=x",
    ],
)
def test_no_route_hands_out_files_or_fetches(app, path):
    response = gradio(app, path)
    assert tells_nothing(response.text.replace("/tmp/gradio", "")) or response.status_code in (403, 404, 405, 422)
    assert response.status_code != 200 or "root:" not in response.text


@pytest.mark.integration
def test_uploads_have_a_ceiling_and_are_removed(tmp_path):
    started = App(tmp_path, FAKEDET_KEEP_MINUTES="0.02", FAKEDET_MAX_UPLOAD_MB="1")
    try:
        send = lambda data: httpx.post(  # noqa: E731
            f"{started.url}/gradio_api/upload", files={"files": ("a.png", data)}, timeout=60
        )
        assert send(bytes(2 * 2**20)).status_code == 413
        (place,) = send(encoded(picture(), "PNG")).json()
        assert Path(place).is_file()
        deadline = time.monotonic() + 30
        while Path(place).exists() and time.monotonic() < deadline:
            time.sleep(0.3)
        assert not Path(place).exists()
        httpx.post(f"{started.url}/predict", files={"image": ("a.png", bytes(2 * 2**20))}, timeout=60)
    finally:
        started.stop()
    assert not [path for path in started.temp.rglob("*") if path.is_file()]  # no upload is left


@pytest.mark.integration
def test_callers_that_never_finish_do_not_stop_the_others(app, photo):
    # forms that stop in the middle, and silent connections
    idle = []
    for number in range(20):
        caller = socket.create_connection(("127.0.0.1", app.port))
        if number % 2:
            caller.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
                           b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")  # fmt: skip
        idle.append(caller)
    answer = httpx.post(f"{app.url}/predict", files={"image": ("a.jpg", photo.read_bytes())}, timeout=60)
    assert answer.status_code == 200
    for caller in idle:
        caller.close()
    deadline = time.monotonic() + 20
    while httpx.get(f"{app.url}/health", timeout=30).json()["busy"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert httpx.get(f"{app.url}/health", timeout=30).json()["busy"] == 0


@pytest.mark.integration
def test_a_minute_of_mutations_finds_nothing():
    command = [sys.executable, "tests/fuzz.py", "--seconds", "60", "--output", str(ARTIFACTS / "fuzz")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
