"""What a model repository on the Hub holds: the checkpoint, its modelling code, exports, figures, plots and card."""

from __future__ import annotations

import json
from pathlib import Path

import fakedet
from fakedet.hub import checkpoint as hub
from train.learning.record import NAME as RECORD
from train.learning.record import private_paths
from train.publishing.card import PICTURES, model_card
from train.publishing.push import Plan, PublishError

CODE = ("configuration.py", "model.py", "views.py", "processing.py")
AUTO_MAP = {
    "AutoConfig": "configuration.FakeDetConfig",
    "AutoModelForImageClassification": "model.FakeDetForImageClassification",
    "AutoImageProcessor": "processing.FakeDetImageProcessor",
}
OURS = {*hub.FILES, *CODE, RECORD, "preprocessor_config.json"}


def model_plan(args) -> Plan:
    """Everything that goes to the model's repository.

    Args:
        args: Of publish.py (model, repo, report, card, license, datasets, base_model, mistakes).

    Raises:
        PublishError: The checkpoint is not a good one, or the report is not of this checkpoint.
    """
    if args.card and not args.card.is_file():
        raise PublishError(f"There is no card {args.card}.")
    try:
        checkpoint = hub.load_checkpoint(args.model)
    except hub.ModelError as error:
        raise PublishError(str(error)) from None
    folder = checkpoint.folder
    report, plots = read_report(Path(args.report) if args.report else folder, checkpoint, required=bool(args.report))
    record = json.loads((folder / RECORD).read_text()) if (folder / RECORD).is_file() else None
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {key: AUTO_MAP[key] for key in ("AutoConfig", "AutoModelForImageClassification")}
    processor = {"image_processor_type": "FakeDetImageProcessor",
                 "auto_map": {"AutoImageProcessor": AUTO_MAP["AutoImageProcessor"]}}  # fmt: skip
    exports = tuple(name for name in hub.GRAPHS if (folder / name).is_file())
    for name in exports:  # a graph names the weights that it was made with
        if checkpoint.sha256.encode() not in (folder / name).read_bytes():
            raise PublishError(f"{folder / name} was made with other weights: run train/export.py again, or remove it.")
    if not args.mistakes:  # they show pictures of the data set, which may not be ours to publish
        plots.pop("mistakes.png", None)
    files: dict[str, bytes | Path] = {
        "config.json": encoded(config),
        hub.WEIGHTS: folder / hub.WEIGHTS,
        "preprocessor_config.json": encoded(processor),
        **{name: Path(fakedet.__file__).parent / "network" / name for name in CODE},
        **{name: folder / name for name in exports},
        **{f"plots/{name}": path for name, path in plots.items()},
    }
    if report:
        files["report.json"] = encoded(report)
    if record:
        files[RECORD] = encoded(record)
    parameters = sum(p.numel() for p in checkpoint.model.parameters())
    card = model_card(args.repo, checkpoint.model.config, parameters, report, record, set(plots) & set(PICTURES),
                      exports, args.license, args.datasets, args.base_model)  # fmt: skip
    files["README.md"] = args.card if args.card else card.encode()
    message = f"fakedet {fakedet.__version__}: weights {checkpoint.sha256[:12]}"
    return Plan(args.repo, "model", files, lambda path: path in OURS or path.startswith("plots/"), message)


def read_report(folder: Path, checkpoint: hub.Checkpoint, required: bool) -> tuple[dict | None, dict[str, Path]]:
    """report.json without paths of this machine, and the plots beside it by name.

    Raises:
        PublishError: There is none although it is required, or it was made with other weights or calibration.
    """
    path = folder / "report.json"
    if not path.is_file():
        if required:
            raise PublishError(f"{folder} has no report.json: run train/evaluate.py with this --output_dir first.")
        return None, {}
    report = json.loads(path.read_text())
    config = checkpoint.model.config
    if report["model"]["sha256"] != checkpoint.sha256:
        raise PublishError(f"{path} was made with other weights than {checkpoint.id}'s: evaluate these first.")
    tiny = "tiny" not in report or report["tiny"]["unsure_band"] == list(config.tiny_unsure_band)
    if (report["threshold"], report["unsure_band"]) != (config.threshold, list(config.unsure_band)) or not tiny:
        raise PublishError(f"{path} was made before the last calibration of {checkpoint.id}: evaluate again.")
    report["command"] = private_paths(report["command"])
    report["data"] = Path(report["data"]).name if Path(report["data"]).is_absolute() else report["data"]
    return report, {plot.name: plot for plot in sorted(folder.glob("*.png"))}


def encoded(value: dict) -> bytes:
    """JSON as it is written everywhere here."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
