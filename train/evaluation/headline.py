"""The six rows of README.md that say how good the bundled checkpoint is, made from its report.json."""

from __future__ import annotations

BEGIN, END = "<!-- headline: written by train/results.py -->", "<!-- headline end -->"
MISSING = "not in this report"
MIN_PHOTOGRAPHS = 30  # of a hard kind, to be named as the worst one


def find_report(reports: list[dict], data: str, split: str) -> dict | None:
    """Returns the report on one split of one data set, or None."""
    return next((report for report in reports if (report["data"], report["split"]) == (data, split)), None)


def percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f} %"


def auc_cell(auc: float | None, interval: list[float] | None) -> str:
    """An AUC with two decimals and its 95 % interval where there is one."""
    if auc is None:
        return MISSING
    return f"{auc:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")


def kinds_cell(rows: list[dict]) -> str:
    """Share of photographs called fake over all hard kinds (a photograph of two kinds counts twice), and the worst."""
    total = sum(row["n"] for row in rows)
    if not total:
        return MISSING
    text = percent(sum(row["n_called_fake"] for row in rows) / total)
    worst = max((row for row in rows if row["n"] >= MIN_PHOTOGRAPHS), key=lambda row: row["called_fake"], default=None)
    return text + (f" of {total:,}; worst kind: {worst['kind']}, {percent(worst['called_fake'])}" if worst else "")


def answers_cell(answers: dict | None) -> str:
    if not answers:
        return MISSING
    return f"{percent(answers['coverage'])}; {percent(answers['accuracy_decided'])} of the answers"


def headline_text(report: dict) -> str:
    """Makes the table and the commands behind it.

    Args:
        report: as train/bundle_report.py writes it, with further reports in the key `more`.

    Returns:
        Markdown. A row whose report or key is missing says so.
    """
    reports = [report, *report.get("more", ())]
    catalogue = find_report(reports, "catalogue", "test")
    unseen = find_report(reports, "wild", "test_unseen")
    cifake = find_report(reports, "cifake", "test")
    web = catalogue["tiers"].get("web", {}) if catalogue else {}
    matched = web.get("matched", {})
    unseen_metrics = unseen["tiers"]["clean"]["metrics"] if unseen else {}
    cifake_metrics = cifake["tiers"]["clean"]["metrics"] if cifake else {}
    sources = f" (mean over {matched['sources']})" if matched else ""
    rows = [
        ("catalogue test, web copies: AUC over all pictures",
         auc_cell(web.get("metrics", {}).get("roc_auc"), web.get("auc_ci"))),
        (f"the same: AUC inside sources that hold both classes{sources}",
         auc_cell(matched.get("auc"), matched.get("ci"))),
        ("the same: hard kinds of photographs called AI-generated", kinds_cell(web.get("hard_kinds", []))),
        ("the same: pictures answered, and right among them", answers_cell(web.get("three_answers"))),
        ("`test_unseen`, other generators and sources: AUC", auc_cell(unseen_metrics.get("roc_auc"), None)),
        ("CIFAKE, official test: accuracy", percent(cifake_metrics.get("accuracy"))),
    ]  # fmt: skip
    head = f"| test (weights sha256 `{report['model']['sha256'][:16]}`) | result |"
    table = "\n".join([head, "| --- | --- |", *(f"| {name} | {cell} |" for name, cell in rows)])
    commands = "\n".join(f"    {known['command']}" for known in (catalogue, unseen, cifake) if known)
    return f"{table}\n\n{commands}"
