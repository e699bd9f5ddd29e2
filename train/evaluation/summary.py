"""Figures of a report, computed from a table of scored images; needs no model and reads no file.

A score table is a pandas DataFrame with one row per image and the columns index, file, label (0 real, 1 fake),
p_fake (0..1), z (raw logit), verdict ("real", "fake" or "unsure"), and where the data has them source, generator,
content, group, camera and kind (one or several words joined by ";").
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report, roc_auc_score

from train.evaluation.generator_years import generator_year
from train.evaluation.intervals import matched_auc, pooled_interval, source_interval
from train.evaluation.metrics import detection_metrics
from train.evaluation.selective import risk_coverage

BY = ("source", "generator", "content")
SHARES = {"called_fake": "fake", "called_real": "real", "unsure": "unsure"}  # of verdicts


def tier_summary(scores: pd.DataFrame, threshold: float) -> dict:
    """Computes the figures of one tier.

    Returns:
        `metrics` (as `detection_metrics`), `auc_ci` ([low, high] or None) and `auc_ci_unit` (what its bootstrap
        resamples), `matched` (AUC inside sources), `risk_coverage`, `three_answers`, `hard_kinds`, `ai_edits`,
        `generator_years`, and `by` (column to rows, see `group_rows`).
    """
    auc_ci, unit = pooled_interval(scores)
    return {
        "metrics": detection_metrics(scores["label"], scores["p_fake"], threshold),
        "auc_ci": auc_ci,
        "auc_ci_unit": unit,
        "matched": matched_auc(scores),
        "risk_coverage": risk_coverage(scores["label"], scores["p_fake"], threshold),
        "hard_kinds": hard_kinds(scores),
        "ai_edits": ai_edits(scores),
        "generator_years": by_year(scores) if has_values(scores, "generator") else [],
        "three_answers": three_answers(scores),
        "by": {name: group_rows(scores, name, threshold) for name in BY if has_values(scores, name)},
    }


def has_values(scores: pd.DataFrame, column: str) -> bool:
    """Returns whether the column exists and has a value for at least one image."""
    return column in scores.columns and bool(scores[column].fillna("").astype(str).str.len().gt(0).any())


def three_answers(scores: pd.DataFrame) -> dict:
    """Measures the answers real, fake and unsure, as shares 0..1 (None where there are no images to divide by).

    Returns:
        `coverage`: share that is not unsure, and `coverage_real`, `coverage_fake` by class; `accuracy_decided`: share
        of right answers among the decided; `balanced_accuracy_decided`: its mean over the classes; `false_alarms`:
        share of all reals called fake; `missed`: share of all fakes called real.
    """
    label, verdict = scores["label"].to_numpy(), scores["verdict"].to_numpy()
    decided, right = verdict != "unsure", verdict == np.where(label == 1, "fake", "real")
    by_class = [_mean(right[decided & (label == k)]) for k in (0, 1)]
    return {
        "coverage": _mean(decided),
        "coverage_real": _mean(decided[label == 0]),
        "coverage_fake": _mean(decided[label == 1]),
        "accuracy_decided": _mean(right[decided]),
        "balanced_accuracy_decided": None if None in by_class else sum(by_class) / 2,
        "false_alarms": _mean(verdict[label == 0] == "fake"),
        "missed": _mean(verdict[label == 1] == "real"),
    }


def hard_kinds(scores: pd.DataFrame) -> list[dict]:
    """Verdicts on photographs per word of the column kind, such as retouched, product, night or film.

    Returns:
        Rows with `kind`, `n` photographs of it, `n_called_fake` and `n_unsure` of them, and the shares `called_fake`
        and `unsure`; the kind most often called fake first. A photograph of several kinds counts in each.
    """
    if not has_values(scores, "kind"):
        return []
    reals = scores.loc[scores["label"] == 0, ["kind", "verdict"]]
    reals = reals.assign(kind=reals["kind"].fillna("").str.split(";")).explode("kind")
    rows = []
    for kind, own in reals.groupby(reals["kind"].str.strip()):
        if not kind:
            continue
        n_fake, n_unsure = (int((own["verdict"] == verdict).sum()) for verdict in ("fake", "unsure"))
        rows.append({
            "kind": str(kind), "n": len(own), "n_called_fake": n_fake, "n_unsure": n_unsure,
            "called_fake": n_fake / len(own), "unsure": n_unsure / len(own),
        })  # fmt: skip
    return sorted(rows, key=lambda row: (-row["called_fake"], row["kind"]))


def ai_edits(scores: pd.DataFrame) -> dict | None:
    """Verdicts on photographs that a generator redrew: AI-generated images with the word ai-edit in the column kind.

    They keep a photograph's content and often its pixels, so they are harder than pictures made from a text.

    Returns:
        `n`, the shares `called_fake`, `called_real` and `unsure`, and `auc` against all photographs; None without any.
    """
    if not has_values(scores, "kind"):
        return None
    own = scores[(scores["label"] == 1) & scores["kind"].fillna("").str.contains(r"\bai-edit\b")]
    if own.empty:
        return None
    return {"n": len(own), **_verdict_shares(own), "auc": _auc(pd.concat([own, scores[scores["label"] == 0]]))}


def by_year(scores: pd.DataFrame) -> list[dict]:
    """Verdicts on AI-generated images by the year of their generator, oldest first; those of no known year come last.

    Returns:
        Rows with `year` (None where it is not known), `n`, and the shares `called_fake`, `called_real` and `unsure`.
    """
    fakes = scores[scores["label"] == 1]
    years = fakes["generator"].fillna("").astype(str).map(generator_year).astype("float")
    rows = [
        {"year": None if pd.isna(year) else int(year), "n": len(own), **_verdict_shares(own)}
        for year, own in fakes.groupby(years, dropna=False)
    ]
    return sorted(rows, key=lambda row: (row["year"] is None, row["year"]))


def group_rows(scores: pd.DataFrame, column: str, threshold: float) -> list[dict]:
    """Computes figures per value of a column, lowest AUC first.

    A group with both classes is measured inside itself (`against` = "itself"): the classes share subject and
    processing, so the comparison is fair. A group of one class is measured against all images of the other class. In
    the column generator only fakes are grouped, against all reals, because a real's value names its collection.

    Returns:
        Rows with `name`, `n_real`, `n_fake`, `against`, `auc`, `balanced_accuracy` (at the threshold), `accuracy` and
        `mean_score` (mean p_fake) of the group's own images, and the shares `called_fake` and `unsure` of verdicts.
        Rows of sources have `auc_ci`, [low, high] or None, by bootstrap over the source's groups.
    """
    reals, fakes = scores[scores["label"] == 0], scores[scores["label"] == 1]
    grouped = fakes if column == "generator" else scores
    rows = []
    for name, own in grouped.groupby(grouped[column].fillna("").replace("", "(not given)"), sort=True):
        n_real, n_fake = int((own["label"] == 0).sum()), int((own["label"] == 1).sum())
        against, pool = "itself", own
        if not n_real:
            against, pool = "all reals", pd.concat([own, reals])
        elif not n_fake:
            against, pool = "all fakes", pd.concat([own, fakes])
        auc, balanced = _auc(pool), None
        called, label = pool["p_fake"].to_numpy() >= threshold, pool["label"].to_numpy()
        if auc is not None:
            balanced = float((np.mean(called[label == 1]) + np.mean(~called[label == 0])) / 2)
        own_called = own["p_fake"].to_numpy() >= threshold
        rows.append({
            "name": str(name), "n_real": n_real, "n_fake": n_fake, "against": against if auc is not None else None,
            "auc": auc, "balanced_accuracy": balanced, "accuracy": _mean(own_called == (own["label"] == 1)),
            "mean_score": _mean(own["p_fake"]), "called_fake": _mean(own["verdict"] == "fake"),
            "unsure": _mean(own["verdict"] == "unsure"),
        })  # fmt: skip
        if column == "source":
            rows[-1]["auc_ci"] = source_interval(own, fakes if not n_fake else reals)
    return sorted(rows, key=lambda row: (row["auc"] is None, row["auc"], row["name"]))


def score_shift(clean: pd.DataFrame, degraded: pd.DataFrame) -> dict:
    """Measures how far a degradation moves the scores of the same images.

    Returns:
        For `real` and `fake`: mean change of z (`mean_z`), mean absolute change of p_fake (`mean_abs_p`), and the share
        of images whose verdict changed (`verdict_changed`); None where a class is missing.
    """
    both = clean.merge(degraded, on="index", suffixes=("", "_degraded"))
    result = {}
    for label, name in enumerate(("real", "fake")):
        rows = both[both["label"] == label]
        result[name] = {
            "mean_z": _mean(rows["z_degraded"] - rows["z"]),
            "mean_abs_p": _mean((rows["p_fake_degraded"] - rows["p_fake"]).abs()),
            "verdict_changed": _mean(rows["verdict_degraded"] != rows["verdict"]),
        }
    return result


def worst_mistakes(scores: pd.DataFrame, threshold: float, max_rows: int) -> pd.DataFrame:
    """Returns up to `max_rows` rows on the wrong side of the threshold, the most confident first."""
    wrong = scores[(scores["p_fake"] >= threshold) != (scores["label"] == 1)]
    order = (wrong["p_fake"] - wrong["label"]).abs().sort_values(ascending=False, kind="stable").index
    return wrong.loc[order[:max_rows]]


def classification_text(scores: pd.DataFrame, threshold: float) -> str:
    """Returns scikit-learn's classification report at the threshold."""
    called = (scores["p_fake"] >= threshold).astype(int)
    return classification_report(
        scores["label"], called, labels=[0, 1], target_names=["real", "fake"], digits=4, zero_division=0
    )


def _verdict_shares(own: pd.DataFrame) -> dict[str, float | None]:
    return {name: _mean(own["verdict"] == word) for name, word in SHARES.items()}


def _mean(values) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _auc(scores: pd.DataFrame) -> float | None:
    return float(roc_auc_score(scores["label"], scores["p_fake"])) if scores["label"].nunique() == 2 else None
