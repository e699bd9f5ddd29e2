"""What a model repository on the Hub holds: the checkpoint, its modelling code, exports, figures, plots and card."""

from __future__ import annotations

import json
from pathlib import Path

import fakedet
from fakedet.hub import checkpoint as hub
from train.learning.record import NAME as RECORD
from train.learning.record import private_paths

from .card import CardSource, model_card
from .card_figures import PICTURES
from .model_index import all_reports
from .push import Plan, PublishError

CODE = ("settings.py", "configuration.py", "model.py", "borders.py", "views.py", "processing.py")
AUTO_MAP = {
    "AutoConfig": "configuration.FakeDetConfig",
    "AutoModelForImageClassification": "model.FakeDetForImageClassification",
    "AutoImageProcessor": "processing.FakeDetImageProcessor",
}
OURS = {*hub.FILES, *CODE, RECORD, "preprocessor_config.json"}
MISTAKES = "mistakes.png"  # shows images of the data set, which may not be ours to publish


def model_plan(args) -> Plan:
    """Everything that goes to the model's repository.

    Args:
        args: Of publish.py (model, repo, report, card, license, datasets, base_model, mistakes); repo is None for the
            card of the bundled checkpoint.

    Raises:
        PublishError: The checkpoint cannot be used, or report or graphs belong to other weights.
    """
    if args.card and not args.card.is_file():
        raise PublishError(f"There is no card {args.card}.")
    try:
        checkpoint = hub.load_checkpoint(args.model)
    except hub.ModelError as error:
        raise PublishError(str(error)) from None
    folder = checkpoint.folder
    report, plots = read_report(Path(args.report) if args.report else folder, checkpoint, required=bool(args.report))
    if not args.mistakes:
        plots.pop(MISTAKES, None)
    record = json.loads((folder / RECORD).read_text()) if (folder / RECORD).is_file() else None
    source = CardSource(
        config=checkpoint.settings,
        parameters=checkpoint.parameters,
        sha256=checkpoint.sha256,
        report=report,
        record=record,
        plots=frozenset(plots) & frozenset(PICTURES),
        exports=exported_graphs(checkpoint),
    )
    files = checkpoint_files(folder)
    files |= {name: folder / name for name in source.exports}
    files |= {f"plots/{name}": path for name, path in plots.items()}
    files |= {name: encoded(value) for name, value in (("report.json", report), (RECORD, record)) if value}
    card = model_card(source, args.repo, args.license, args.datasets, args.base_model)
    files["README.md"] = args.card if args.card else card.encode()
    message = f"fakedet {fakedet.__version__}: weights {checkpoint.sha256[:12]}"
    return Plan(args.repo, "model", files, lambda path: path in OURS or path.startswith("plots/"), message)


def checkpoint_files(folder: Path) -> dict[str, bytes | Path]:
    """Weights, configuration and modelling code, so that transformers loads them with trust_remote_code."""
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {key: AUTO_MAP[key] for key in ("AutoConfig", "AutoModelForImageClassification")}
    processor = {
        "image_processor_type": "FakeDetImageProcessor",
        "auto_map": {"AutoImageProcessor": AUTO_MAP["AutoImageProcessor"]},
    }
    code = Path(fakedet.__file__).parent / "network"
    return {
        "config.json": encoded(config),
        hub.WEIGHTS: folder / hub.WEIGHTS,
        "preprocessor_config.json": encoded(processor),
        **{name: code / name for name in CODE},
    }


def exported_graphs(checkpoint: hub.Checkpoint) -> tuple[str, ...]:
    """File names of the graphs beside the weights.

    Raises:
        PublishError: A graph was made with other weights; each names its own.
    """
    names = tuple(name for name in hub.GRAPHS if (checkpoint.folder / name).is_file())
    for name in names:
        path = checkpoint.folder / name
        if checkpoint.sha256.encode() not in path.read_bytes():
            raise PublishError(f"{path} was made with other weights: run train/export.py again, or remove it.")
    return names


def read_report(folder: Path, checkpoint: hub.Checkpoint, required: bool) -> tuple[dict | None, dict[str, Path]]:
    """report.json without paths of this machine, and the plots beside it by file name.

    Raises:
        PublishError: The report is required and missing, or was made with other weights or another calibration.
    """
    path = folder / "report.json"
    if not path.is_file():
        if required:
            raise PublishError(f"{folder} has no report.json: run train/evaluate.py with this --output_dir first.")
        return None, {}
    report = json.loads(path.read_text(encoding="utf-8"))
    config = checkpoint.settings
    for part in all_reports(report):
        if part["model"]["sha256"] != checkpoint.sha256:
            raise PublishError(f"{path} was made with other weights than {checkpoint.id}'s: evaluate these first.")
        tiny = "tiny" not in part or part["tiny"]["unsure_band"] == list(config.tiny_unsure_band)
        if (part["threshold"], part["unsure_band"]) != (config.threshold, list(config.unsure_band)) or not tiny:
            raise PublishError(f"{path} was made before the last calibration of {checkpoint.id}: evaluate again.")
        part["command"] = private_paths(part["command"])
        part["data"] = Path(part["data"]).name if Path(part["data"]).is_absolute() else part["data"]
    return report, {plot.name: plot for plot in sorted(folder.glob("*.png"))}


def encoded(value: dict) -> bytes:
    """JSON as it is written everywhere in a repository."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
