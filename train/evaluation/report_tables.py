"""Markdown tables of an evaluation report: cells, intervals, and the figures that stand first."""

from __future__ import annotations

from train.evaluation.generator_years import year_words

DASH = "–"  # noqa: RUF001
UNITS = {"source": "whole sources", "group": "groups of related images", "image": "single images"}
RISK_ROWS = (
    ("area under the risk-coverage curve (AURC, lower is better)", "aurc"),
    ("coverage at 10 % wrong answers", "coverage_at_10_risk"),
    ("accuracy of the most confident 50 %", "accuracy_at_50"),
    ("accuracy of the most confident 75 %", "accuracy_at_75"),
    ("accuracy where every image gets an answer", "accuracy_at_100"),
)


def number(value, digits: int = 4) -> str:
    """Formats a figure for a table; a dash where it is not defined."""
    if value is None:
        return DASH
    return f"{value:.{digits}f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def table(header: list[str], rows: list[list]) -> str:
    """Returns a Markdown table with text escaped: first column aligned left, the others right."""
    lines = [header, [":--"] + ["--:"] * (len(header) - 1)]
    lines += [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in safe)


def with_interval(value: float | None, interval: list[float] | None) -> str:
    """Formats a figure with its 95 % interval, such as 0.893 (0.871 to 0.912)."""
    if value is None:
        return DASH
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def key_figures(tiers: dict[str, dict]) -> list[str]:
    """Returns AUC over all images and inside sources with intervals, and accuracy over abstention, as Markdown."""
    values = list(tiers.values())
    rows = [
        ["AUC, all images", *(with_interval(tier["metrics"]["roc_auc"], tier["auc_ci"]) for tier in values)],
        ["AUC inside sources of both classes, mean",
         *(with_interval(tier["matched"]["auc"], tier["matched"]["ci"]) for tier in values)],
        ["number of those sources", *(tier["matched"]["sources"] for tier in values)],
        *([name, *(tier["risk_coverage"][key] for tier in values)] for name, key in RISK_ROWS),
    ]  # fmt: skip
    text = f"In brackets: 95 % intervals by bootstrap, for all images over {UNITS[values[0]['auc_ci_unit']]}, for the "
    text += "mean inside sources over those sources. Confidence is the distance of p_fake from the threshold."
    return [table(["figure", *tiers], rows), text]


def hard_kinds(tiers: dict[str, dict]) -> list[str]:
    """Returns the section on photographs called AI-generated per kind, worst first; [] where no kinds are named."""
    first, *others = tiers
    if not tiers[first]["hard_kinds"]:
        return []
    called = {name: {row["kind"]: row["called_fake"] for row in tiers[name]["hard_kinds"]} for name in others}
    rows = [
        [row["kind"], row["n"], row["n_called_fake"], row["called_fake"], row["n_unsure"], row["unsure"],
         *(called[name].get(row["kind"]) for name in others)]
        for row in tiers[first]["hard_kinds"]
    ]  # fmt: skip
    header = ["kind", "photographs", "called fake", "share", "unsure", "share unsure",
              *(f"called fake, {name}" for name in others)]  # fmt: skip
    text = f"Verdicts on photographs that are easily taken for AI-generated, tier {first}. "
    return ["## Hard kinds of photographs", text + "A photograph of several kinds counts in each.", table(header, rows)]


def ai_edits(tiers: dict[str, dict]) -> list[str]:
    """Returns the section on photographs that a generator redrew; [] where the data name none."""
    found = {name: tier["ai_edits"] for name, tier in tiers.items() if tier.get("ai_edits")}
    if not found:
        return []
    header = ["tier", "pictures", "called fake", "called real", "unsure", "AUC against all photographs"]
    keys = ("n", "called_fake", "called_real", "unsure", "auc")
    return [
        "## AI edits of photographs",
        table(header, [[name, *(own[key] for key in keys)] for name, own in found.items()]),
    ]


def generator_years(tiers: dict[str, dict]) -> list[str]:
    """Returns the section on AI-generated images by the year of their generator; [] where no year is known."""
    first, *others = tiers
    found = tiers[first].get("generator_years") or []
    if not any(row["year"] for row in found):
        return []
    called = {name: {row["year"]: row["called_fake"] for row in tiers[name]["generator_years"]} for name in others}
    rows = [
        [year_words(row["year"]), row["n"], row["called_fake"], row["unsure"], row["called_real"],
         *(called[name].get(row["year"]) for name in others)]
        for row in found
    ]  # fmt: skip
    header = ["year", "images", "called fake", "unsure", "called real", *(f"called fake, {name}" for name in others)]
    return ["## Generators by year", f"AI-generated images by the year of their generator, tier {first}.",
            table(header, rows)]  # fmt: skip


def consistency(report: dict, pictures: set[str]) -> list[str]:
    """Returns the section on one picture in many variants as Markdown; [] where it was not measured."""
    figures = report.get("consistency")
    if not figures:
        return []
    overall = figures["overall"]
    n_real, n_fake = figures["n_real"], figures["n_fake"]
    text = (
        f"{n_real:,} photographs and {n_fake:,} AI pictures, sources in turn, each as it is and as people pass it on. "
    )
    text += (
        "The answers are those of the page, with the stability check. A variant contradicts the original if one of the "
    )
    text += 'two is answered "real" and the other "fake". Unsure answers are counted before the check.'
    rows = [
        [row["words"], row["n"], f"{row['median_shift']:+.3f}", f"{row['median_abs_shift']:.3f}", row["to_fake"],
         row["to_real"], f"{row['contradicted']:.1%}", f"{row['unsure']:.1%}"]
        for row in figures["variants"]
    ]  # fmt: skip
    header = ["variant", "images", "median shift of p_fake", "median absolute shift", "real to fake", "fake to real",
              "contradicted", "unsure"]  # fmt: skip
    both, once = overall["contradicted"], overall["contradicted_once"]
    total = f"All variants together: median absolute shift {number(overall['median_abs_shift'], 3)}; "
    total += f"{overall['n_against_original']} images are contradicted by a variant, {overall['n_contradicted']} "
    total += f"({both:.1%}) by any two versions, {once:.1%} without the check."
    plot = ["![Consistency](consistency.png)"] if "consistency.png" in pictures else []
    return ["## The same picture, the same answer", text, *plot, table(header, rows), total]
