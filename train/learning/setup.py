"""The start of a training: accelerator, model, data and, if one is resumed, the checkpoint."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from datasets import Dataset
from timm.utils import ModelEmaV3

from train.data.loading import Source, limit, load_source
from train.data.sampling import BalancedTrainDataset
from train.learning.build import build_model, synchronise_batch_norm
from train.learning.checkpoints import find_checkpoint
from train.learning.config import TrainConfig
from train.learning.state import Progress, TrainState

log = logging.getLogger("fakedet.train")


def set_up(config: TrainConfig, check_publishing: Callable[[TrainConfig], None]) -> TrainState:
    """Makes all parts of a run.

    Args:
        config: Of the run.
        check_publishing: Raises SystemExit where the model could not be published; called if that is asked for.

    Raises:
        SystemExit: Data, weights, checkpoint or the right to publish are missing; one sentence says which.
    """
    accelerator = make_accelerator(config)
    set_seed(config.seed)
    started = time.monotonic()
    if config.push_to_hub and accelerator.is_main_process:
        check_publishing(config)  # a missing right to write is better known before the training than after it
    if accelerator.device.type == "cpu":  # accelerate's launcher leaves one thread to each process
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // accelerator.num_processes))
    if config.with_tracking:
        plain = {key: value for key, value in vars(config).items() if isinstance(value, int | float | str)}
        accelerator.init_trackers("fakedet", config=plain)
    model = build_model(config).to(accelerator.device)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = synchronise_batch_norm(model)
    train, validation = load_data(config)
    length = config.samples_per_epoch or sum(len(data) for _, data in train)
    samples = BalancedTrainDataset(
        train, model.config, length, config.seed, config.per_device_train_batch_size,
        distill=config.distill > 0, kinds=config.kinds > 0,
    )  # fmt: skip
    log.info("training images %s, validation %s, %d samples an epoch, %d process(es) on %s",
             [len(data) for _, data in train], [len(data) for _, data in validation], length,
             accelerator.num_processes, accelerator.device)  # fmt: skip
    progress = Progress(ema=ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None)
    accelerator.register_for_checkpointing(progress)
    resume_from = find_checkpoint(config)
    if resume_from:  # the phase has to be known before the rest can be loaded
        state = torch.load(resume_from / "custom_checkpoint_0.pkl", weights_only=True)
        progress.phase = state["plain"]["phase"]
    return TrainState(config, accelerator, model, train, validation, samples, progress, resume_from, started)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The accelerator and the log of this process."""
    output = Path(config.output_dir)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=1,  # counted in loop.py: the last odd batches of an epoch make a step as well
        step_scheduler_with_optimizer=False,  # else a prepared scheduler steps once per process
        log_with=config.report_to if config.with_tracking else None,
        project_dir=str(output),
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, non_blocking=True),
    )
    logging.basicConfig(level=logging.INFO if accelerator.is_main_process else logging.ERROR, format="%(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # not every request to the Hub
    output.mkdir(parents=True, exist_ok=True)
    return accelerator


def load_data(config: TrainConfig) -> tuple[list[tuple[Source, Dataset]], list[tuple[Source, Dataset]]]:
    """The training and the validation split of each source.

    Raises:
        SystemExit: A data set cannot be loaded, or has no training split.
    """
    max_train, max_eval = (config.max_train_samples, config.max_eval_samples) if config.streaming else (None, None)
    train = [
        (source, load_source(source, source.split or config.train_split, max_train, config.seed))
        for source in config.data
    ]
    if missing := [source for source, data in train if data is None]:
        splits = " or ".join(dict.fromkeys(f"'{source.split or config.train_split}'" for source in missing))
        raise SystemExit(f"no split {splits} in {', '.join(source.path for source in missing)}")
    validation = [
        (source, load_source(source, config.validation_split, max_eval, config.seed, strict=False))
        for source in config.data
        if not source.split
    ]
    train = [(source, limit(data, config.max_train_samples, config.seed)) for source, data in train]
    validation = [(source, data) for source, data in validation if data is not None]
    return train, [(source, limit(data, config.max_eval_samples, config.seed)) for source, data in validation]
