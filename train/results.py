"""Makes one table of several evaluation reports and writes it between two marker lines of a Markdown file.

    python train/results.py "CIFAKE, official test=reports/cifake_test" "wild, unseen=reports/wild_unseen" \\
        --into fakedet/pretrained/README.md
    python train/results.py --headline fakedet/pretrained/report.json --into README.md

Every figure is copied from a report.json of `train/evaluate.py`, and its command is listed below the table. Without
--into the text is printed. --headline makes the six rows of README.md from one report.json of train/bundle_report.py.
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
    """Formats a share 0..1 as percent with one decimal; "" for None."""
    return "" if value is None else f"{100 * value:.1f} %"


def plain(value: float | None, digits: int = 3) -> str:
    """Formats a figure with a fixed number of decimals; "" for None."""
    return "" if value is None else f"{value:.{digits}f}"


def grid(head, rows) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def main_table(reports: dict[str, dict]) -> str:
    """Returns the table with one row per report and tier."""
    rows = []
    for title, report in reports.items():
        for name, tier in report["tiers"].items():
            metrics, three = tier["metrics"], tier["three_answers"]
            rows.append([
                title, name, f"{metrics['n_real']:,} / {metrics['n_fake']:,}", plain(metrics["roc_auc"], 4),
                share(metrics["balanced_accuracy"]), share(metrics["tpr_at_5fpr"]), plain(metrics["ece"]),
                share(three["coverage"]), share(three["false_alarms"]),
            ])  # fmt: skip
    return grid(HEAD, rows)


# Name of a source by what it is measured against. Sources of fakes only are left out: their generators have rows.
SOURCES = {"itself": "*inside {}*", "all fakes": "*photographs of {}*"}


def group_table(title: str, report: dict, min_images: int) -> str:
    """Returns the AUC per generator, per source of photographs, and inside each collection of both classes, per tier.

    Groups of fewer than `min_images` fakes (photographs where there are no fakes) are left out: their AUC is too noisy.
    With fewer than two groups the table is "".
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
            if (row["n_fake"] or row["n_real"]) < min_images:
                continue
            counts = f"{row['n_fake']} / {row['n_real']}" if row["n_real"] else str(row["n_fake"])
            rows.setdefault(row["name"], [row["name"], counts, *[""] * len(tiers)])[2 + tiers.index(tier)] = plain(
                row["auc"], 2
            )
    if len(rows) < 2:
        return ""
    all_of = report["tiers"][tiers[0]]["metrics"]
    order = sorted(rows.values(), key=lambda row: (row[0].startswith("*"), row[2]))
    heading = (f"AUC in {title.replace('**', '')}: per generator, against its {all_of['n_real']} photographs; "
             f"*photographs* of one source, against its {all_of['n_fake']} fakes; *inside* one collection")  # fmt: skip
    return grid([heading, "fakes / reals", *tiers], order)


def commands(reports: dict[str, dict]) -> str:
    """Returns the command of each report."""
    return "\n".join("    " + report["command"] for report in reports.values())


def text_of(reports: dict[str, dict], min_images: int) -> str:
    """Returns all tables and the commands as Markdown."""
    first = next(iter(reports.values()))
    parts = [
        f"Weights sha256 `{first['model']['sha256'][:16]}…`, threshold {first['threshold']:g}.",
        main_table(reports),
    ]
    parts += [table for title, report in reports.items() if (table := group_table(title, report, min_images))]
    return "\n\n".join([*parts, commands(reports)])


def insert(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Returns the page with `text` between the markers.

    Raises:
        ValueError: The page has no markers.
    """
    before, has_begin, rest = page.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"no lines '{begin}' and '{end}' in it")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def headline_of(path: Path, parser: argparse.ArgumentParser) -> str:
    """Returns the six rows of README.md; exits with the parser's error if the file is not such a report."""
    try:
        return headline.headline_text(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError) as error:
        parser.error(f"{path} is not a report.json: {error!r}")


def read_reports(items: list[str], parser: argparse.ArgumentParser) -> dict[str, dict]:
    """Reads reports by title; exits with the parser's error if one is missing or their weights differ."""
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
    """Runs the command; 0 = done. Bad arguments or files exit with 2."""
    p = argparse.ArgumentParser(prog="train/results.py", description="One table out of several evaluation reports.")
    p.add_argument("reports", nargs="*", metavar="TITLE=FOLDER", help="output folders of train/evaluate.py")
    p.add_argument("--into", nargs="+", type=Path, default=[], help="Markdown files with the two marker lines")
    p.add_argument("--least", type=int, default=10, help="leave out generators and sources of fewer images")
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
