"""What a training run holds, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from datasets import Dataset
from timm.utils import ModelEmaV3

from fakedet.network.model import FakeDetForImageClassification
from train.data.loading import Source
from train.data.sampling import BalancedTrainDataset
from train.learning.config import TrainConfig


@dataclass
class Progress:
    """Where the run stands; saved with every checkpoint, together with the averaged weights.

    Attributes:
        phase: 0 head, 1 fine-tuning.
        epoch: Finished epochs of the phase.
        batch: Finished batches of the epoch, of this process.
        step: Optimizer steps of the run.
        lr: Learning rate of the last optimizer step.
        best: Validation metric of the best model; None before the first validation.
        bad_epochs: Phase-2 epochs since the best one.
        ema: Averaged weights, if there are any.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    lr: float = 0.0
    best: float | None = None
    bad_epochs: int = 0
    ema: ModelEmaV3 | None = None

    def state_dict(self) -> dict:
        """Plain numbers and averaged weights; accelerate calls it."""
        plain = {key: value for key, value in vars(self).items() if key != "ema"}
        return {"plain": plain} | ({"ema": self.ema.state_dict()} if self.ema else {})

    def load_state_dict(self, state: dict) -> None:
        """Restores what `state_dict` returned."""
        vars(self).update(state["plain"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])


@dataclass
class TrainState:
    """Everything that a run shares between its set-up, its phases and its end.

    Attributes:
        train, validation: Data sets with the sources that they come from; a source may have no validation split.
        samples: The training samples of an epoch.
        resume_from: Checkpoint that the first phase to come is to load.
        started: Of `time.monotonic`.
    """

    config: TrainConfig
    accelerator: Accelerator
    model: FakeDetForImageClassification
    train: list[tuple[Source, Dataset]]
    validation: list[tuple[Source, Dataset]]
    samples: BalancedTrainDataset
    progress: Progress
    resume_from: Path | None
    started: float
