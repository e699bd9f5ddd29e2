"""The training loop: a phase, its epochs, their steps."""

from __future__ import annotations

import logging
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from train.data.mix import make_mix
from train.learning.build import trainable_layers
from train.learning.cached import CachedBatches, cache_features
from train.learning.checkpoints import keep_best, log_metrics, save_state
from train.learning.optimizer import make_optimizer, make_scheduler
from train.learning.state import TrainState
from train.learning.validation import Logits, eval_views, training_loss, validate

log = logging.getLogger("fakedet.train")
PHASES = ("head", "finetune")


@dataclass
class Phase:
    """One phase of training.

    Attributes:
        number: Its place in PHASES.
        sizes: Crop side in pixels per epoch; the last one repeats.
        frozen: Layers of the backbone that do not learn.
        net, optimizer, scheduler: Prepared by accelerate.
        cache: Features (N, C) and labels (N,) of the head's phase, once they are computed.
    """

    number: int
    epochs: int
    sizes: list[int]
    frozen: list[torch.nn.Module]
    net: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    cache: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def name(self) -> str:
        """Its name in PHASES."""
        return PHASES[self.number]


def run_phase(state: TrainState, number: int) -> bool:
    """Trains one phase; returns False where --stop_after_steps ends the run."""
    config, accelerator, progress = state.config, state.accelerator, state.progress
    phase = start_phase(state, number)
    while progress.epoch < phase.epochs:
        state.samples.size = phase.sizes[min(progress.epoch, len(phase.sizes) - 1)]
        if not run_epoch(state, phase):
            save_state(accelerator, config, progress)
            return False
        progress.epoch, progress.batch = progress.epoch + 1, 0
        finish_epoch(state, phase)
        if phase.name == "finetune" and config.patience and progress.bad_epochs >= config.patience:
            log.info("no better epoch in %d: stopped early", config.patience)
            break
    if progress.ema and phase.name == "head":
        progress.ema.module.load_state_dict(state.model.state_dict())
    return True


def start_phase(state: TrainState, number: int) -> Phase:
    """Makes network, optimizer and schedule of a phase, and loads the checkpoint that is to be resumed.

    Raises:
        SystemExit: The checkpoint is from an earlier version.
    """
    config, accelerator, model, progress = state.config, state.accelerator, state.model, state.progress
    head = PHASES[number] == "head"
    epochs, lr = (config.head_epochs, config.head_lr) if head else (config.finetune_epochs, config.finetune_lr)
    sizes = config.sizes or [model.config.input_size]
    frozen = trainable_layers(model, 0 if head else config.unfreeze)
    net = Logits(model, 0 if head else state.samples.num_targets, not head and state.samples.kinds)
    net = net.to(accelerator.device)
    optimizer = make_optimizer(config, [p for p in net.parameters() if p.requires_grad], lr)
    batches = math.ceil(len(state.samples) / (config.per_device_train_batch_size * accelerator.num_processes))
    scheduler = make_scheduler(config, optimizer, math.ceil(batches / config.gradient_accumulation_steps) * epochs)
    accelerator.free_memory()
    net, optimizer, scheduler = accelerator.prepare(net, optimizer, scheduler)
    if state.resume_from:
        if not (state.resume_from / "scheduler.bin").is_file():
            raise SystemExit(f"{state.resume_from} was written by an earlier version and cannot be resumed")
        accelerator.load_state(str(state.resume_from))
        log.info("resumed %s at phase %s, epoch %d, step %d", state.resume_from.name, PHASES[number], progress.epoch,
                 progress.step)  # fmt: skip
        state.resume_from = None
    else:
        progress.phase, progress.epoch, progress.batch, progress.lr = number, 0, 0, lr
    return Phase(number, epochs, sizes[:1] if head else sizes, frozen, net, optimizer, scheduler)


def epoch_batches(state: TrainState, phase: Phase) -> DataLoader | CachedBatches:
    """The batches of the next epoch, and the modes of the layers that it needs."""
    config, accelerator, progress = state.config, state.accelerator, state.progress
    cached = phase.name == "head" and config.cache_features
    state.samples.plan_epoch(1000 * phase.number + (0 if cached else progress.epoch))
    set_modes(state, phase)
    loader = None
    if not cached or phase.cache is None:
        loader = accelerator.prepare(
            DataLoader(
                state.samples,
                config.per_device_train_batch_size,
                num_workers=config.num_workers,
                generator=torch.Generator().manual_seed(config.seed + progress.step),
                pin_memory=accelerator.device.type == "cuda",  # copied there while the GPU computes (non_blocking)
            )
        )
        accelerator._dataloaders.remove(loader)  # else it becomes part of the saved state
    if not cached:
        return loader
    if phase.cache is None:
        phase.cache = cache_features(accelerator, state.model, loader)
    return CachedBatches(accelerator, phase.cache, config.per_device_train_batch_size, config.seed, progress.epoch)


def set_modes(state: TrainState, phase: Phase) -> None:
    """Puts the model into training mode, except frozen layers and (with --freeze_bn) BatchNorm."""
    state.model.train()
    for layer in phase.frozen:
        layer.eval()
    if state.config.freeze_bn:
        for module in state.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()


def run_epoch(state: TrainState, phase: Phase) -> bool:
    """One pass over the samples, continued at progress.batch; returns False where --stop_after_steps ends the run."""
    config, accelerator, progress = state.config, state.accelerator, state.progress
    batches = epoch_batches(state, phase)
    skipped, count = progress.batch, len(batches)
    if isinstance(batches, CachedBatches):
        batches = batches.after(skipped)
    elif skipped:
        batches = accelerator.skip_first_batches(batches, skipped)
    mix, began, images = make_mix(config), time.monotonic(), 0
    loss_sum = torch.zeros((), device=accelerator.device)  # read rarely: each read waits for the GPU
    bar = tqdm(total=count, initial=skipped, desc=f"{phase.name} {state.samples.size}px {progress.epoch + 1}",
               unit="batch", disable=not accelerator.is_main_process, mininterval=5)  # fmt: skip
    for pixels, labels in batches:
        progress.batch += 1
        last = progress.batch % config.gradient_accumulation_steps == 0 or progress.batch == count
        with nullcontext() if last else accelerator.no_sync(phase.net):
            loss_sum += backward(state, phase, *mix(pixels, labels))
        images += len(labels) * accelerator.num_processes
        if bar.update():  # every five seconds
            bar.set_postfix(progress_figures(loss_sum, progress.batch - skipped, images, began))
        if last and not step(state, phase):
            bar.close()
            return False
    bar.close()
    if images:
        figures = progress_figures(loss_sum, progress.batch - skipped, images, began)
        log_metrics(accelerator, config, {"epoch": progress.epoch + 1, "step": progress.step, **figures})
    return True


def backward(state: TrainState, phase: Phase, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Adds the gradients of one batch; returns its loss, without gradients and still on its device."""
    with state.accelerator.autocast():
        loss = training_loss(phase.net(pixels).float(), labels, state.config)
    state.accelerator.backward(loss / state.config.gradient_accumulation_steps)
    return loss.detach()


def step(state: TrainState, phase: Phase) -> bool:
    """One optimizer step; returns False where --stop_after_steps ends the run."""
    config, accelerator, progress = state.config, state.accelerator, state.progress
    accelerator.clip_grad_norm_(phase.net.parameters(), config.max_grad_norm)
    progress.lr = phase.optimizer.param_groups[0]["lr"]
    phase.optimizer.step()
    phase.optimizer.zero_grad()
    if config.scheduler != "plateau":
        phase.scheduler.step()
    progress.step += 1
    if progress.ema:
        progress.ema.update(state.model, step=progress.step)
    if config.checkpointing_steps != "epoch" and progress.step % int(config.checkpointing_steps) == 0:
        save_state(accelerator, config, progress)
    return not (config.stop_after_steps and progress.step >= config.stop_after_steps)


def progress_figures(loss_sum: torch.Tensor, batches: int, images: int, began: float) -> dict[str, float]:
    """Mean loss over the batches, and images per second of all processes."""
    mean_loss = loss_sum.item() / batches
    return {"train_loss": mean_loss, "images_per_s": round(images / (time.monotonic() - began), 1)}


def finish_epoch(state: TrainState, phase: Phase) -> None:
    """Validates, keeps the model if it is the best, and writes log and checkpoint."""
    config, accelerator, progress = state.config, state.accelerator, state.progress
    model = progress.ema.module if progress.ema and phase.name == "finetune" else state.model
    report = {}
    if state.validation:
        views = eval_views(state.validation, state.model.config, state.samples.size)
        report = validate(accelerator, model, views, config)
    better = keep_best(accelerator, config, model, report, progress, phase.name)
    if config.scheduler == "plateau" and report:
        phase.scheduler.step(report[config.metric])
        progress.lr = phase.optimizer.param_groups[0]["lr"]
    unreadable = torch.tensor(state.samples.unreadable.total, device=accelerator.device)
    if unreadable := accelerator.reduce(unreadable, "sum").item():
        log.info("%d of %d samples could not be read and were replaced", unreadable, len(state.samples))
    log_metrics(accelerator, config, {"phase": phase.name, "epoch": progress.epoch, "step": progress.step,
                                      "better": better, "size": state.samples.size, "lr": progress.lr,
                                      **report})  # fmt: skip
    if config.checkpointing_steps == "epoch":
        save_state(accelerator, config, progress)
