"""The test figures of a checkpoint, out of the report.json beside it, as HTML for readers without statistics.

report.json is what `train/evaluate.py` wrote for this checkpoint; its key `more` may hold a list of further such
reports (`train/bundle_report.py` joins them). Figures of other weights are not shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fakedet.network.families import OTHER

from .render import render

MAX_BYTES = 5_000_000
MAX_GENERATORS = 24
MIN_GENERATOR_PICTURES = 10  # fewer give no usable AUC for the sentence on strengths; the folded list shows them
NAMED_GENERATORS = 3
MIN_LABEL_PERCENT = 6  # a narrower piece of a bar has no room for its number
# The pieces of a bar: outcome, CSS class, word.
PHOTO, AI, UNSURE = ("fd-real", "photograph"), ("fd-fake", "AI-generated"), ("fd-unsure", "unsure")
FOR_REALS = (("right", *PHOTO), ("unsure", *UNSURE), ("wrong", *AI))
FOR_FAKES = (("right", *AI), ("unsure", *UNSURE), ("wrong", *PHOTO))
METRICS = (
    ("AUC (0.5 is guessing, 1 is perfect)", "metrics", "roc_auc", "{:.3f}"),
    ("Balanced accuracy, where an answer is forced", "metrics", "balanced_accuracy", "{:.1%}"),
    ("AI-generated detected at 5 % false alarms", "metrics", "tpr_at_5fpr", "{:.1%}"),
    ("Calibration error of the percentages (ECE)", "metrics", "ece", "{:.3f}"),
    ("Share that gets an answer", "three_answers", "coverage", "{:.1%}"),
    ("Right among the answered", "three_answers", "accuracy_decided", "{:.1%}"),
)
# What a report that evaluate.py did not write can make its reader raise.
NOT_A_REPORT = (LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class ReportFigures:
    """One report, ready for the template.

    Attributes:
        name: Data and split.
        summary: Counts and date, in one sentence.
        bars: The files as they are, one stacked bar a class.
        strengths: The hardest and the easiest generators, in one sentence; "" where the report names none.
        metrics: Column of the table: one text for each of METRICS.
        degraded: (title, bars, metrics) of each degraded tier.
        generators: (name, pictures, AUC), the hardest first.
        families: How generator families were named: (note, rows); None where the checkpoint names none.
    """

    name: str
    summary: str
    bars: list[dict]
    strengths: str
    metrics: list[str]
    degraded: list[tuple[str, list[dict], list[str]]]
    generators: list[tuple[str, int, float]]
    families: tuple[str, list[list[str]]] | None


def read_reports(folder: Path, sha256: str) -> list[dict]:
    """The reports beside a checkpoint that are of these very weights; [] where none can be read.

    Args:
        folder: The checkpoint's.
        sha256: Of its weights, hex.
    """
    path = folder / "report.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            return []
        first = json.loads(path.read_text(encoding="utf-8"))
        reports = [first, *first.get("more", [])]
        return [report for report in reports if report["model"]["sha256"] == sha256 and report["tiers"]]
    except (OSError, RecursionError, *NOT_A_REPORT):
        return []


def to_html(reports: list[dict]) -> str:
    """A stacked bar for each class and test, one table of all tests, and details folded away; "" without a test."""
    tests = []
    for report in reports:
        try:
            tests.append(_test(report))
        except NOT_A_REPORT:
            continue
    return render("figures.html", tests=tests, metrics=[title for title, *_ in METRICS]) if tests else ""


def family_note(reports: list[dict]) -> str:
    """How often a named family was right in the tests, the files as they are, in one or two sentences.

    Pictures of generators outside the known families are counted apart: every name for one of them is wrong.
    """
    named = right = others = others_named = 0
    for row in _confusion_rows(reports):
        if row["family"] == OTHER:
            others, others_named = others + row["n"], others_named + row["n_named"]
        else:
            named, right = named + row["n_named"], right + row["n_named_right"]
    note = "How often this is right was not measured: take it as a hint."
    if named:
        note = f"In its tests {right:,} of {named:,} names for pictures of the families that it knows were right."
    if others:
        note += f" Of {others:,} pictures of other generators, {others_named:,} got a name too, a wrong one."
    return note


def _confusion_rows(reports: list[dict]) -> Iterable[dict]:
    for report in reports:
        try:
            yield from next(iter(report["attribution"]["tiers"].values()))["confusion"]
        except (LookupError, TypeError, AttributeError, StopIteration):
            continue  # the checkpoint names no families, or the data names no generators


def _test(report: dict) -> ReportFigures:
    counts, tiers = report["counts"], dict(report["tiers"])
    data = str(report["data"]).rstrip("/").rpartition("/")[2]  # a path names the machine that evaluated
    clean = tiers.pop(next(iter(tiers)))
    generators = _generators(clean["by"])
    return ReportFigures(
        name=f"{data}, {report['split']}",
        summary=f"{counts['real']:,} photographs and {counts['fake']:,} AI-generated pictures that were not used for "
        f"training, {report['date']}.",
        bars=_bars(clean["three_answers"]),
        strengths=_strengths(generators),
        metrics=_metrics(clean),
        degraded=[
            (f"{name}: {tier['words']}", _bars(tier["three_answers"]), _metrics(tier)) for name, tier in tiers.items()
        ],
        generators=generators[:MAX_GENERATORS],
        families=_families(report.get("attribution")),
    )


def _bars(shares: dict) -> list[dict]:
    bars = (
        _bar("Of 100 photographs", FOR_REALS, shares["coverage_real"], shares["false_alarms"]),
        _bar("Of 100 AI-generated", FOR_FAKES, shares["coverage_fake"], shares["missed"]),
    )
    return [bar for bar in bars if bar]


def _bar(title: str, pieces: tuple, covered: float | None, wrong: float | None) -> dict | None:
    """One stacked bar, right, unsure, wrong, of 100 pictures of one class; None where the test has no such picture."""
    if covered is None or wrong is None:
        return None
    percents = {"right": 100 * (covered - wrong), "unsure": 100 * (1 - covered), "wrong": 100 * wrong}
    return {
        "title": title,
        "caption": ", ".join(f"{percents[outcome]:.0f} answered “{word}”" for outcome, _, word in pieces),
        "pieces": [
            {
                "css": css,
                "width": f"{percents[outcome]:.1f}",
                "label": f"{percents[outcome]:.0f}" if percents[outcome] >= MIN_LABEL_PERCENT else "",
            }
            for outcome, css, _ in pieces
            if percents[outcome] > 0
        ],
    }


def _metrics(tier: dict) -> list[str]:
    return [_number(tier[part].get(key), form) for _, part, key, form in METRICS]


def _number(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value).replace("%", " %")


def _generators(by: dict) -> list[tuple[str, int, float]]:
    rows = [(str(row["name"]), row["n_fake"], row["auc"]) for row in by.get("generator", []) if row["auc"] is not None]
    return sorted(rows, key=lambda row: row[2])


def _strengths(generators: list[tuple[str, int, float]]) -> str:
    """The hardest and the easiest generators, in one sentence; "" where fewer than two have enough pictures."""
    names = [f"{name} ({auc:.2f})" for name, count, auc in generators if count >= MIN_GENERATOR_PICTURES]
    if len(names) < 2:
        return ""
    listed = min(NAMED_GENERATORS, len(names) // 2)
    return f"Hardest generators: {', '.join(names[:listed])}; easiest: {', '.join(reversed(names[-listed:]))} (AUC)."


def _families(attribution: dict | None) -> tuple[str, list[list[str]]] | None:
    if not attribution:
        return None
    rows = [
        [str(row["family"])]
        + [f"{int(row[key]):,}" for key in ("n", "n_named", "n_named_right")]
        + [f"{int(row['most_likely'][row['family']]):,}"]
        for row in next(iter(attribution["tiers"].values()))["confusion"]
    ]
    return family_note([{"attribution": attribution}]), rows
