"""Fine-tunes EfficientNet-B0 (or any convolutional timm network) to tell photographs from AI-generated images.

    accelerate launch train/finetune.py --config train/configs/cifake.yaml [flags win]

Phase 1 trains the head on a frozen backbone, phase 2 unfreezes the last layers or all. Runs unchanged on CPU, one GPU
or several processes. Every number it reports is on validation data.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from accelerate.utils.memory import should_reduce_batch_size
from timm.utils import ModelEmaV3
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.loading import Source, TooManyUnreadable, limit, load_source
from train.data.mix import make_mix
from train.data.sampling import BalancedTrainDataset
from train.learning.build import build_model, trainable_layers
from train.learning.cached import cache_features, shuffled
from train.learning.options import parse
from train.learning.record import write_record
from train.learning.state import Progress, SaveError, find_checkpoint, keep_best, note, save_state
from train.learning.validation import Logits, eval_views, training_loss, validate
from train.publish import after_training, before_training

log = logging.getLogger("fakedet.train")


def lr_factor(args, step: int, total: int) -> float:
    """Share of the base learning rate at optimizer step `step` of `total` of a phase."""
    if args.scheduler != "cosine":
        return 1.0
    warm = max(1, int(args.warmup_ratio * total))
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def training_function(args) -> Path:
    """Trains as `args` (see options.py) say; returns the folder of the best checkpoint."""
    output = Path(args.output_dir)
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        gradient_accumulation_steps=1,  # counted here, so that the last odd batches of an epoch are handled alike
        log_with=args.report_to if args.with_tracking else None,
        project_dir=str(output),
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, non_blocking=True),
    )
    logging.basicConfig(level=logging.INFO if accelerator.is_main_process else logging.ERROR, format="%(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # not every request to the Hub
    output.mkdir(parents=True, exist_ok=True)
    set_seed(args.seed)
    started = time.monotonic()
    if args.push_to_hub and accelerator.is_main_process:
        before_training(args)  # no night of training before "no right to write"
    if accelerator.device.type == "cpu":  # accelerate's launcher leaves one thread to each process
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // accelerator.num_processes))
    if args.with_tracking:
        plain = {key: value for key, value in vars(args).items() if isinstance(value, int | float | str)}
        accelerator.init_trackers("fakedet", config=plain)
    model = build_model(args).to(accelerator.device)
    sources = [Source(**entry) for entry in args.data]
    most, most_held = (args.max_train_samples, args.max_eval_samples) if args.streaming else (None, None)
    found = [(source, load_source(source, args.train_split, most, args.seed)) for source in sources]
    if missing := [source.path for source, data in found if data is None]:
        raise SystemExit(f"no split '{args.train_split}' in {', '.join(missing)}")
    parts = [(source, limit(data, args.max_train_samples, args.seed)) for source, data in found]
    held = [(source, load_source(source, args.validation_split, most_held, args.seed, False)) for source in sources]
    held = [(source, limit(data, args.max_eval_samples, args.seed)) for source, data in held if data is not None]
    length = args.samples_per_epoch or sum(len(data) for _, data in parts)
    draws = BalancedTrainDataset(
        parts, model.config, length, args.seed, args.per_device_train_batch_size, args.distill > 0
    )
    log.info("training images %s, validation %s, %d draws an epoch, %d process(es) on %s",
             [len(data) for _, data in parts], [len(data) for _, data in held], length,
             accelerator.num_processes, accelerator.device)  # fmt: skip

    progress = Progress()
    progress.ema = ModelEmaV3(model, decay=args.ema_decay, use_warmup=True) if args.ema_decay else None
    accelerator.register_for_checkpointing(progress)
    resume = find_checkpoint(args)
    started_at = torch.load(resume / "custom_checkpoint_0.pkl", weights_only=True)["plain"] if resume else None
    phases = [("head", args.head_epochs, args.head_lr), ("finetune", args.finetune_epochs, args.finetune_lr)]
    for number, (phase, epochs, lr) in enumerate(phases):
        if started_at and started_at["phase"] > number:
            continue
        sizes = args.sizes if phase == "finetune" and args.sizes else [(args.sizes or [model.config.input_size])[0]]
        frozen_layers = trainable_layers(model, 0 if phase == "head" else args.unfreeze)
        net = Logits(model, 0 if phase == "head" else draws.taught).to(accelerator.device)
        chosen = [p for p in net.parameters() if p.requires_grad]
        make = torch.optim.AdamW if args.optimizer == "adamw" else torch.optim.Adam
        optimizer = make(chosen, lr=lr, weight_decay=args.weight_decay if args.optimizer == "adamw" else 0.0)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            net = torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)
        accelerator.free_memory()
        net, optimizer = accelerator.prepare(net, optimizer)
        progress.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="min" if args.metric == "loss" else "max", factor=0.5, patience=1
        )
        if resume and started_at:
            accelerator.load_state(str(resume))
            log.info("resumed %s at phase %s, epoch %d, step %d", resume.name, phase, progress.epoch, progress.step)
            started_at = None
        else:
            progress.phase, progress.epoch, progress.batch, progress.phase_step = number, 0, 0, 0
        cache = None
        per_epoch = math.ceil(length / (args.per_device_train_batch_size * accelerator.num_processes))
        total = math.ceil(per_epoch / args.gradient_accumulation_steps) * epochs
        while progress.epoch < epochs:
            draws.size = sizes[min(progress.epoch, len(sizes) - 1)]
            cached = phase == "head" and args.cache_features
            draws.plan_epoch(1000 * number + (0 if cached else progress.epoch))
            generator = torch.Generator().manual_seed(args.seed + progress.step)
            loader = accelerator.prepare(
                DataLoader(
                    draws,
                    args.per_device_train_batch_size,
                    num_workers=args.num_workers,
                    generator=generator,
                    pin_memory=accelerator.device.type == "cuda",  # copied there while the GPU computes (non_blocking)
                )
            )
            model.train()
            for layer in frozen_layers:
                layer.eval()
            if args.freeze_bn:
                for module in model.modules():
                    if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                        module.eval()
            if cached and cache is None:
                cache = cache_features(accelerator, model, loader)
            batches = shuffled(accelerator, *cache, args, progress.epoch) if cached else loader
            title = f"{phase} {draws.size}px"
            stop = run_epoch(accelerator, args, net, model, optimizer, batches, progress, total, lr, title)
            accelerator._dataloaders.remove(loader)
            if stop:
                save_state(accelerator, args, progress)
                return output
            progress.epoch, progress.batch = progress.epoch + 1, 0
            tested = progress.ema.module if progress.ema and phase == "finetune" else model
            report = validate(accelerator, tested, eval_views(held, model.config, draws.size), args) if held else {}
            better = keep_best(accelerator, args, tested, report, progress, phase)
            if args.scheduler == "plateau" and report:
                progress.plateau.step(report[args.metric])
            bad = accelerator.reduce(torch.tensor(draws.unreadable.total, device=accelerator.device), "sum").item()
            if bad:
                log.info("%d of %d draws could not be read and were replaced", bad, length)
            note(accelerator, args, {"phase": phase, "epoch": progress.epoch, "step": progress.step, "better": better,
                                     "size": draws.size, "lr": optimizer.param_groups[0]["lr"], **report})  # fmt: skip
            if args.checkpointing_steps == "epoch":
                save_state(accelerator, args, progress)
            if phase == "finetune" and args.patience and progress.bad_epochs >= args.patience:
                log.info("no better epoch in %d: stopped early", args.patience)
                break
        if progress.ema and phase == "head":
            progress.ema.module.load_state_dict(model.state_dict())
    save_state(accelerator, args, progress)
    if accelerator.is_main_process:
        images = {"train": sum(len(data) for _, data in parts), "validation": sum(len(data) for _, data in held)}
        write_record(args, accelerator, images, time.monotonic() - started)
    accelerator.end_training()
    if args.push_to_hub and accelerator.is_main_process:
        after_training(args)
    return output


def run_epoch(accelerator, args, net, model, optimizer, batches, progress, total, lr, title) -> bool:
    """One pass over `batches`; returns True where --stop_after_steps ends the run. Continues at progress.batch."""
    skip = progress.batch
    count = len(batches) if hasattr(batches, "__len__") else None
    if skip:
        batches = accelerator.skip_first_batches(batches, skip) if count else list(batches)[skip:]
    net_loss, seen, began = 0.0, 0, time.monotonic()
    every, mix = args.gradient_accumulation_steps, make_mix(args)
    bar = tqdm(total=count, initial=skip, desc=f"{title} {progress.epoch + 1}", unit="batch",
               disable=not accelerator.is_main_process, mininterval=5)  # fmt: skip
    for pixels, labels in batches:
        progress.batch += 1
        last = progress.batch % every == 0 or progress.batch == count
        pixels, labels = mix(pixels, labels)
        with accelerator.autocast():
            loss = training_loss(net(pixels).float(), labels, args.distill)
        accelerator.backward(loss / every)
        net_loss, seen = net_loss + loss.item(), seen + len(labels) * accelerator.num_processes
        bar.update()
        mean_loss, rate = net_loss / (progress.batch - skip), seen / (time.monotonic() - began)
        bar.set_postfix(loss=f"{mean_loss:.4f}", img_s=f"{rate:.0f}")
        if not last:
            continue
        if args.scheduler == "cosine":
            for group in optimizer.param_groups:
                group["lr"] = lr * lr_factor(args, progress.phase_step, total)
        accelerator.clip_grad_norm_(net.parameters(), args.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        progress.step, progress.phase_step = progress.step + 1, progress.phase_step + 1
        if progress.ema:
            progress.ema.update(model, step=progress.step)
        if args.checkpointing_steps != "epoch" and progress.step % int(args.checkpointing_steps) == 0:
            save_state(accelerator, args, progress)
        if args.stop_after_steps and progress.step >= args.stop_after_steps:
            bar.close()
            return True
    bar.close()
    if seen:
        note(accelerator, args, {"epoch": progress.epoch + 1, "step": progress.step, "train_loss": mean_loss,
                                 "images_per_s": round(rate, 1)})  # fmt: skip
    return False


def main() -> None:
    args = parse()
    try:
        training_function(args)
    except TooManyUnreadable as error:  # from a loader's worker it comes with a stack trace in its text
        raise SystemExit(f"Training stopped: {str(error).strip().splitlines()[-1].split(': ', 1)[-1]}.") from None
    except SaveError as error:
        raise SystemExit(f"Training stopped: {error}") from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not should_reduce_batch_size(error):
            raise
        raise SystemExit(
            f"The {'GPU' if torch.cuda.is_available() else 'machine'} ran out of memory: halve "
            "--per_device_train_batch_size and double --gradient_accumulation_steps, or try --mixed_precision bf16; "
            "in validation lower --per_device_eval_batch_size, in the loader --num_workers."
        ) from None


if __name__ == "__main__":
    main()
