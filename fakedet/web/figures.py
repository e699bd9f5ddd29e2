"""The figures of a checkpoint, out of the report.json beside it, as HTML for people who read no statistics.

report.json is what `train/evaluate.py` wrote for this checkpoint; its key `more` may hold a list of further such
reports (`train/bundle_report.py` joins them). Figures of other weights are not shown: they would be another model's.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from fakedet.network.families import OTHER

MAX_BYTES = 5_000_000
MAX_GROUPS = 24
# What a bar is made of: the share's key, its class in page.css, and the word in the legend.
PHOTO, AI, UNSURE = ("fd-real", "photograph"), ("fd-fake", "AI-generated"), ("fd-unsure", "unsure")
FOR_REALS = (("right", *PHOTO), ("unsure", *UNSURE), ("wrong", *AI))
FOR_FAKES = (("right", *AI), ("unsure", *UNSURE), ("wrong", *PHOTO))


def read_reports(folder: Path, sha256: str) -> list[dict]:
    """The reports beside a checkpoint that are of its very weights; [] where there is none that can be read.

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
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def family_note(reports: list[dict]) -> str:
    """How often a named family was right in the tests, the files as they are, in a sentence or two.

    Pictures of other generators, of which the tests may hold many or few, are told apart: every name for one is wrong.
    """
    named = right = strange = strange_named = 0
    for report in reports:
        try:
            for row in next(iter(report["attribution"]["tiers"].values()))["confusion"]:
                if row["family"] == OTHER:
                    strange, strange_named = strange + row["n"], strange_named + row["n_named"]
                else:
                    named, right = named + row["n_named"], right + row["n_named_right"]
        except (LookupError, TypeError, AttributeError, StopIteration):
            continue  # of a checkpoint that named none, or on data that say nothing of generators
    told = "How often this is right was not measured: take it as a hint."
    if named:
        told = f"In its tests {right:,} of {named:,} names for pictures of the families that it knows were right."
    if strange:
        told += f" Of {strange:,} pictures of other generators, {strange_named:,} got a name too, a wrong one."
    return told


def to_html(reports: list[dict]) -> str:
    """All reports, each with bars of what happened to 100 pictures of a kind and a table; "" for none."""
    parts = []
    for report in reports:
        try:
            parts.append(_report(report))
        except (LookupError, TypeError, ValueError, AttributeError):  # not one that evaluate.py wrote
            continue
    return "".join(parts)


def _report(report: dict) -> str:
    counts, tiers = report["counts"], report["tiers"]
    words = f"{counts['real']:,} photographs and {counts['fake']:,} AI-generated pictures"
    data = str(report["data"]).rstrip("/").rpartition("/")[2]  # a path names the machine that evaluated
    out = [
        '<section class="fd-figures">',
        f"<h3>Tested on {escape(data)}, {escape(str(report['split']))}</h3>"
        f'<p class="fd-quiet">{words} that it did not learn from, {escape(str(report["date"]))}.</p>',
    ]
    for name, tier in tiers.items():
        shares = tier["three_answers"]
        title = "As the files are" if name == "clean" else f"Worn: {tier['words']}"
        out.append(f"<h4>{escape(title)}</h4>")
        out.append(_bar("Of 100 photographs", FOR_REALS, shares["coverage_real"], shares["false_alarms"]))
        out.append(_bar("Of 100 AI-generated", FOR_FAKES, shares["coverage_fake"], shares["missed"]))
    out += [_table(tiers), _groups(next(iter(tiers.values()))["by"]), _families(report.get("attribution"))]
    return "".join(out) + "</section>"


def _bar(title: str, parts: tuple, covered: float | None, wrong: float | None) -> str:
    """One stacked bar: right, unsure, wrong, out of 100 pictures of one class; nothing where there was no picture."""
    if covered is None or wrong is None:
        return ""
    shares = {"right": 100 * (covered - wrong), "unsure": 100 * (1 - covered), "wrong": 100 * wrong}
    said = ", ".join(f"{shares[key]:.0f} answered “{word}”" for key, _, word in parts)
    pieces = "".join(
        f'<i class="{kind}" style="width:{shares[key]:.1f}%">{f"{shares[key]:.0f}" if shares[key] >= 6 else ""}</i>'
        for key, kind, _ in parts
        if shares[key] > 0
    )
    return (
        f'<div class="fd-hundred"><b>{title}</b><div class="fd-stack" role="img" aria-label="{title}: {said}">{pieces}'
        f"</div><span>{said}</span></div>"
    )


def _table(tiers: dict) -> str:
    rows = (
        ("AUC (0.5 is guessing, 1 is perfect)", "metrics", "roc_auc", "{:.3f}"),
        ("Balanced accuracy, where an answer is forced", "metrics", "balanced_accuracy", "{:.1%}"),
        ("AI-generated found at 5 % false alarms", "metrics", "tpr_at_5fpr", "{:.1%}"),
        ("Error of the percentages (ECE)", "metrics", "ece", "{:.3f}"),
        ("Share that gets an answer", "three_answers", "coverage", "{:.1%}"),
        ("Right among the answered", "three_answers", "accuracy_decided", "{:.1%}"),
    )
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in tiers)
    body = "".join(
        f'<tr><th scope="row">{title}</th>'
        + "".join(f"<td>{_number(tier[part].get(key), form)}</td>" for tier in tiers.values())
        + "</tr>"
        for title, part, key, form in rows
    )
    return f'<table class="fd-table fd-numbers"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'


def _groups(by: dict) -> str:
    """Folded away: how well each generator is told from photographs, the hardest first."""
    rows = [row for row in by.get("generator", []) if row["auc"] is not None][:MAX_GROUPS]
    if not rows:
        return ""
    lines = "".join(
        f'<div class="fd-line"><span>{escape(str(row["name"]))} <small>({row["n_fake"]:,})</small></span>'
        f'<div class="fd-stack"><i class="fd-unsure" style="width:{100 * row["auc"]:.1f}%"></i></div>'
        f"<b>{row['auc']:.2f}</b></div>"
        for row in rows
    )
    return (
        f'<details><summary>AUC by generator, the hardest first</summary><div class="fd-lines">{lines}</div></details>'
    )


def _families(found: dict | None) -> str:
    """Folded away: how the families of generators were named, the files as they are."""
    if not found:
        return ""
    tier = next(iter(found["tiers"].values()))
    head = ("Family", "Pictures", "Named", "Named right", "Most likely right")
    rows = [
        (row["family"], row["n"], row["n_named"], row["n_named_right"], row["most_likely"][row["family"]])
        for row in tier["confusion"]
    ]
    body = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th>{"".join(f"<td>{int(count):,}</td>" for count in counts)}</tr>'
        for name, *counts in rows
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in head[1:])
    return (
        f"<details><summary>{head[0]} of generators</summary>"
        f'<p class="fd-quiet">{escape(family_note([{"attribution": found}]))} “other” is never named.</p>'
        f'<table class="fd-table fd-numbers"><thead><tr><th scope="col">{head[0]}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></details>"
    )


def _number(value, form: str) -> str:
    return "none" if value is None else form.format(value).replace("%", " %")
