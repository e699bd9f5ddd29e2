"""What a catalogue's build wrote and what it could not have: counted by split and source, saved and printed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from train.data.pictures import LABELS, REASONS, REPOSITORY_ABSENT, Missing, Picture

HEADS = dict(zip(REASONS, ("no clone", "not in clone", "changed", "unreadable"), strict=True))
MAX_LISTED = 20  # repositories that the printed report names


def make_report(
    pictures: list[Picture], written: dict[str, Counter], missing: list[Missing], side: int
) -> dict[str, dict]:
    """Count what was wanted, written and missing, and list the missing pictures.

    Args:
        pictures: All that were wanted.
        written: Split to label to number of pictures.
        missing: Those that were not written.
        side: Maximum short side in pixels, 0 for any.

    Returns:
        Split to its report.
    """
    report = {}
    for split, counts in written.items():
        wanted = Counter(picture.texts["source"] for picture in pictures if picture.split == split)
        lost: dict[str, Counter] = {source: Counter() for source in wanted}
        rows = []
        for item in missing:
            picture = item.picture
            if picture.split == split:
                lost[picture.texts["source"]][item.reason] += 1
                rows.append(
                    {
                        **{name: getattr(picture, name) for name in ("repo", "commit", "path", "sha256", "label")},
                        "source": picture.texts["source"],
                        "reason": item.reason,
                        "detail": item.detail,
                    }
                )
        report[split] = {
            "side": side,
            "wanted": wanted.total(),
            "written": {label: counts[label] for label in LABELS},
            "missing": _all_reasons(sum(lost.values(), Counter())),
            "sources": {
                source: {"wanted": wanted[source], "written": wanted[source] - reasons.total(), **_all_reasons(reasons)}
                for source, reasons in sorted(lost.items())
            },
            "missing_pictures": rows,
        }
    return report


def _all_reasons(reasons: Counter) -> dict[str, int]:
    return {reason: reasons[reason] for reason in REASONS}


def save_report(report: dict[str, dict], catalogue: Path, folder: Path) -> None:
    """Write report.json; what it says of splits that this run did not build stays in it."""
    path = folder / "report.json"
    try:
        earlier = dict(json.loads(path.read_text(encoding="utf-8"))["splits"])
    except (OSError, ValueError, KeyError, TypeError):
        earlier = {}
    whole = {"catalogue": catalogue.name, "splits": {**earlier, **report}}
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def print_report(report: dict[str, dict]) -> None:
    """Print a line for each split, below it one for each source of which pictures are missing."""
    print(_line("", "wanted", "written", HEADS))
    for split, part in report.items():
        print(_line(split, part["wanted"], sum(part["written"].values()), part["missing"]))
        for source, counts in part["sources"].items():
            if counts["written"] < counts["wanted"]:
                print(_line(f"  {source}", counts["wanted"], counts["written"], counts))
    rows = [row for part in report.values() for row in part["missing_pictures"]]
    repos = sorted({row["repo"] for row in rows if row["reason"] == REPOSITORY_ABSENT})
    if repos:
        more = f" and {len(repos) - MAX_LISTED} more" if len(repos) > MAX_LISTED else ""
        print(f"no clone of {', '.join(repos[:MAX_LISTED])}{more}")


def _line(name: str, wanted: object, written: object, reasons: dict) -> str:
    return f"{name:<32}{wanted:>9}{written:>9}" + "".join(f"{reasons[reason]:>13}" for reason in REASONS)
