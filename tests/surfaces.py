"""The surfaces through which `corpus.py` sends files: Python, command line, REST and page, with time and memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from process_stats import Memory

ROOT = Path(__file__).resolve().parents[1]
PAGE_KINDS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".zip")
PAGE_BYTES, PAGE_FILES = 40 * 2**20, 60  # of one upload through the browser


def outcome(answer: dict) -> str:
    """Return "scored", the code of the refusal, or the fault of an answer."""
    if "error" in answer:
        error, text = answer["error"], json.dumps(answer["error"])
        typed = error["code"] != "internal" and isinstance(error["message"], str) and error["message"].endswith(".")
        return error["code"] if typed and "Traceback" not in text else f"FAILED: {text[:200]}"
    numbers = [answer["p_fake"], answer["logit"]]
    good = all(isinstance(n, float | int) and math.isfinite(n) for n in numbers) and 0 <= numbers[0] <= 1
    return "scored" if good else f"FAILED: {numbers}"


# --- surfaces: each yields (file, outcome, seconds, MB beyond idle) --------------------------------------------------


def through_python(files: list[Path]) -> Iterator[tuple]:
    """Call `Detector.predict(path)` in this process; seconds are CPU seconds of all threads."""
    from fakedet import Detector
    from fakedet.verdict import Failure

    detector = Detector.from_pretrained()
    detector.predict(ROOT / "examples" / "images" / min(os.listdir(ROOT / "examples" / "images")))
    memory = Memory(os.getpid())
    for path in files:
        began = time.process_time()
        try:
            answer = detector.predict(path, heatmap=True).to_dict()
        except ValueError as error:
            answer = Failure(error).to_dict()
        except Exception as error:
            answer = {"error": {"code": "internal", "message": repr(error)}}
        yield path, outcome(answer), time.process_time() - began, memory.peak() - memory.idle


def through_cli(files: list[Path]) -> Iterator[tuple]:
    """Run `python -m fakedet predict FILE... --json`, 500 files a command; seconds as reported."""
    for start in range(0, len(files), 500):
        some = files[start : start + 500]
        command = [sys.executable, "-m", "fakedet", "predict", "--json", "--batch_size", "1", "--", *map(str, some)]
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            memory, rows = None, 0
            for path, line in zip(some, process.stdout, strict=False):
                memory, rows = memory or Memory(process.pid), rows + 1
                answer = json.loads(line)
                same = os.path.basename(answer.get("file") or "") == path.name
                seconds = answer.get("ms", {}).get("total", 0) / 1000
                peak = memory.peak() - memory.idle if process.poll() is None else 0
                yield path, outcome(answer) if same else "FAILED: another file's answer", seconds, peak
            process.wait()
            log.seek(0)
            errors = log.read()
        for path in some[rows:]:
            yield path, f"FAILED: no answer, exit code {process.returncode}: {errors[-200:]}", 0, 0
        if process.returncode not in (0, 2) or "Traceback" in errors:
            yield some[-1], f"FAILED: exit code {process.returncode}: {errors[-200:]}", 0, 0


def contents(path: Path) -> bytes | None:
    """Return the bytes of a file; None for a pipe, a device or a dead link."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def through_rest(files: list[Path], app) -> Iterator[tuple]:
    """Send `POST /predict`; seconds are those that the sender waits."""
    import httpx

    memory = Memory(app.process.pid)
    with httpx.Client(timeout=60) as client:
        for path in files:
            if (data := contents(path)) is None:
                continue
            began = time.monotonic()
            response = client.post(
                f"{app.url}/predict", files={"image": (os.fsencode(path.name).decode(errors="replace"), data)}
            )
            seconds, answer = time.monotonic() - began, response.json()
            fits = response.status_code == 200 or "error" in answer
            result = (
                outcome(answer)
                if fits and "/" not in answer.get("error", {}).get("message", "")
                else "FAILED: " + response.text
            )
            yield path, result, seconds, memory.peak() - memory.idle


def through_page(files: list[Path], app) -> Iterator[tuple]:
    """Use the tab for many pictures in Chromium; seconds are the mean of a batch. Odd endings become .png."""
    from conftest import open_browser

    memory = Memory(app.process.pid)
    with open_browser() as browser:
        for some in portions(files):
            page = browser.new_page()
            page.set_default_timeout(600_000)
            page.goto(app.url)
            page.get_by_role("tab", name="Many").click()
            names = {f"{number:04d}{kind_for(path)}": path for number, path in enumerate(some)}
            sent = [{"name": k, "mimeType": "image/png", "buffer": v.read_bytes()} for k, v in names.items()]
            page.set_input_files("#files input[type=file]", sent)
            page.wait_for_function(f"() => document.querySelectorAll('#files tr').length == {len(sent)}")
            began = time.monotonic()
            page.click("#start")
            page.wait_for_selector("#json")
            each = (time.monotonic() - began) / len(sent)
            with page.expect_download() as download:
                page.click("#json")
            rows = {row["file"]: row for row in json.loads(Path(download.value.path()).read_text())}
            for name, path in names.items():
                mine = [row for file, row in rows.items() if file == name or file.startswith(f"{name}/")]  # a ZIP's
                result = outcome(mine[0]) if mine else "FAILED: no row"
                yield path, result, each, memory.peak() - memory.idle
            page.close()


def portions(files: list[Path]) -> Iterator[list[Path]]:
    """Yield the files that can be sent, in batches that the page accepts."""
    some, size = [], 0
    for path in files:
        if contents(path) is None or path.stat().st_size > PAGE_BYTES:
            continue
        if some and (len(some) == PAGE_FILES or size + path.stat().st_size > PAGE_BYTES):
            yield some
            some, size = [], 0
        some, size = [*some, path], size + path.stat().st_size
    if some:
        yield some


def kind_for(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in PAGE_KINDS else ".png"
