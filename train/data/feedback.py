"""List the reports of wrong answers that came with a picture, for a person to review.

    python train/prepare.py feedback --reports FOLDER --output_dir data/reports
    python train/prepare.py feedback --reports owner/name --output_dir data/reports

The reports are what app.py keeps where FAKEDET_FEEDBACK names a folder or a Hub data set. The command adds a line for
each new one to OUTPUT_DIR/review.csv and leaves the lines that are there. A person then writes into the column
`reviewed` what the picture is: real, fake, graphic, or no to leave it out. Only reviewed lines are read by
`prepare.py --data OUTPUT_DIR/review.csv`; what the visitor said (`truth`) is never a label.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import snapshot_download

from train.data.sources import PrepareError

REVIEW = "review.csv"
COLUMNS = ("reviewed", "picture", "truth", "how", "verdict", "p_fake", "time", "group", "id")
PICTURE_PATH = re.compile(r"pictures/[0-9a-f]{32}\.jpg")
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def find_reports(source: str, output_dir: Path) -> Path:
    """The folder of the reports; those of a Hub data set are downloaded into OUTPUT_DIR/hub.

    Raises:
        PrepareError: There is no such folder, or the data set cannot be had.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise PrepareError(f"Nothing exists at {source}.")
    try:
        return Path(snapshot_download(source, repo_type="dataset", local_dir=output_dir / "hub"))
    except Exception as error:  # the Hub client raises a dozen types
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PrepareError(f"{source} is no folder here, and could not be had from the Hub: {reason}") from error


def read_reports(folder: Path) -> Iterator[dict | None]:
    """All reports with the path of their picture (None without one), oldest first; None for a line that is broken.

    A line breaks off where the machine went down while it was written; such a report was never acknowledged.
    """
    for lines in sorted(folder.rglob("reports.jsonl")):
        for line in lines.read_bytes().splitlines():
            try:
                report = json.loads(line)
                picture = report["picture"]
                fields = {key: str(report[key]) for key in ("id", "truth", "how", "verdict", "p_fake", "time")}
                path = lines.parent / picture if picture and PICTURE_PATH.fullmatch(picture) else None
                yield fields | {
                    "group": str(report["image"]["sha256"]), "picture": path if path and path.is_file() else None,
                }  # fmt: skip
            except (ValueError, KeyError, TypeError):
                yield None


def update_review(reports: list[dict], path: Path) -> int:
    """Adds a line for each report that the file does not have yet; returns how many.

    Args:
        reports: With a picture.
        path: Of the CSV file. A person's lines are kept, and a stop in the middle leaves the old file.
    """
    rows = []
    if path.exists():
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    known = {row.get("id") for row in rows}
    new = [report for report in reports if report["id"] not in known]
    for report in new:
        place = os.path.relpath(report["picture"], path.parent)
        rows.append({"reviewed": ""} | {key: no_formula(value) for key, value in (report | {"picture": place}).items()})
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8-sig") as file:  # the mark makes Excel read it as UTF-8
        writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
    return len(new)


def no_formula(text: str) -> str:
    """A spreadsheet would run a text that begins with such a sign; visitors wrote these."""
    return "'" + text if text.startswith(FORMULA_SIGNS) else text


def run(args: argparse.Namespace) -> None:
    """Updates the list and prints what to do with it.

    Raises:
        PrepareError: The reports or the list cannot be used.
    """
    args.output_dir.mkdir(parents=True, exist_ok=True)
    reports = list(read_reports(find_reports(args.reports, args.output_dir)))
    whole = [report for report in reports if report]
    pictured = [report for report in whole if report["picture"]]
    path = args.output_dir / REVIEW
    new = update_review(pictured, path)
    print(f"{len(whole)} reports, {len(pictured)} with a picture, {new} of them new in {path}")
    if len(whole) < len(reports):
        print(f"{len(reports) - len(whole)} lines break off and were left out")
    print("Look at each picture and write real, fake, graphic or no into the column reviewed. Then:")
    print(f"  python train/prepare.py --data {path} --source feedback --output_dir data/feedback")


def main(argv: list[str]) -> int:
    """Runs the command; 0 = done, 2 = the reports or the list cannot be used."""
    p = argparse.ArgumentParser(
        "prepare.py feedback", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--reports", required=True, metavar="SOURCE", help="folder, or Hub data set owner/name")
    p.add_argument("--output_dir", required=True, type=Path, help="where review.csv is written")
    try:
        run(p.parse_args(argv))
    except (PrepareError, OSError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    return 0
