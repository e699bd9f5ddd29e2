"""What a training run keeps: its place, its checkpoints, the best model, the log."""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from fakedet.hub import save_checkpoint

log = logging.getLogger("fakedet.train")


class SaveError(Exception):
    """Something could not be written, most likely for a full disk; what was saved before is whole."""


@contextmanager
def writing(what: str):
    """Turns what a full or missing disk makes the libraries raise into one sentence.

    Raises:
        SaveError: It could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # torch raises RuntimeError where a write fails
        if isinstance(error, RuntimeError) and "write" not in str(error) and "writing" not in str(error):
            raise
        reason = str(error).strip().splitlines()[0][:200]
        text = f"{what} could not be written ({reason}); what was saved before is whole. Is the disk full?"
        raise SaveError(text) from None


class Progress:
    """Where the run stands; saved with every checkpoint, together with the averaged weights and the scheduler."""

    def __init__(self):
        self.phase = self.epoch = self.batch = self.step = 0
        self.phase_step = 0
        self.best, self.bad_epochs = None, 0
        self.ema = self.plateau = None

    def state_dict(self) -> dict:
        plain = {key: value for key, value in vars(self).items() if key not in ("ema", "plateau")}
        parts = {key: getattr(self, key).state_dict() for key in ("ema", "plateau") if getattr(self, key)}
        return {"plain": plain, **parts}

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state["plain"])
        for key in ("ema", "plateau"):
            if getattr(self, key):
                getattr(self, key).load_state_dict(state[key])


def save_state(accelerator, args, progress: Progress) -> None:
    """Writes a checkpoint beside the last one and only then removes that: a kill never leaves less than one whole.

    Raises:
        SaveError: The disk is full or gone; the last checkpoint is still there.
    """
    root = Path(args.output_dir) / "checkpoints"
    name = f"step_{progress.step:07d}"
    partial, before = root / f"{name}.partial", root / f"{name}.before"
    if accelerator.is_main_process and partial.exists():  # of a run that was killed
        shutil.rmtree(partial)
    accelerator.wait_for_everyone()
    try:
        with writing("The checkpoint"):
            accelerator.save_state(str(partial))
    except SaveError:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if (root / name).exists():  # two names, so that one of them is whole at any moment
            shutil.rmtree(before, ignore_errors=True)
            os.replace(root / name, before)
        os.replace(partial, root / name)
        waste = root / "removed"  # a kill while it is removed leaves no half under a checkpoint's name
        if waste.exists():
            shutil.rmtree(waste)
        for old in list(root.iterdir()):
            if old.name != name:
                os.replace(old, waste)
                shutil.rmtree(waste)
    accelerator.wait_for_everyone()


def keep_best(accelerator, args, model, report: dict, progress: Progress, phase: str) -> bool:
    """Writes the model to the output folder if it is the best so far (always when there is no validation split)."""
    score = report.get(args.metric)
    sign = -1 if args.metric == "loss" else 1
    better = score is None or progress.best is None or sign * score > sign * progress.best
    if better:
        progress.best, progress.bad_epochs = score, 0
        if accelerator.is_main_process:
            with writing("The best model"):
                save_checkpoint(model, args.output_dir)
    elif phase == "finetune":
        progress.bad_epochs += 1
    return better


def note(accelerator, args, row: dict) -> None:
    """One line of the training log: to the screen, to train_log.jsonl and to the trackers."""
    if not accelerator.is_main_process:
        return
    row = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
    log.info(json.dumps(row))
    with writing("The training log"), open(Path(args.output_dir) / "train_log.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    if args.with_tracking:
        accelerator.log({key: value for key, value in row.items() if isinstance(value, float)}, step=row["step"])


def find_checkpoint(args) -> Path | None:
    """The folder that --resume_from_checkpoint means; None when nothing is to be resumed."""
    if not args.resume_from_checkpoint:
        return None
    path = Path(args.resume_from_checkpoint)
    if args.resume_from_checkpoint == "latest":
        found = sorted((Path(args.output_dir) / "checkpoints").glob("step_*"))
        whole = [p for p in found if not p.suffix] or [p for p in found if p.suffix == ".before"]
        if not whole:
            log.info("nothing to resume: starting afresh")
            return None
        path = whole[-1]
    if not (path / "custom_checkpoint_0.pkl").is_file():
        raise SystemExit(f"{path} is not a checkpoint of finetune.py")
    return path
