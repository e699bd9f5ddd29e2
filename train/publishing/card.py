"""The model card: what report.json and training.json say, for people and (as model-index) for the Hub."""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCardData

from fakedet.network.families import OTHER
from train.evaluation.report import ANSWER_ROWS, METRIC_ROWS, attribution_tables, number, table

METRICS = {  # in report.json: (the Hub's name, ours)
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
PICTURES = {
    "confusion_matrix.png": "Confusion matrix",
    "roc.png": "ROC",
    "precision_recall.png": "Precision and recall",
    "score_histogram.png": "Scores by class",
    "reliability.png": "Reliability diagram",
    "tiers.png": "Tiers",
}
LIMITS = """A hint for a person who also looks at where a picture comes from, and a baseline to fine-tune from. It is
not a proof, and not for automatic decisions about people.

- It judges pixels, not truth: a staged or misleading photograph is still a photograph.
- It is at its best on pictures like those it was trained on. On generators, cameras and processing that it has not seen
  it can be weak; the figures above hold for the data named there and for no other.
- Screenshots, strong compression and small copies take the traces away.
- Retouched photographs, collages, drawings and renderings lie between its two answers."""


def eval_results(report: dict | None, record: dict | None) -> list[EvalResult]:
    """What becomes model-index: each tier of the report, or the best validation epoch where there is no report."""
    common = {"task_type": "image-classification", "task_name": "AI-generated image detection"}
    results = []
    if report:
        for tier, found in report["tiers"].items():
            name_of_data = f"{report['data']}, {report['split']}" + (f", {tier}" if len(report["tiers"]) > 1 else "")
            for key, (kind, name) in METRICS.items():
                if found["metrics"].get(key) is not None:
                    results.append(EvalResult(
                        **common, dataset_type=report["data"], dataset_name=name_of_data,
                        dataset_config=tier, dataset_split=report["split"], metric_type=kind, metric_name=name,
                        metric_value=found["metrics"][key]))  # fmt: skip
    elif record and record["best"]:
        data = " and ".join(record["data"])
        for key, name in {"accuracy": "Accuracy", "auc": "ROC AUC", "loss": "Loss"}.items():
            if record["best"].get(key) is not None:
                kind = "roc_auc" if key == "auc" else key
                results.append(EvalResult(
                    **common, dataset_type=data, dataset_name=f"{data}, validation", dataset_split="validation",
                    metric_type=kind, metric_name=name, metric_value=record["best"][key]))  # fmt: skip
    return results


def model_card(
    repo: str,
    config,
    parameters: int,
    report: dict | None = None,
    record: dict | None = None,
    pictures: set[str] = frozenset(),
    exports: tuple[str, ...] = (),
    license: str = "mit",
    datasets: list[str] | None = None,
    base_model: str | None = None,
) -> str:
    """README.md of a model repository.

    Args:
        repo: "owner/name".
        config: FakeDetConfig.
        parameters: Of the network.
        report: report.json of evaluate.py.
        record: training.json of finetune.py.
        pictures: Names of the plots that lie in plots/.
        exports: Names of exported graphs that lie beside the weights.
        datasets, base_model: Hub ids; by default those that training.json names.
    """
    name = repo.split("/")[-1]
    results = eval_results(report, record)
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="image-classification",
        base_model=base_model or (record or {}).get("base_model"),
        datasets=datasets or (record or {}).get("datasets") or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=["fakedet", "ai-generated-image-detection", "deepfake-detection", "timm"],
        model_name=name if results else None,
        eval_results=results or None,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name}",
        _what(config, parameters),
        "## How to use it",
        _use(repo, exports),
    ]
    if report:
        parts += ["## Results", *_results(report, pictures)]
    elif results:
        rows = [[result.metric_name, result.metric_value] for result in results]
        parts += ["## Results", f"The best epoch on validation, centre crops only, of {_counts(record)}.",
                  table(["validation", "value"], rows)]  # fmt: skip
    parts += ["## Intended use and limits", LIMITS]
    if record:
        parts += ["## Training", _training(record)]
    return "\n\n".join(parts) + "\n"


def _what(config, parameters: int) -> str:
    low, high = config.unsure_band
    families = ", ".join(name for name in config.families if name != OTHER)
    band = f"strictly between {low:.4g} and {high:.4g} the answer is unsure" if low < high else "no answer is unsure"
    return (
        "Tells a camera photograph (label 0, real) from an AI-generated image (label 1, fake). "
        f"{config.backbone} with global average pooling, {config.hidden_size} units and one output: "
        f"{parameters / 1e6:.1f} million parameters. It sees up to {config.max_views} crops of {config.input_size} x "
        f"{config.input_size} native pixels. From P(fake) = {config.threshold:g} an image counts as fake; {band}."
        + (f" It names the family of generators where it is confident: {families}." if families else "")
    )


def _use(repo: str, exports: tuple[str, ...]) -> str:
    text = f"""With transformers alone (the modelling code is in this repository):

```python
from transformers import pipeline

pipeline("image-classification", model="{repo}", trust_remote_code=True)("photo.jpg")
```

With fakedet (three answers, heat map, provenance; no code of this repository is run):

```python
from fakedet import Detector

verdict = Detector.from_pretrained("{repo}").predict("photo.jpg")
print(verdict.headline, verdict.p_fake)
```

As a page: `FAKEDET_MODEL={repo} python app.py`."""
    return text + (f" Exported graphs: {', '.join(f'`{name}`' for name in exports)}." if exports else "")


def _results(report: dict, pictures: set[str]) -> list[str]:
    tiers, counts = report["tiers"], report["counts"]
    text = f"{report['data']}, split {report['split']}: {counts['scored']:,} of {counts['images']:,} images scored "
    text += f"({counts['real']:,} real, {counts['fake']:,} fake). Full precision is in `report.json`."
    parts = [text]
    for rows, part, title in ((METRIC_ROWS, "metrics", "at the threshold"),
                              (ANSWER_ROWS, "three_answers", "three answers")):  # fmt: skip
        body = [[words, *(tier[part][key] for tier in tiers.values())] for words, key in rows if key]
        parts.append(table([title, *tiers], body))
    parts.append("\n".join(f"- **{name}**: {tier['words']}" for name, tier in tiers.items()))
    first = next(iter(tiers.values()))
    for column, rows in first["by"].items():
        body = [[str(row["name"]), row["n_real"], row["n_fake"], row["auc"], row["called_fake"]] for row in rows]
        parts.append(table([f"by {column}", "real", "fake", "AUC", "called fake"], body))
    if report.get("attribution"):
        parts += ["Families of generators:", *attribution_tables(report["attribution"])]
    if report["probes"]:
        body = [[probe["words"], probe["strength"]] for probe in report["probes"]]
        body.append(["**the detector**", first["metrics"]["roc_auc"]])
        parts += ["Single numbers that should tell nothing, and how well they separate the classes all the same:",
                  table(["shortcut", "AUC"], body)]  # fmt: skip
    latency = report["latency_ms"]
    if latency["n"]:
        parts.append(f"One image takes {number(latency['median'], 1)} ms (median of {latency['n']}; 95 % under "
                     f"{number(latency['p95'], 1)} ms) on {latency['where']}.")  # fmt: skip
    parts += [f"![{words}](plots/{file})" for file, words in PICTURES.items() if file in pictures]
    return [*parts, f"Made on {report['date']} by\n\n```\n{report['command']}\n```"]


def _counts(record: dict) -> str:
    return f"{record['images'].get('validation', 0):,} images of {' and '.join(record['data'])}"


def _training(record: dict) -> str:
    minutes = record["seconds"] / 60
    text = f"{record['images']['train']:,} training images of {' and '.join(record['data'])}, {record['processes']} "
    text += f"process(es) on {record['device']}, {minutes:.1f} minutes, finished {record['date']}."
    versions = ", ".join(f"{name} {found}" for name, found in record["versions"].items())
    return f"{text}\n\n```\n{record['command']}\n```\n\nEnvironment: {versions}."
