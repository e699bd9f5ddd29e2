"""The model card: config.json, report.json and training.json in the order of the Hub's model card template."""

from __future__ import annotations

from dataclasses import dataclass

from fakedet.network.settings import Settings
from train.evaluation.report import table

from . import card_figures as figures
from .card_network import network_facts
from .model_index import eval_results, front_matter

BUNDLED = "fakedet"  # title of the card of the checkpoint that lies in the package
ABOUT = "Tells a camera photograph (label 0, `real`) from an AI-generated image (label 1, `fake`), or answers `unsure`."
USES = """- **Direct use:** a hint for a person who also looks at where an image comes from.
- **Downstream use:** a baseline to fine-tune on other generators and cameras.
- **Out of scope:** proof, and automatic decisions about people."""
LIMITS = """- The model judges pixels, not truth: a staged or misleading photograph is still a photograph.
- The figures hold for the data they name. Other generators, cameras and processing can be harder.
- Screenshots, strong compression and small copies remove the traces that the model reads.
- Retouched photographs, collages, drawings and renderings lie between the two classes.
- Recommendation: measure the error on your own images (`train/evaluate.py`), and treat `unsure` as no answer."""
IN_PACKAGE = """```python
from fakedet import Detector

verdict = Detector.from_pretrained().predict("photo.jpg")
print(verdict.headline, verdict.p_fake)

from transformers import pipeline  # fakedet is imported above and registers the model type

pipeline("image-classification", model="fakedet/pretrained")("photo.jpg")
```

As a page: `python app.py`."""
ON_HUB = """```python
from transformers import pipeline  # the modelling code comes from this repository

pipeline("image-classification", model="{repo}", trust_remote_code=True)("photo.jpg")

from fakedet import Detector  # abstention, heat map, provenance; runs no code of this repository

verdict = Detector.from_pretrained("{repo}").predict("photo.jpg")
print(verdict.headline, verdict.p_fake)
```

As a page: `FAKEDET_MODEL={repo} python app.py`."""


@dataclass(frozen=True)
class CardSource:
    """What a card is made from.

    Attributes:
        config: Of the checkpoint.
        parameters: Number in all networks of the checkpoint.
        sha256: Of the weights file, hex.
        report: report.json of evaluate.py or bundle_report.py; None without an evaluation.
        record: training.json of finetune.py; None where it is missing.
        plots: File names in plots/.
        exports: File names of exported graphs beside the weights.
    """

    config: Settings
    parameters: int
    sha256: str
    report: dict | None = None
    record: dict | None = None
    plots: frozenset[str] = frozenset()
    exports: tuple[str, ...] = ()


def model_card(
    source: CardSource,
    repo: str | None = None,
    license: str = "mit",
    datasets: list[str] | None = None,
    base_model: str | None = None,
) -> str:
    """README.md of a model repository.

    Args:
        source: What the card is made from.
        repo: "owner/name" on the Hub; None for the checkpoint in the package.
        license: Identifier, as the Hub lists them.
        datasets, base_model: Hub ids; by default those in training.json.
    """
    record = source.record or {}
    name = repo.split("/")[-1] if repo else BUNDLED
    base_model = base_model or record.get("base_model")
    results = eval_results(source.report, source.record)
    facts = network_facts(source.config, source.parameters, source.sha256) | {"License": license}
    if base_model:
        facts["Finetuned from model"] = base_model
    parts = [
        front_matter(name, results, license, datasets or record.get("datasets") or None, base_model),
        f"# Model Card for {name}",
        ABOUT + (f" {figures.summary(source.report)}" if source.report else ""),
        "## Model Details",
        "\n".join(f"- **{key}:** {text}" for key, text in facts.items()),
        f"## Uses\n\n{USES}",
        "## Bias, Risks, and Limitations",
        "\n".join([LIMITS, *_measured_limits(source.report)]),
        "## How to Get Started with the Model",
        _get_started(repo, source.exports),
        "## Training Details",
        *_training(source.record, repo),
        "## Evaluation",
        *(_evaluation(source.report, source.plots) if source.report else _best_epoch(source.record, results)),
        *(_environment(source.record) if source.record else []),
        f"## Citation\n\nThere is no paper. Cite {repo or 'the repository'} and the SHA-256 of the weights, "
        f"`{source.sha256[:16]}...`.",
    ]
    return "\n\n".join(parts) + "\n"


def _measured_limits(report: dict | None) -> list[str]:
    return [*figures.weak_points(report), *figures.families(report)] if report else []


def _get_started(repo: str | None, exports: tuple[str, ...]) -> str:
    text = ON_HUB.format(repo=repo) if repo else IN_PACKAGE
    return text + (f" Exported graphs: {', '.join(f'`{name}`' for name in exports)}." if exports else "")


def _training(record: dict | None, repo: str | None) -> list[str]:
    more = [] if repo else ["`train/EXPERIMENTS.md` tells how the bundled checkpoint came about; `train/README.md` "
                            "describes the data sets."]  # fmt: skip
    if not record:
        return ["No training record (training.json) lies beside these weights.", *more]
    records = {"": record} | ({" (network for tiny images)": record["tiny"]} if record.get("tiny") else {})
    data = [f"- {_data(part)}{which}: {_counts(part)}" for which, part in records.items()]
    commands = [f"{part['command']}  # {part['date']}" for part in records.values()]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return [
        "### Training Data",
        "\n".join(data),
        "### Training Procedure",
        "\n".join(["```", *commands, "```"]),
        f"Software: {versions}.",
        *more,
    ]


def _counts(record: dict) -> str:
    return ", ".join(f"{count:,} {split} images" for split, count in record["images"].items())


def _data(record: dict) -> str:
    return " and ".join(record["data"])


def _evaluation(report: dict, plots: frozenset[str]) -> list[str]:
    """The section of a checkpoint with a report."""
    lines = [
        "### Testing Data, Factors & Metrics",
        "\n".join([*figures.testing_data(report), *figures.factors(report)]),
        figures.legend(report),
        "### Results",
        figures.results_table(report),
        "Figures per source, generator and content, and full precision, are in `report.json`. Made by",
        figures.commands(report),
        figures.latency(report),
        *(f"![{title}](plots/{file})" for file, title in figures.PICTURES.items() if file in plots),
    ]
    return [line for line in lines if line]


def _best_epoch(record: dict | None, results: list) -> list[str]:
    """The section of a checkpoint without a report: the best epoch of its training."""
    if not results:
        return ["This checkpoint was not evaluated: run `train/evaluate.py`."]
    rows = [[result.metric_name, result.metric_value] for result in results]
    text = f"The best epoch on the validation split of {_data(record)}, scored by the centre view of each image."
    return [text, table(["validation", "value"], rows)]


def _environment(record: dict) -> list[str]:
    """Hardware and time, from which energy can be estimated."""
    return [
        "## Environmental Impact",
        f"- **Hardware type:** {record['device']}, {record['processes']} process(es)\n"
        f"- **Hours used:** {record['seconds'] / 3600:.2f}",
    ]
