"""Sends a folder of odd pictures through every surface and reports outcome, time and memory.

    python tests/corpus.py FOLDER [--surfaces python cli rest page] [--report artifacts/corpus.json]

Every entry of the folder is tried: pictures, texts, pipes, links. The outcome must be a finite score or a typed
refusal; anything else is a failure, as is more than 5 s of CPU time (of waiting, on REST and page) or more than 1 GB of
memory beyond that of the idle process. Exit code 0 where there is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from surfaces import through_cli, through_page, through_python, through_rest  # noqa: E402

MAX_S, MAX_MB = 5.0, 1000


def everything(folder: Path) -> list[Path]:
    """Return everything below a folder except folders: files, links, pipes, devices."""
    return sorted((path for path in folder.rglob("*") if not path.is_dir()), key=os.fsencode)


def run(folder: Path, surfaces: list[str]) -> dict:
    """Return outcomes by surface, with the slowest and the largest file, and every failure."""
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
    """Return counts, extremes and failures of one surface."""
    slow = [f"{name}: {seconds:.1f} s" for name, _, seconds, _ in rows if seconds > MAX_S]
    large = [f"{name}: {mb:.0f} MB" for name, _, _, mb in rows if mb > MAX_MB]
    broken = [f"{name}: {result}" for name, result, *_ in rows if result.startswith("FAILED")]
    slowest, largest = max(rows, key=lambda r: r[2]), max(rows, key=lambda r: r[3])
    return {
        "outcomes": dict(
            Counter("FAILED" if result.startswith("FAILED") else result for _, result, *_ in rows).most_common()
        ),
        "slowest": [slowest[0], round(slowest[2], 2)],
        "largest_mb": [largest[0], round(largest[3])],
        "failures": broken + slow + large,
        "by_file": {name: result for name, result, *_ in rows},
    }


def table(report: dict) -> str:
    """Return the report as a Markdown table."""
    surfaces = report["surfaces"]
    outcomes = {outcome for part in surfaces.values() for outcome in part["outcomes"]}
    columns = sorted(outcomes, key=lambda outcome: (outcome != "scored", outcome))
    lines = [
        "| surface | files | " + " | ".join(columns) + " | slowest | peak memory |",
        "|---" * (len(columns) + 4) + "|",
    ]
    for surface, part in surfaces.items():
        counts = [str(part["outcomes"].get(column, 0)) for column in columns]
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
    p.add_argument("--report", type=Path, help="JSON file for the outcome of every file")
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
