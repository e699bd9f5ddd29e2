"""Fine-tunes EfficientNet-B0 (or any convolutional timm network) to tell photographs from AI-generated images.

    accelerate launch train/finetune.py --config train/configs/cifake.yaml [flags win]

Phase 1 trains the head on a frozen backbone, phase 2 unfreezes the last layers or all. Runs unchanged on CPU, one GPU
or several processes. All reported metrics are on validation data.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.data.loading import TooManyUnreadable
from train.learning.checkpoints import SaveError, save_state
from train.learning.config import TrainConfig
from train.learning.loop import PHASES, run_phase
from train.learning.options import parse
from train.learning.record import write_record
from train.learning.setup import set_up
from train.learning.state import TrainState
from train.publish import after_training, before_training


def training_function(config: TrainConfig) -> Path:
    """Runs one training; returns the folder of the best checkpoint."""
    state = set_up(config, before_training)
    if all(run_phase(state, number) for number in range(state.progress.phase, len(PHASES))):
        finish(state)
    return Path(config.output_dir)


def finish(state: TrainState) -> None:
    """Writes the last checkpoint and training.json, and publishes the best model if asked to."""
    config, accelerator = state.config, state.accelerator
    save_state(accelerator, config, state.progress)
    if accelerator.is_main_process:
        parts = {"train": state.train, "validation": state.validation}
        images = {split: sum(len(data) for _, data in sources) for split, sources in parts.items()}
        write_record(config, accelerator, images, time.monotonic() - state.started)
    accelerator.end_training()
    if config.push_to_hub and accelerator.is_main_process:
        after_training(config)


def main() -> None:
    """Runs the command; what the user can put right ends it with one sentence."""
    config = parse()
    try:
        training_function(config)
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
