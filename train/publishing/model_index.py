"""Front matter of a model card: what the Hub reads, with the figures of report.json as model-index."""

from __future__ import annotations

import yaml
from huggingface_hub import EvalResult, ModelCardData

METRICS = {  # key in report.json: (the Hub's name, the name shown)
    "accuracy": ("accuracy", "Accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "roc_auc": ("roc_auc", "ROC AUC"),
    "average_precision": ("average_precision", "Average precision"),
    "precision": ("precision", "Precision (fake)"),
    "recall": ("recall", "Recall (fake)"),
    "f1": ("f1", "F1 (fake)"),
    "tpr_at_5fpr": ("tpr_at_5fpr", "TPR at 5 % FPR"),
    "ece": ("ece", "Expected calibration error"),
    "brier": ("brier_score", "Brier score"),
}
BEST_EPOCH = {"accuracy": ("accuracy", "Accuracy"), "auc": ("roc_auc", "ROC AUC"), "loss": ("loss", "Loss")}
TASK = {"task_type": "image-classification", "task_name": "AI-generated image detection"}
TAGS = ["fakedet", "ai-generated-image-detection", "deepfake-detection", "timm"]


def all_reports(report: dict | None) -> list[dict]:
    """The main report and those that bundle_report.py put into its key `more`; none of None."""
    return [report, *report.get("more", ())] if report else []


def eval_results(report: dict | None, record: dict | None) -> list[EvalResult]:
    """Each tier of each report; the best validation epoch of training.json where there is no report."""
    results = []
    for part in all_reports(report):
        for tier, figures in part["tiers"].items():
            dataset = {
                "dataset_type": part["data"],
                "dataset_name": f"{part['data']}, {part['split']}" + (f", {tier}" if len(part["tiers"]) > 1 else ""),
                "dataset_config": tier,
                "dataset_split": part["split"],
            }
            results += _results(figures["metrics"], METRICS, dataset)
    if not report and record and record["best"]:
        data = " and ".join(record["data"])
        dataset = {"dataset_type": data, "dataset_name": f"{data}, validation", "dataset_split": "validation"}
        results = _results(record["best"], BEST_EPOCH, dataset)
    return results


def _results(figures: dict, metrics: dict[str, tuple[str, str]], dataset: dict) -> list[EvalResult]:
    return [
        EvalResult(**TASK, **dataset, metric_type=kind, metric_name=name, metric_value=figures[key])
        for key, (kind, name) in metrics.items()
        if figures.get(key) is not None
    ]


def front_matter(
    name: str, results: list[EvalResult], license: str, datasets: list[str] | None, base_model: str | None
) -> str:
    """YAML between two lines of dashes.

    Args:
        name: Of the model, in model-index.
        results: Of `eval_results`.
        license: Identifier, as the Hub lists them.
        datasets, base_model: Hub ids; left out when None.
    """
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="image-classification",
        base_model=base_model,
        datasets=datasets,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=TAGS,
        model_name=name if results else None,
        eval_results=results or None,
    )
    values = data.to_dict()
    index = values.pop("model-index", [])
    lines = ["---", yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120).strip()]
    for model in index:
        lines += ["model-index:", f"- name: {_one_line(model['name'])}", "  results:"]
        lines += [f"  - {_one_line(result)}" for result in model["results"]]
    return "\n".join([*lines, "---"])


def _one_line(value) -> str:
    """YAML on one line: model-index has a hundred values, and only the Hub reads them."""
    return yaml.safe_dump([value], sort_keys=False, default_flow_style=True, width=float("inf")).strip()[1:-1]
