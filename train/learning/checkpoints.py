"""What a training run writes: checkpoints, the best model and the log."""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from fakedet.hub import save_checkpoint
from train.learning.config import TrainConfig
from train.learning.state import Progress

log = logging.getLogger("fakedet.train")


class SaveError(Exception):
    """A file could not be written, most likely because the disk is full; earlier files are intact."""


@contextmanager
def save_errors(what: str):
    """Turns the exceptions that the libraries raise on a full or missing disk into one sentence.

    Raises:
        SaveError: `what` could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # torch raises RuntimeError where a write fails
        if isinstance(error, RuntimeError) and "write" not in str(error) and "writing" not in str(error):
            raise
        reason = str(error).strip().splitlines()[0][:200]
        text = f"{what} could not be written ({reason}); earlier checkpoints are intact. Is the disk full?"
        raise SaveError(text) from None


def save_state(accelerator, config: TrainConfig, progress: Progress) -> None:
    """Writes a checkpoint beside the last one and only then removes that: a kill always leaves one whole.

    Raises:
        SaveError: The disk is full or gone; the last checkpoint is still there.
    """
    root = Path(config.output_dir) / "checkpoints"
    name = f"step_{progress.step:07d}"
    partial = root / f"{name}.partial"
    if accelerator.is_main_process and partial.exists():  # of a run that was killed
        shutil.rmtree(partial)
    accelerator.wait_for_everyone()
    try:
        with save_errors("The checkpoint"):
            accelerator.save_state(str(partial))
    except SaveError:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        replace_checkpoint(root, name)
    accelerator.wait_for_everyone()


def replace_checkpoint(root: Path, name: str) -> None:
    """Renames NAME.partial to NAME and removes all other checkpoints; one of them is whole at any moment."""
    before = root / f"{name}.before"
    if (root / name).exists():
        shutil.rmtree(before, ignore_errors=True)
        os.replace(root / name, before)
    os.replace(root / f"{name}.partial", root / name)
    waste = root / "removed"  # a kill during the removal leaves no half checkpoint under a checkpoint's name
    if waste.exists():
        shutil.rmtree(waste)
    for old in list(root.iterdir()):
        if old.name != name:
            os.replace(old, waste)
            shutil.rmtree(waste)


def keep_best(accelerator, config: TrainConfig, model, report: dict, progress: Progress, phase: str) -> bool:
    """Writes the model to the output folder if it is the best so far (always if there is no validation split)."""
    score = report.get(config.metric)
    sign = -1 if config.metric == "loss" else 1
    better = score is None or progress.best is None or sign * score > sign * progress.best
    if better:
        progress.best, progress.bad_epochs = score, 0
        if accelerator.is_main_process:
            with save_errors("The best model"):
                save_checkpoint(model, config.output_dir)
    elif phase == "finetune":
        progress.bad_epochs += 1
    return better


def log_metrics(accelerator, config: TrainConfig, row: dict) -> None:
    """Adds one line to the training log: on the screen, in train_log.jsonl and in the trackers."""
    if not accelerator.is_main_process:
        return
    row = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
    log.info(json.dumps(row))
    with save_errors("The training log"), open(Path(config.output_dir) / "train_log.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    if config.with_tracking:
        accelerator.log({key: value for key, value in row.items() if isinstance(value, float)}, step=row["step"])


def find_checkpoint(config: TrainConfig) -> Path | None:
    """The folder that --resume_from_checkpoint means; None if there is nothing to resume.

    Raises:
        SystemExit: The folder is not a checkpoint.
    """
    if not config.resume_from_checkpoint:
        return None
    path = Path(config.resume_from_checkpoint)
    if config.resume_from_checkpoint == "latest":
        folders = sorted((Path(config.output_dir) / "checkpoints").glob("step_*"))
        whole = [p for p in folders if not p.suffix] or [p for p in folders if p.suffix == ".before"]
        if not whole:
            log.info("no checkpoint to resume: starting from the beginning")
            return None
        path = whole[-1]
    if not (path / "custom_checkpoint_0.pkl").is_file():
        raise SystemExit(f"{path} is not a checkpoint of finetune.py")
    return path
