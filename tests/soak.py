"""Sends many requests of every kind at once to a started app and measures its memory.

    python tests/soak.py [--requests 2000] [--folder ODD_PICTURES] [--report artifacts/soak.json]

Valid, odd, cut, oversized and hostile files go to REST, to gradio's endpoint as gradio_client uses it, and in forms
that end too early. Memory is that of the app and its decoders together (PSS), after 200 requests and after the last.
Then more callers come at once than the queue holds; the rest gets "busy" (429). Exit code 0 if memory grew by less
than 10 %, every answer was a verdict or a typed refusal, and the page answers as it did before.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from conftest import App, photo_like
from mutations import next_input
from process_stats import family
from seeds import encoded, seeds
from surfaces import outcome

MAX_GROWTH = 0.10
PICTURE = {"_type": "gradio.FileData"}


def memory_mb(app: App) -> tuple[float, float]:
    """Memory of the app and of its decoders in MB; pages that they share are counted once."""
    sizes = []
    for pid in family(app.process.pid):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            sizes.append(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024)
        except (OSError, StopIteration):
            continue
    return round(sizes[0]), round(sum(sizes[1:]))


def material(folder: Path | None) -> dict[str, list[bytes]]:
    """Files by kind."""
    small, rng = list(seeds().values()), random.Random(1)
    photos = [encoded(photo_like(640 + 160 * n, 480 + 120 * n, n), "JPEG", quality=90) for n in range(6)]
    odd = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()] if folder else []
    return {
        "photo": photos,
        "large photo": [encoded(photo_like(4000, 3000), "JPEG", quality=90)],
        "small": small,
        "mutated": [next_input(small, rng) for _ in range(300)],
        "cut": [data[: len(data) * 2 // 3] for data in photos],
        "no image": [b"", b"words", b"<svg/>", b"%PDF-1.7", b"PK\3\4" + bytes(100), bytes(10_000)],
        "too large": [b"\xff\xd8\xff" + bytes(26 * 2**20)],
        **({"odd": odd} if odd else {}),
    }


WEIGHTS = {
    "photo": 30,
    "large photo": 2,
    "small": 15,
    "mutated": 25,
    "cut": 5,
    "no image": 8,
    "too large": 1,
    "odd": 14,
}


def rest(client: httpx.Client, url: str, data: bytes) -> str:
    response = client.post(f"{url}/predict", files={"image": ("a.jpg", data)})
    return outcome(response.json()) if response.status_code != 429 else "busy"


def page(client: httpx.Client, url: str, data: bytes) -> str:
    """Upload, call, answer, as gradio_client does."""
    place = client.post(f"{url}/gradio_api/upload", files={"files": ("a.jpg", data)})
    if place.status_code != 200:
        return f"upload {place.status_code}"
    body = {"data": [{"path": place.json()[0], "meta": PICTURE}]}
    first = client.post(f"{url}/gradio_api/call/predict", json=body)
    if first.status_code != 200:
        return f"call {first.status_code}"
    text = client.get(f"{url}/gradio_api/call/predict/{first.json()['event_id']}").text
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ") and line != "data: null"]
    return outcome(json.loads(lines[-1])[0]) if "event: complete" in text else f"FAILED: {text[-200:]}"


def broken_form(client: httpx.Client, url: str, data: bytes) -> str:
    """A form that ends in the middle."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    response = client.post(f"{url}/predict", content=head + data[:1000], headers=kind)
    return "busy" if response.status_code == 429 else outcome(response.json())


def soak(app: App, requests: int, files: dict[str, list[bytes]], callers: int = 4) -> dict:
    """`requests` requests by a few callers; outcomes, memory, speed."""
    rng, lock, counts, curve = random.Random(0), threading.Lock(), Counter(), {}
    kinds = [kind for kind in WEIGHTS if kind in files]
    done, began, slowest = 0, time.monotonic(), 0.0
    local = threading.local()

    def one(_: int) -> None:
        nonlocal done, slowest
        if not hasattr(local, "client"):
            local.client = httpx.Client(timeout=120)
        with lock:
            kind = rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
            data, way = rng.choice(files[kind]), rng.choices((rest, page, broken_form), (60, 35, 5))[0]
        start = time.monotonic()
        try:
            result = way(local.client, app.url, data)
        except Exception as error:
            result = f"FAILED: {error!r}"
        with lock:
            done, slowest = done + 1, max(slowest, time.monotonic() - start)
            counts[result[:80]] += 1
            if done in (1, 50, 100, 200) or done % 200 == 0:
                curve[done] = memory_mb(app)
                print(f"{done}: app {curve[done][0]} MB, decoders {curve[done][1]} MB", flush=True)

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(one, range(requests)))
    seconds = time.monotonic() - began
    return {"requests": requests, "seconds": round(seconds), "slowest_s": round(slowest, 1), "memory_mb": curve,
            "outcomes": dict(counts.most_common())}  # fmt: skip


def storm(app: App, data: bytes, callers: int = 150) -> dict:
    """All callers at once: how many get an answer, how many "busy"."""

    def call(_: int) -> tuple[int, str | None, str]:
        with httpx.Client(timeout=180) as client:
            response = client.post(f"{app.url}/predict", files={"image": ("a.jpg", data)})
            return response.status_code, response.headers.get("retry-after"), response.text

    with ThreadPoolExecutor(callers) as pool:
        answers = list(pool.map(call, range(callers)))
    retry_after = all(again and '"busy"' in text for status, again, text in answers if status == 429)
    return {
        "callers": callers,
        "statuses": dict(Counter(status for status, *_ in answers)),
        "busy_says_when": retry_after,
    }


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--requests", type=int, default=2000)
    p.add_argument("--folder", type=Path, help="further odd pictures")
    p.add_argument("--report", type=Path)
    args = p.parse_args()
    files = material(args.folder)
    with tempfile.TemporaryDirectory(prefix="fakedet-soak-") as room:
        app = App(Path(room), FAKEDET_KEEP_MINUTES="0.5")
        try:
            with httpx.Client(timeout=120) as client:
                before = rest(client, app.url, files["photo"][0]), page(client, app.url, files["photo"][0])
                report = soak(app, args.requests, files)
                report["storm"] = storm(app, files["large photo"][0])
                after = rest(client, app.url, files["photo"][0]), page(client, app.url, files["photo"][0])
                report["health_after"] = client.get(f"{app.url}/health").json()
            time.sleep(2)
            report["memory_after_storm_mb"] = memory_mb(app)
        finally:
            app.stop()
        log = app.log.read_text()
        report["stack_traces"] = log.count("Traceback")
        report["last_of_log"] = log[-3000:] if "Traceback" in log else ""
    early, last = report["memory_mb"].get(200), report["memory_mb"].get(args.requests)
    report["growth"] = round(sum(last) / sum(early) - 1, 3) if early and last else None
    failed = [result for result in report["outcomes"] if result.startswith(("FAILED", "upload", "call"))]
    good = not failed and before == after == ("scored", "scored")
    good = good and report["storm"]["busy_says_when"] and set(report["storm"]["statuses"]) == {200, 429}
    good = good and (report["growth"] is None or report["growth"] < MAX_GROWTH)
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
