"""One table out of several evaluation reports, written into README and model card between two marker lines.

    python train/results.py "CIFAKE, official test=reports/cifake_test" "wild, unseen=reports/wild_unseen" \\
        --into fakedet/pretrained/README.md
    python train/results.py --headline fakedet/pretrained/report.json --into README.md

Every figure is copied from a report.json that `train/evaluate.py` wrote, and the command behind it is listed, so what a
page says is what a command prints. Without --into the text goes to the screen. --headline makes the six rows of
README.md out of one report.json, which train/bundle_report.py wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.evaluation import headline

BEGIN, END = "<!-- results: written by train/results.py -->", "<!-- results end -->"
HEAD = (
    "data", "tier", "real / fake", "AUC", "balanced accuracy", "TPR at 5 % FPR", "ECE", "coverage",
    "reals called AI-generated",
)  # fmt: skip


def share(value: float | None) -> str:
    """A share as percent with one decimal."""
    return "" if value is None else f"{100 * value:.1f} %"


def plain(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def grid(head, rows) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def main_table(reports: dict[str, dict]) -> str:
    """One row per report and tier."""
    rows = []
    for title, report in reports.items():
        for name, tier in report["tiers"].items():
            found, three = tier["metrics"], tier["three_answers"]
            rows.append([
                title, name, f"{found['n_real']:,} / {found['n_fake']:,}", plain(found["roc_auc"], 4),
                share(found["balanced_accuracy"]), share(found["tpr_at_5fpr"]), plain(found["ece"]),
                share(three["coverage"]), share(three["false_alarms"]),
            ])  # fmt: skip
    return grid(HEAD, rows)


# How a source is named by what it is measured against; sources of fakes alone are left to the generators.
SOURCES = {"itself": "*inside {}*", "all fakes": "*photographs of {}*"}


def group_table(title: str, report: dict, least: int) -> str:
    """AUC per generator, of each source of photographs, and inside each collection of both classes, tier by tier.

    "" where that says nothing more. Groups of fewer than `least` fakes, or photographs where there are no fakes, are
    left out: their figure would be chance.
    """
    tiers = list(report["tiers"])
    rows: dict[str, list] = {}
    for tier in tiers:
        by = report["tiers"][tier]["by"]
        sources = [
            row | {"name": SOURCES[row["against"]].format(row["name"])}
            for row in by.get("source", ())
            if row["against"] in SOURCES
        ]
        for row in [*by.get("generator", ()), *sources]:
            if (row["n_fake"] or row["n_real"]) < least:
                continue
            counts = f"{row['n_fake']} / {row['n_real']}" if row["n_real"] else str(row["n_fake"])
            rows.setdefault(row["name"], [row["name"], counts, *[""] * len(tiers)])[2 + tiers.index(tier)] = plain(
                row["auc"], 2
            )
    if len(rows) < 2:
        return ""
    all_of = report["tiers"][tiers[0]]["metrics"]
    order = sorted(rows.values(), key=lambda row: (row[0].startswith("*"), row[2]))
    words = (f"AUC in {title.replace('**', '')}: per generator, against its {all_of['n_real']} photographs; "
             f"*photographs* of one source, against its {all_of['n_fake']} fakes; *inside* one collection")  # fmt: skip
    return grid([words, "fakes / reals", *tiers], order)


def commands(reports: dict[str, dict]) -> str:
    """The commands behind the figures."""
    return "\n".join("    " + report["command"] for report in reports.values())


def text_of(reports: dict[str, dict], least: int) -> str:
    """Everything, as Markdown."""
    first = next(iter(reports.values()))
    parts = [
        f"Weights sha256 `{first['model']['sha256'][:16]}…`, threshold {first['threshold']:g}.",
        main_table(reports),
    ]
    parts += [table for title, report in reports.items() if (table := group_table(title, report, least))]
    return "\n\n".join([*parts, commands(reports)])


def insert(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with `text` between the markers.

    Raises:
        ValueError: The page has no markers.
    """
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"no lines '{begin}' and '{end}' in it")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def headline_of(path: Path, parser: argparse.ArgumentParser) -> str:
    """The six rows of README.md; ends with the parser's error where the file is not such a report."""
    try:
        return headline.headline_text(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError) as error:
        parser.error(f"{path} is not a report.json: {error!r}")


def read_reports(items: list[str], parser: argparse.ArgumentParser) -> dict[str, dict]:
    """Reports by title, all of the same weights; ends with the parser's error otherwise."""
    reports = {}
    for item in items:
        title, _, folder = item.rpartition("=")
        path = Path(folder) / "report.json"
        if not title or not path.is_file():
            parser.error(f"'{item}' is not TITLE=FOLDER with a report.json in the folder")
        reports[title] = json.loads(path.read_text(encoding="utf-8"))
    if len({report["model"]["sha256"] for report in reports.values()}) > 1:
        parser.error("the reports are of different weights")
    return reports


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="train/results.py", description="One table out of several evaluation reports.")
    p.add_argument("reports", nargs="*", metavar="TITLE=FOLDER", help="folders that train/evaluate.py wrote")
    p.add_argument("--into", nargs="+", type=Path, default=[], help="Markdown files with the two marker lines")
    p.add_argument("--least", type=int, default=10, help="leave generators and sources of fewer images out")
    p.add_argument("--headline", type=Path, metavar="REPORT.json", help="the six rows of README.md from this report")
    args = p.parse_args(argv)
    if bool(args.reports) == bool(args.headline):
        p.error("give either TITLE=FOLDER items or --headline")
    markers = (headline.BEGIN, headline.END) if args.headline else (BEGIN, END)
    if args.headline:
        text = headline_of(args.headline, p)
    else:
        text = text_of(read_reports(args.reports, p), args.least)
    if not args.into:
        print(text)
    for path in args.into:
        try:
            path.write_text(insert(path.read_text(encoding="utf-8"), text, *markers), encoding="utf-8")
        except (OSError, ValueError) as error:
            p.error(f"{path}: {error}")
        print(f"written into {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
