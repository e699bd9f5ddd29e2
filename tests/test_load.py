"""Many callers with large photographs: each gets an answer or a refusal with a status, and memory stays bounded.

python -m pytest -m slow -s tests/test_load.py
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import App, photo_like
from gradio_client import Client, handle_file

REST, GRADIO = 50, 20
MAX_MORE_MB = 1000  # beyond the idle app: two decoders, and the pixels of the images scored at the same time


def resident_mb(pid: int) -> float:
    """Memory of a process and its children in MB; pages that several share count once for each."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has ended
    return total / 2**20


@pytest.mark.integration
@pytest.mark.slow  # two minutes of computing, which would disturb tests that measure time
def test_seventy_callers_with_twelve_megapixels_are_answered_or_refused(tmp_path):
    photo = tmp_path / "large.jpg"
    photo_like(4000, 3000).save(photo, quality=90)
    app = App(tmp_path)
    try:
        peak, over = [resident_mb(app.process.pid)], threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                peak.append(resident_mb(app.process.pid))

        def rest(_: int) -> tuple[str, float]:
            started = time.monotonic()
            with photo.open("rb") as file:
                answer = httpx.post(f"{app.url}/predict", files={"image": ("large.jpg", file)}, timeout=300)
            body = answer.json()
            if answer.status_code in (429, 503):
                assert answer.headers["retry-after"] and body["error"]["message"]
            end = "answered" if answer.status_code == 200 else f"{answer.status_code} {body['error']['code']}"
            return f"REST {end}", time.monotonic() - started

        def gradio(_: int) -> tuple[str, float]:
            started = time.monotonic()
            try:
                answer = Client(app.url, verbose=False).predict(handle_file(str(photo)), api_name="/predict")
                end = "answered" if "verdict" in answer else answer["error"]["code"]
            except Exception as error:
                end = "queue full" if "full" in str(error).lower() else f"lost: {error!r}"
            return f"gradio {end}", time.monotonic() - started

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        with ThreadPoolExecutor(REST + GRADIO) as crowd:
            jobs = [crowd.submit(rest, i) for i in range(REST)] + [crowd.submit(gradio, i) for i in range(GRADIO)]
            ends = [job.result(timeout=400) for job in jobs]
        took = time.monotonic() - started
        over.set()
        watcher.join()
        after = httpx.get(f"{app.url}/health", timeout=30).json()
    finally:
        app.stop()
    counts = Counter(end for end, _ in ends)
    waits = {
        kind: [round(float(q), 1) for q in np.percentile([s for end, s in ends if end == f"{kind} answered"], [50, 95])]
        for kind in ("REST", "gradio")
    }
    print(json.dumps({"file_mb": round(photo.stat().st_size / 2**20, 1), "seconds": round(took, 1), "ends": counts,
                      "answered_after_s_median_p95": waits, "idle_mb": round(peak[0]), "peak_mb": round(max(peak)),
                      "health": after}, indent=1))  # fmt: skip
    expected = {"answered", "429 busy", "503 timeout", "queue full", "timeout", "busy"}
    assert sum(counts.values()) == REST + GRADIO
    assert {end.split(" ", 1)[1] for end in counts} <= expected
    assert counts["REST answered"] >= 20 and counts["gradio answered"] >= 10
    assert after["status"] == "ok" and after["busy"] == 0
    assert max(peak) - peak[0] < MAX_MORE_MB
