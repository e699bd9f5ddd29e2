"""A folder of odd pictures through every surface: what came out, how long it took, how much memory it cost.

    python tests/corpus.py FOLDER [--surfaces python cli rest page] [--report artifacts/corpus.json]

Whatever lies in the folder is tried, whatever it is called: pictures, texts, pipes, links. The outcome of each is a
finite score or a typed refusal; anything else is a failure, as is more than 5 s of computing (of waiting, on REST and
page) or more than 1 GB of memory beyond what the idle process holds. Exit code 0 where there is no failure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

MAX_S, MAX_MB = 5.0, 1000
PAGE_KINDS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".zip")
PAGE_BYTES, PAGE_FILES = 40 * 2**20, 60  # of one upload through the browser


def everything(folder: Path) -> list[Path]:
    """All files below a folder, and what is no file but has a name: links, pipes, devices."""
    return sorted((path for path in folder.rglob("*") if not path.is_dir()), key=os.fsencode)


def outcome(answer: dict) -> str:
    """ "scored", the code of the refusal, or what is wrong with an answer."""
    if "error" in answer:
        error, text = answer["error"], json.dumps(answer["error"])
        typed = error["code"] != "internal" and isinstance(error["message"], str) and error["message"].endswith(".")
        return error["code"] if typed and "Traceback" not in text else f"FAILED: {text[:200]}"
    numbers = [answer["p_fake"], answer["logit"]]
    good = all(isinstance(n, float | int) and math.isfinite(n) for n in numbers) and 0 <= numbers[0] <= 1
    return "scored" if good else f"FAILED: {numbers}"


class Memory:
    """Peak memory of a process and its children, in MB, since the last look (Linux)."""

    def __init__(self, pid: int):
        self.pid = pid
        self.idle = self.peak()

    def family(self) -> list[int]:
        found = [self.pid]
        for task in found:
            for thread in Path(f"/proc/{task}/task").glob("*/children"):
                found += map(int, thread.read_text().split())
        return found

    def peak(self) -> float:
        """The sum of all peaks; begins anew."""
        total = 0
        for pid in self.family():
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except (OSError, StopIteration):  # ended meanwhile
                continue
        return total / 1024


# --- surfaces: each yields (file, outcome, seconds, MB beyond idle) --------------------------------------------------


def through_python(files: list[Path]) -> Iterator[tuple]:
    """`Detector.predict(path)` in this process; seconds are CPU seconds of all threads."""
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
    """`python -m fakedet predict FILE... --json`, all in as few commands as there is room for; seconds as it says."""
    for start in range(0, len(files), 500):
        some = files[start : start + 500]
        command = [sys.executable, "-m", "fakedet", "predict", "--json", "--batch_size", "1", "--", *map(str, some)]
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as process,
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
            said.seek(0)
            errors = said.read()
        for path in some[rows:]:
            yield path, f"FAILED: no answer, exit code {process.returncode}: {errors[-200:]}", 0, 0
        if process.returncode not in (0, 2) or "Traceback" in errors:
            yield some[-1], f"FAILED: exit code {process.returncode}: {errors[-200:]}", 0, 0


def contents(path: Path) -> bytes | None:
    """What a sender could send; None of a pipe, a device or a dead link."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def through_rest(files: list[Path], app) -> Iterator[tuple]:
    """`POST /predict`; seconds are those that the sender waits."""
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
            word = (
                outcome(answer)
                if fits and "/" not in answer.get("error", {}).get("message", "")
                else "FAILED: " + response.text
            )
            yield path, word, seconds, memory.peak() - memory.idle


def through_page(files: list[Path], app) -> Iterator[tuple]:
    """The tab for many pictures in Chromium; seconds are a batch's, shared. Odd endings become .png."""
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
                word = outcome(mine[0]) if mine else "FAILED: no row"
                yield path, word, each, memory.peak() - memory.idle
            page.close()


def portions(files: list[Path]) -> Iterator[list[Path]]:
    """The files that can be sent, a few megabytes at a time."""
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


# --- the table -----------------------------------------------------------------------------------------------------


def run(folder: Path, surfaces: list[str]) -> dict:
    """Outcomes by surface, with the slowest and the largest, and every failure."""
    from conftest import App

    files, report = everything(folder), {}
    with tempfile.TemporaryDirectory(prefix="fakedet-corpus-") as room:
        app = App(Path(room)) if {"rest", "page"} & set(surfaces) else None
        try:
            ways = {
                "python": lambda: through_python(files),
                "cli": lambda: through_cli(files),
                "rest": lambda: through_rest(files, app),
                "page": lambda: through_page(files, app),
            }
            for surface in surfaces:
                rows = [(str(path.relative_to(folder)), *rest) for path, *rest in ways[surface]()]
                report[surface] = summary(rows)
                print(f"{surface}: {len(rows)} of {len(files)}", flush=True)
        finally:
            if app:
                app.stop()
    return {"files": len(files), "surfaces": report}


def summary(rows: list[tuple]) -> dict:
    """Counts, extremes and failures of one surface."""
    slow = [f"{name}: {seconds:.1f} s" for name, _, seconds, _ in rows if seconds > MAX_S]
    large = [f"{name}: {mb:.0f} MB" for name, _, _, mb in rows if mb > MAX_MB]
    broken = [f"{name}: {word}" for name, word, *_ in rows if word.startswith("FAILED")]
    slowest, largest = max(rows, key=lambda r: r[2]), max(rows, key=lambda r: r[3])
    return {
        "outcomes": dict(
            Counter("FAILED" if word.startswith("FAILED") else word for _, word, *_ in rows).most_common()
        ),
        "slowest": [slowest[0], round(slowest[2], 2)],
        "largest_mb": [largest[0], round(largest[3])],
        "failures": broken + slow + large,
        "by_file": {name: word for name, word, *_ in rows},
    }


def table(report: dict) -> str:
    """The report as Markdown."""
    surfaces = report["surfaces"]
    words = sorted({word for part in surfaces.values() for word in part["outcomes"]}, key=lambda w: (w != "scored", w))
    lines = ["| surface | files | " + " | ".join(words) + " | slowest | most memory |", "|---" * (len(words) + 4) + "|"]
    for surface, part in surfaces.items():
        counts = [str(part["outcomes"].get(word, 0)) for word in words]
        end = [
            f"{part['slowest'][1]} s ({part['slowest'][0]})",
            f"{part['largest_mb'][1]} MB ({part['largest_mb'][0]})",
        ]
        lines.append("| " + " | ".join([surface, str(len(part["by_file"])), *counts, *end]) + " |")
    return "\n".join(lines)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    known = ["python", "cli", "rest", "page"]
    p.add_argument("--surfaces", nargs="+", choices=known, default=known)
    p.add_argument("--report", type=Path, help="where the outcome of every file is written, as JSON")
    args = p.parse_args()
    report = run(args.folder, args.surfaces)
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps(report, indent=1))
    print(table(report))
    failures = [f"{surface}: {line}" for surface, part in report["surfaces"].items() for line in part["failures"]]
    print("\n".join(failures) or "no failure")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
