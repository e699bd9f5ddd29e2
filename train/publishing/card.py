"""The model card: config.json, report.json and training.json in the order of the Hub's model card template."""

from __future__ import annotations

from dataclasses import dataclass

from fakedet.network.configuration import FakeDetConfig
from train.evaluation.report import table
from train.publishing import card_figures as figures
from train.publishing.card_network import network_facts
from train.publishing.model_index import eval_results, front_matter

BUNDLED = "fakedet"  # title of the card of the checkpoint that lies in the package
ABOUT = "Tells a camera photograph (label 0, `real`) from an AI-generated image (label 1, `fake`), or answers `unsure`."
USES = """### Direct Use

A hint for a person who also looks at where an image comes from.

### Downstream Use

A baseline to fine-tune on the generators and cameras of one's own.

### Out-of-Scope Use

Proof, and automatic decisions about people."""
LIMITS = """- The model judges pixels, not truth: a staged or misleading photograph is still a photograph.
- The figures hold for the data they name. Generators, cameras and processing outside of the training data can be harder.
- Screenshots, strong compression and small copies remove the traces that the model reads.
- Retouched photographs, collages, drawings and renderings lie between the two classes."""
RECOMMENDATION = """### Recommendations

Measure the error on your own images before you rely on an answer (`train/evaluate.py`), and treat `unsure` as no answer."""
IN_PACKAGE = """```python
from fakedet import Detector

verdict = Detector.from_pretrained().predict("photo.jpg")
print(verdict.headline, verdict.p_fake)
```

With transformers, in a checkout of the repository:

```python
import fakedet
from transformers import pipeline

pipeline("image-classification", model="fakedet/pretrained")("photo.jpg")
```

As a page: `python app.py`."""
ON_HUB = """With transformers alone (the modelling code is in this repository):

```python
from transformers import pipeline

pipeline("image-classification", model="{repo}", trust_remote_code=True)("photo.jpg")
```

With fakedet (abstention, heat map, provenance; no code of this repository runs):

```python
from fakedet import Detector

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

    config: FakeDetConfig
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
        "## Model Details\n\n### Model Description",
        "\n".join(f"- **{key}:** {text}" for key, text in facts.items()),
        f"## Uses\n\n{USES}",
        "## Bias, Risks, and Limitations",
        "\n".join([LIMITS, *_measured_limits(source.report)]),
        RECOMMENDATION,
        "## How to Get Started with the Model",
        _get_started(repo, source.exports),
        "## Training Details",
        _training(source.record, repo),
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


def _training(record: dict | None, repo: str | None) -> str:
    if not record:
        more = "" if repo else " `train/EXPERIMENTS.md` describes how the checkpoint was trained."
        return f"No training record (training.json) lies beside these weights.{more}"
    return (
        f"### Training Data\n\n{_data(record)}: {_images(record, 'train')} training images, "
        f"{_images(record, 'validation')} validation images.\n\n"
        f"### Training Procedure\n\nFinished {record['date']} by\n\n```\n{record['command']}\n```"
    )


def _images(record: dict, split: str) -> str:
    return f"{record['images'].get(split, 0):,}"


def _data(record: dict) -> str:
    return " and ".join(record["data"])


def _evaluation(report: dict, plots: frozenset[str]) -> list[str]:
    """The section of a checkpoint with a report."""
    lines = [
        "### Testing Data, Factors & Metrics\n\n#### Testing Data",
        "\n".join(figures.testing_data(report)),
        "#### Factors\n\nReal and fake images of a tier are degraded identically:",
        "\n".join(figures.factors(report)),
        f"#### Metrics\n\n{figures.legend(report)}",
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
    images = f"{_images(record, 'validation')} images of {_data(record)}"
    text = f"The best epoch on the validation split ({images}), scored by the centre view of each image."
    return [text, table(["validation", "value"], rows)]


def _environment(record: dict) -> list[str]:
    """Hardware and time, which energy can be estimated from, and software."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return [
        "## Environmental Impact",
        f"- **Hardware Type:** {record['device']}, {record['processes']} process(es)\n"
        f"- **Hours used:** {record['seconds'] / 3600:.2f}",
        f"## Technical Specifications\n\n### Software\n\n{versions}",
    ]
