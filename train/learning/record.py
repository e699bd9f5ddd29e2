"""training.json: command, data, device and versions of a training, for the model card. It has no absolute paths."""

from __future__ import annotations

import json
import platform
import re
import shlex
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import timm
import torch

from fakedet import __version__
from train.learning.config import TrainConfig

PACKAGES = ("torch", "timm", "transformers", "accelerate", "datasets", "pillow", "numpy")
NAME = "training.json"


def private_paths(text: str) -> str:
    """The text with each absolute path cut to its last part: a card must not show the name of a home folder."""
    return re.sub(r"(?<![\w.:/-])(?:/|~/|[A-Za-z]:\\)[^\s'\",]*[/\\]([^\s'\",/\\]+)", r"\1", text)


def hub_id(name: str | None) -> str | None:
    """The Hub id without its revision; None if `name` is a local folder or no Hub id."""
    name = (name or "").partition("@")[0]
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists() else None


def base_model(config: TrainConfig) -> str | None:
    """Hub id of the weights that a training started from; None if they have none."""
    if config.init_from:
        return hub_id(config.init_from)
    if config.no_pretrained or config.backbone_weights:
        return None
    cfg = timm.get_pretrained_cfg(config.backbone, allow_unregistered=True)
    return cfg.hf_hub_id and f"timm/{cfg.architecture}.{cfg.tag}" if cfg else None


def write_record(config: TrainConfig, accelerator, images: dict[str, int], seconds: float) -> Path:
    """Writes training.json into the output folder.

    Args:
        images: Count by split, over all data sets.
        seconds: Duration of the run since it was last resumed.
    """
    output = Path(config.output_dir)
    rows = [json.loads(line) for line in (output / "train_log.jsonl").read_text().splitlines()]
    best = next((row for row in reversed(rows) if row.get("better")), None)
    device = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else f"CPU ({platform.machine()})"
    kept = ("phase", "epoch", "loss", "accuracy", "auc")
    names = [source.path for source in config.data]
    record = {
        "schema": "1",
        "command": private_paths(f"accelerate launch train/finetune.py {shlex.join(config.command_line)}"),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "data": [Path(name).name if Path(name).exists() else name for name in names],
        "datasets": [hub_id(name) for name in names if hub_id(name)],
        "images": images,
        "base_model": base_model(config),
        "processes": accelerator.num_processes,
        "device": device,
        "seconds": round(seconds, 1),
        "best": {key: best[key] for key in kept if key in best} if best else None,
        "versions": {"fakedet": __version__, "python": platform.python_version()} | {n: version(n) for n in PACKAGES},
    }  # fmt: skip
    path = output / NAME
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path
