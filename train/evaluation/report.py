"""Writes report.md: the figures of report.json as tables, with the plots."""

from __future__ import annotations

from train.evaluation.report_tables import (
    DASH,
    ai_edits,
    consistency,
    generator_years,
    hard_kinds,
    key_figures,
    table,
    with_interval,
)

METRIC_ROWS = (
    ("images (real, fake)", None),
    ("AUC", "roc_auc"),
    ("average precision", "average_precision"),
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("precision", "precision"),
    ("recall: share of fakes detected", "recall"),
    ("F1", "f1"),
    ("fakes detected at 5 % false alarms", "tpr_at_5fpr"),
    ("calibration error of p_fake (ECE)", "ece"),
    ("calibration error of the confidence", "ece_confidence"),
    ("Brier score", "brier"),
)
ANSWER_ROWS = (
    ("coverage: share answered real or fake", "coverage"),
    ("right among the answered", "accuracy_decided"),
    ("the same, mean of both classes", "balanced_accuracy_decided"),
    ("false alarms: share of reals called fake", "false_alarms"),
    ("missed: share of fakes called real", "missed"),
)
FAMILY_ROWS = (
    ("AI-generated images of a known family", "n"),
    ("the most likely family is right", "accuracy"),
    ("the same, mean over the families", "balanced_accuracy"),
    ("share with a named family", "coverage"),
    ("right among the named", "accuracy_named"),
    ("photographs", "n_real"),
    ("photographs with a named family", "n_real_named"),
)
TIER_PICTURES = (
    ("tiers.png", "Tiers"),
    ("roc.png", "ROC"),
    ("precision_recall.png", "Precision and recall"),
)
CLEAN_PICTURES = (
    ("confusion_matrix.png", "Confusion matrix"),
    ("score_histogram.png", "Scores by class"),
    ("reliability.png", "Reliability diagram"),
)


def markdown(report: dict, pictures: set[str]) -> str:
    """Returns the report as Markdown.

    Args:
        report: as saved in report.json.
        pictures: names of the plots that were drawn.
    """
    tiers, model = report["tiers"], report["model"]
    first = next(iter(tiers))
    band = report["unsure_band"]
    parts = [
        f"# Evaluation of {model['id']} on {report['data']}, split {report['split']}",
        f"Made on {report['date']} by\n\n```\n{report['command']}\n```",
        _counts(report),
        f"Model: {model['id']}, revision {model['revision'] or 'none'}, weights sha256 `{model['sha256']}`, "
        f"run by {model['runtime']}. An image counts as fake from p_fake = {report['threshold']:g}; "
        + (
            f"strictly between {band[0]:.4g} and {band[1]:.4g} the answer is unsure."
            if band[0] < band[1]
            else "no answer is unsure."
        )
        + _tiny(report["tiny"]),
        "## Figures",
        *key_figures(tiers),
        *_images(pictures, (("risk_coverage.png", "Risk and coverage"),)),
        *hard_kinds(tiers),
        *ai_edits(tiers),
        *generator_years(tiers),
        "## At the threshold",
        _by_tier(tiers, METRIC_ROWS, "metrics", "at the threshold"),
        _by_tier(tiers, ANSWER_ROWS, "three_answers", "three answers"),
        "\n".join(f"- **{name}**: {tier['words']}" for name, tier in tiers.items()),
        *_shift(tiers),
        *_images(pictures, TIER_PICTURES),
        f"## In detail: tier {first}",
        f"```\n{report['classification_report'].rstrip()}\n```",
        *_images(pictures, CLEAN_PICTURES),
    ]
    for column in tiers[first]["by"]:
        parts += [f"## By {column}", _groups(tiers, column)]
    if any(tier["by"] for tier in tiers.values()):
        parts.append("AUC and balanced accuracy: a group with both classes is measured inside itself, a group with one "
                     "class against all images of the other class. Mean score is the mean p_fake.")  # fmt: skip
    parts += _attribution(report.get("attribution"))
    parts += _probes(report) + _curves(report, pictures) + consistency(report, pictures)
    parts += _latency(report) + _dropped(report)
    if "mistakes.png" in pictures:
        parts += ["## Worst mistakes", *_images(pictures, (("mistakes.png", "Worst mistakes"),))]
    parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()) + ".")
    return "\n\n".join(parts) + "\n"


def _images(pictures: set[str], wanted) -> list[str]:
    return [f"![{title}]({name})" for name, title in wanted if name in pictures]


def _counts(report: dict) -> str:
    counts = report["counts"]
    text = f"{counts['images']:,} images: {counts['real']:,} real, {counts['fake']:,} fake; {counts['scored']:,} scored"
    text += f", {counts['unreadable']:,} unreadable" if counts["unreadable"] else ", none unreadable"
    text += f", {counts['unlabelled']:,} without a label left out" if counts["unlabelled"] else ""
    return text + "."


def _tiny(tiny: dict) -> str:
    if not tiny["images"]:
        return ""
    low, high = tiny["unsure_band"]
    text = f" {tiny['images']:,} images have a side below {tiny['side']} pixels and a calibration of their own; their"
    return text + f" band is {low:.4g} to {high:.4g}."


def _by_tier(tiers: dict, rows, part: str, title: str) -> str:
    body = []
    for name, key in rows:
        values = [tier[part] for tier in tiers.values()]
        cells = [f"{v['n_real']:,}, {v['n_fake']:,}" for v in values] if key is None else [v[key] for v in values]
        body.append([name, *cells])
    return table([title, *tiers], body)


def _shift(tiers: dict) -> list[str]:
    rows = [
        [f"{name}, {label}", shift["mean_z"], shift["mean_abs_p"], shift["verdict_changed"]]
        for name, tier in tiers.items()
        for label, shift in tier.get("shift", {}).items()
    ]
    header = [
        "score shift against clean",
        "mean change of z",
        "mean absolute change of p_fake",
        "share of verdicts changed",
    ]
    return [table(header, rows)] if rows else []


def _groups(tiers: dict, column: str) -> str:
    others = [name for name in tiers if name != next(iter(tiers))]
    by_tier = {name: {row["name"]: row for row in tier["by"].get(column, [])} for name, tier in tiers.items()}
    header = [column, "real", "fake", "measured against", "AUC", *[f"AUC {name}" for name in others],
              "balanced accuracy", "mean score", "called fake", "unsure"]  # fmt: skip
    body = []
    for name, row in next(iter(by_tier.values())).items():
        more = [by_tier[tier].get(name, {}).get("auc") for tier in others]
        body.append([name, row["n_real"], row["n_fake"], row["against"] or DASH,
                     with_interval(row["auc"], row.get("auc_ci")), *more, row["balanced_accuracy"],
                     row["mean_score"], row["called_fake"], row["unsure"]])  # fmt: skip
    return table(header, body)


def _attribution(attribution: dict | None) -> list[str]:
    return ["## Families of generators", *attribution_tables(attribution)] if attribution else []


def attribution_tables(attribution: dict) -> list[str]:
    """Returns the accuracy of the named families per tier, and the confusion matrix of the first tier."""
    tiers = attribution["tiers"]
    text = "A family is named if the image is called AI-generated and the family's probability is at least "
    text += f'{attribution["threshold"]:g}; "other" is never named. Images of unknown generators are left out.'
    rows = [[name, *(tier[key] for tier in tiers.values())] for name, key in FAMILY_ROWS]
    first = next(iter(tiers.values()))
    header = [
        "true family",
        "images",
        *(f"most likely {name}" for name in attribution["families"]),
        "named",
        "named right",
    ]
    return [text, table(["families", *tiers], rows), table(header, confusion_rows(first["confusion"]))]


def confusion_rows(confusion: list[dict]) -> list[list]:
    """Rows of a table: true family, number of images, most likely families, number named, number named right."""
    return [[row["family"], row["n"], *row["most_likely"].values(), row["n_named"], row["n_named_right"]]
            for row in confusion]  # fmt: skip


def _probes(report: dict) -> list[str]:
    if not report["probes"]:
        return []
    first = next(iter(report["tiers"].values()))
    rows = [[row["words"], row["auc"], row["strength"]] for row in report["probes"]]
    rows.append(["**the detector**", first["metrics"]["roc_auc"], None])
    n = report["probes"][0]["n"]
    text = f"AUC of simple statistics that should not separate the classes ({n:,} images without degradation). "
    text += "A detector that is not clearly better may have learned one of them."
    return ["## Shortcut probes", text, table(["statistic", "AUC for fake", "AUC in its better direction"], rows)]


def _curves(report: dict, pictures: set[str]) -> list[str]:
    if not report["curves"]:
        return []
    rows = [[row["words"], f"{row['level']:g}", row["auc"], row["auc_clean"], row["mean_abs_p"], row["false_alarms"]]
            for row in report["curves"]]  # fmt: skip
    text = f"The same {report['curves'][0]['n']:,} images of the first tier, all degraded identically."
    header = ["degradation", "level", "AUC", "AUC without", "mean absolute change of p_fake", "reals called fake"]
    return ["## Robustness curves", text, *_images(pictures, (("curves.png", "Curves"),)), table(header, rows)]


def _latency(report: dict) -> list[str]:
    latency = report["latency_ms"]
    if not latency["n"]:
        return []
    text = f"One image at a time, {latency['n']} undegraded images: median {latency['median']:.1f} ms, 95 % under "
    return ["## Latency", text + f"{latency['p95']:.1f} ms ({latency['where']})."]


def _dropped(report: dict) -> list[str]:
    if not report["dropped"]:
        return []
    keys = ("index", "file", "tier", "code", "message")
    rows = [[str(row[key]) for key in keys] for row in report["dropped"][:50]]
    more = f" The first {len(rows)} are listed, all are in report.json." if len(report["dropped"]) > len(rows) else ""
    text = f"{len(report['dropped'])} images could not be scored and are in no figure.{more}"
    return ["## Unreadable images", text, table(["index", "file", "tier", "code", "message"], rows)]
