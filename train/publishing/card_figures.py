"""What a model card says of tests and weak points: made from report.json alone.

Tables per source and per generator stay in report.json.
"""

from __future__ import annotations

from train.evaluation.generator_years import year_words
from train.evaluation.report_tables import number, table

from .model_index import all_reports

PICTURES = {
    "confusion_matrix.png": "Confusion matrix",
    "roc.png": "ROC",
    "precision_recall.png": "Precision and recall",
    "risk_coverage.png": "Risk and coverage",
    "score_histogram.png": "Scores by class",
    "reliability.png": "Reliability diagram",
    "tiers.png": "Tiers",
}
MIN_IMAGES = 10  # of a group that a card names: fewer say little
MAX_NAMED = 3


def percent(value: float | None) -> str:
    """A share 0..1 in percent with one decimal; a dash where it is not defined."""
    return number(None) if value is None else f"{100 * value:.1f} %"


def with_interval(value: float | None, interval: list[float] | None) -> str:
    """A figure, and its 95 % interval where there is one."""
    return number(value) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def data_name(report: dict) -> str:
    """Data set and split, and the filter where evaluate.py had one."""
    where = report.get("where") or {}
    filters = [f"{word} {key} = {' or '.join(values)}" for word, part in where.items() for key, values in part.items()]
    return ", ".join([report["data"], report["split"], *filters])


def testing_data(report: dict) -> list[str]:
    """One line a report: its images, and the groups that they come from."""
    lines = []
    for part in all_reports(report):
        counts = part["counts"]
        text = f"- **{data_name(part)}**: {counts['scored']:,} of {counts['images']:,} images scored "
        text += f"({counts['real']:,} real, {counts['fake']:,} fake)"
        groups = next(iter(part["tiers"].values()))["by"]
        sizes = [_plural(len(groups[column]), column) for column in ("source", "generator") if groups.get(column)]
        lines.append(f"{text}; {', '.join(sizes)}." if sizes else f"{text}.")
    return lines


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def factors(report: dict) -> list[str]:
    """One line a tier: how the images of both classes were degraded."""
    words = {name: tier["words"] for part in all_reports(report) for name, tier in part["tiers"].items()}
    return [f"- Tier **{name}**, both classes alike: {description}." for name, description in words.items()]


def results_table(report: dict) -> str:
    """One row per report and tier; columns that no report fills are left out."""
    rows = [
        [data_name(part), name, *_cells(tier).values()]
        for part in all_reports(report)
        for name, tier in part["tiers"].items()
    ]
    header = ["data", "tier", *_cells(next(iter(report["tiers"].values())))]
    filled = [i for i in range(len(header)) if any(row[i] not in ("", number(None)) for row in rows)]
    return table([header[i] for i in filled], [[row[i] for i in filled] for row in rows])


def _cells(tier: dict) -> dict[str, str]:
    """Column to figure of one tier."""
    metrics, answers = tier["metrics"], tier["three_answers"]
    matched, selective = tier.get("matched") or {}, tier.get("risk_coverage") or {}
    inside = with_interval(matched.get("auc"), matched.get("ci"))
    return {
        "real / fake": f"{metrics['n_real']:,} / {metrics['n_fake']:,}",
        "AUC": with_interval(metrics["roc_auc"], tier.get("auc_ci")),
        "AUC inside sources": f"{inside} ({matched['sources']})" if matched.get("auc") is not None else "",
        "balanced accuracy": percent(metrics["balanced_accuracy"]),
        "TPR at 5 % FPR": percent(metrics["tpr_at_5fpr"]),
        "ECE": number(metrics["ece"], 3),
        "coverage": percent(answers["coverage"]),
        "accuracy when answered": percent(answers["accuracy_decided"]),
        "reals called fake": percent(answers["false_alarms"]),
        "coverage at 10 % risk": percent(selective["coverage_at_10_risk"]) if selective else "",
        "AURC": number(selective["aurc"], 3) if selective else "",
    }


def legend(report: dict) -> str:
    """What the columns of `results_table` are."""
    tiers = [tier for part in all_reports(report) for tier in part["tiers"].values()]
    text = f"Balanced accuracy is at P(fake) = {report['threshold']:g}, without abstention. Coverage is the share of "
    text += "images that are answered `real` or `fake`; reals called fake is a share of all reals."
    units = dict.fromkeys(tier.get("auc_ci_unit", "unit") for tier in tiers if tier.get("auc_ci"))
    if units:
        text += f" Brackets hold 95 % intervals by bootstrap over whole units ({', '.join(units)})."
    if any((tier.get("matched") or {}).get("auc") is not None for tier in tiers):
        text += " AUC inside sources is the mean over the sources that hold both classes (their number follows)."
    if any(tier.get("risk_coverage") for tier in tiers):
        text += " Coverage at 10 % risk is the largest share of images, most confident first, of which at most 10 % "
        text += "are answered wrongly; AURC is the area under the risk-coverage curve."
    return text


def summary(report: dict) -> str:
    """One sentence on the main report's first tier."""
    name, tier = next(iter(report["tiers"].items()))
    answers, metrics = tier["three_answers"], tier["metrics"]
    return (
        f"On {data_name(report)} ({name}) the AUC is {number(metrics['roc_auc'], 2)}; "
        f"{percent(answers['coverage'])} of the images are answered, and {percent(answers['accuracy_decided'])} of "
        f"these answers are right; {percent(answers['false_alarms'])} of the reals are called fake."
    )


def weak_points(report: dict) -> list[str]:
    """What the main report shows to be hard, as lines of a list: groups of at least MIN_IMAGES images."""
    name, tier = next(iter(report["tiers"].items()))
    where, groups = f"{data_name(report)}, {name}", tier["by"]
    fakes = [row for row in groups.get("generator", ()) if row["n_fake"] >= MIN_IMAGES]
    sources = [row for row in groups.get("source", ()) if row["n_fake"] + row["n_real"] >= MIN_IMAGES]
    inside = [row for row in sources if row["against"] == "itself"]
    photos = sorted((row for row in sources if not row["n_fake"]), key=lambda row: -row["called_fake"])
    kinds = [row for row in tier.get("hard_kinds") or () if row["n"] >= MIN_IMAGES]
    probes = sorted(report["probes"], key=lambda row: -(row["strength"] or 0))
    years = [row for row in tier.get("generator_years") or () if row["n"] >= MIN_IMAGES]
    called = [(row["name"], percent(row["called_fake"]), row["n_real"]) for row in photos if row["called_fake"]]
    lines = {
        "Generators with the lowest AUC": _named([(r["name"], number(r["auc"], 2), r["n_fake"]) for r in fakes]),
        "Sources of both classes with the lowest AUC": _named(
            [(row["name"], number(row["auc"], 2), row["n_fake"] + row["n_real"]) for row in inside]
        ),
        "Sources of photographs most often called fake": _named(called),
        "Kinds of photographs called fake": _named(
            [(row["kind"], percent(row["called_fake"]), row["n"]) for row in kinds], len(kinds)
        ),
        "Photographs that a generator redrew, called fake": _named(
            [("ai-edit", percent(edits["called_fake"]), edits["n"])] if (edits := tier.get("ai_edits")) else []
        ),
        "AI-generated images by the year of their generator, called fake": _named(
            [(year_words(row["year"]), percent(row["called_fake"]), row["n"]) for row in years], len(years)
        ),
        "Properties that separate the classes without a network, by AUC": _named(
            [(row["words"], number(row["strength"], 2), row["n"]) for row in probes if row["strength"] is not None]
        ),
    }
    return [f"- {title} ({where}): {text}." for title, text in lines.items() if text]


def _named(rows: list[tuple[str, str, int]], limit: int = MAX_NAMED) -> str:
    """The first rows as one phrase each: name, figure, number of images."""
    return ", ".join(f"`{name.replace('`', '')}` {figure} (n = {n:,})" for name, figure, n in rows[:limit])


def families(report: dict) -> list[str]:
    """One line a report: how often a generator family was named, and rightly."""
    lines = []
    for part in all_reports(report):
        tiers = (part.get("attribution") or {}).get("tiers") or {}
        name, figures = next(iter(tiers.items()), ("", None))
        if not figures:
            continue
        text = f"- Generator families ({data_name(part)}, {name}): named for {figures['n_named']:,} of "
        text += f"{figures['n']:,} fakes of a known family"
        if figures["accuracy_named"] is not None:
            text += f", rightly in {percent(figures['accuracy_named'])}"
        lines.append(f"{text}; for {figures['n_real_named']:,} of {figures['n_real']:,} reals.")
    return lines


def latency(report: dict) -> str:
    """Time per image; "" where it was not measured."""
    times = report["latency_ms"]
    if not times["n"]:
        return ""
    return (
        f"One image takes {number(times['median'], 1)} ms (median of {times['n']}; 95 % under "
        f"{number(times['p95'], 1)} ms) on {times['where']}."
    )


def commands(report: dict) -> str:
    """The commands behind the figures, with their dates."""
    lines = [f"{part['command']}  # {part['date']}" for part in all_reports(report)]
    return "\n".join(["```", *lines, "```"])
