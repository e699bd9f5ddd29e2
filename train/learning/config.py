"""The typed configuration of a training: each field is a flag of finetune.py and a key of its YAML files."""

# ruff: noqa: RUF009 (`flag` returns a field)

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from train.data.augment import Preset
from train.data.loading import Source

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=32)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def flag(default, help: str | None = None):
    """A dataclass field whose help text HfArgumentParser hands to argparse."""
    return field(default=default, metadata={"help": help})


@dataclass
class DataConfig:
    """What is trained on."""

    _argument_group_name: ClassVar[str] = "data"

    train_dir: list[str] | None = flag(None, "prepared folders (prepare.py), equal shares; `data` in YAML sets shares")
    dataset_name: list[str] | None = flag(None, "the same by Hub id")
    streaming: bool = flag(False, "read only the first --max_..._samples of a Hub data set, not all of it")
    augment: Preset = flag("light", "preset of augment.py for --train_dir and --dataset_name")
    train_split: str = flag("train")
    validation_split: str = flag("validation")
    samples_per_epoch: Count | None = flag(None, "samples per epoch; all training images once if not set")
    max_train_samples: Count | None = flag(None, "use at most this many training images per data set")
    max_eval_samples: Count | None = flag(None, "use at most this many validation images per data set")
    num_workers: CountOrZero = flag(2, "processes that decode and augment, per training process")


@dataclass
class ModelConfig:
    """The network and the views that it sees."""

    _argument_group_name: ClassVar[str] = "model"

    backbone: str = flag("efficientnet_b0", "timm name of a convolutional network")
    backbone_weights: str | None = flag(None, "local safetensors with timm's names, instead of timm's own download")
    no_pretrained: bool = flag(False, "start from random weights (tests, ablations)")
    init_from: str | None = flag(
        None,
        "fakedet checkpoint to continue from (Hub id, folder, 'bundled'); a flag overrides its settings",
    )
    init_branch: Literal["main", "tiny"] = flag("main", "network of --init_from: for photographs or for icons")
    input_size: int | None = flag(None, "side of the square crops in pixels; 224, or that of --init_from")
    tiny_side: int | None = flag(None, "images with a shorter side than this get views of --tiny_input_size pixels")
    tiny_input_size: int | None = flag(None, "side of those images' views; set `size` of their data source to it")
    squash: bool = flag(False, "resize whole images to one square view, for comparison with crops")
    max_views: int = flag(9)
    whole_views: int = flag(0, "how many of --max_views show the whole picture, shrunk")
    crop_scale: float = flag(0.0, "cut crops of the picture shrunk to this many view sides; 0: native size")
    few_views_area: float = flag(0.0, "pictures of up to this many views' area get fewer views; 0: off")
    trim_borders: float = flag(0.0, "cut off borders of one colour of up to this share of the area; 0: off")
    hidden_size: int = flag(256)
    dropout: float = flag(0.5)
    drop_path: ShareBelowOne = flag(0.0, "stochastic depth of the backbone")
    image_mean: list[float] | None = flag(None, "normalisation, one number per RGB channel; by default the backbone's")
    image_std: list[float] | None = flag(None, "the same for the standard deviation")


@dataclass
class LoopConfig:
    """The two phases of training, the optimizer and the choice of the best epoch."""

    _argument_group_name: ClassVar[str] = "training"

    head_epochs: CountOrZero = flag(1, "phase 1: the head alone, backbone frozen")
    head_lr: Positive = flag(1e-3)
    cache_features: bool = flag(True, "phase 1: run the backbone once")
    finetune_epochs: CountOrZero = flag(4, "phase 2: backbone unfrozen")
    finetune_lr: Positive = flag(1e-3)
    unfreeze: str = flag("all", "phase 2: 'all', or how many of the backbone's last layers")
    sizes: list[Side] | None = flag(None, "crop side per phase-2 epoch (progressive sizes); the last one repeats")
    freeze_bn: bool = flag(False, "keep BatchNorm statistics")
    optimizer: Literal["adamw", "adam"] = flag("adamw")
    weight_decay: Positive = flag(0.02)
    scheduler: Literal["cosine", "plateau", "constant"] = flag("cosine")
    warmup_ratio: Share = flag(0.05)
    per_device_train_batch_size: Count = flag(64)
    per_device_eval_batch_size: Count = flag(128)
    gradient_accumulation_steps: Count = flag(1)
    cutmix: Share = flag(0.0, "share of images with a rectangle of another pasted in (0..1)")
    mixup: Share = flag(0.0, "share of images blended with another; with --cutmix at most 1 in sum")
    distill: Positive = flag(0.0, "phase 2: weight of the distillation loss (column `teacher` of distill_features.py)")
    kinds: Positive = flag(0.0, "phase 2: weight of the loss that tells kinds of picture (column `content`)")
    max_grad_norm: Positive = flag(1.0)
    ema_decay: ShareBelowOne = flag(0.0, "exponential moving average of the weights; 0 is off")
    mixed_precision: Literal["no", "fp16", "bf16"] = flag("no")
    metric: Literal["auc", "accuracy", "loss"] = flag("auc", "validation metric that chooses the best epoch")
    patience: CountOrZero = flag(0, "stop after this many phase-2 epochs without a better one; 0 is off")
    seed: CountOrZero = flag(42)


@dataclass
class OutputConfig:
    """What is written, resumed and published."""

    _argument_group_name: ClassVar[str] = "output"

    output_dir: str = flag("runs/fakedet")
    checkpointing_steps: str = flag("epoch", "'epoch', or a number of optimizer steps")
    resume_from_checkpoint: str | None = flag(None, "a checkpoint folder, or 'latest' of --output_dir")
    with_tracking: bool = flag(False)
    report_to: str = flag("tensorboard", "tensorboard or trackio (pip install the one you choose)")
    stop_after_steps: CountOrZero | None = flag(None, "stop cleanly after this many optimizer steps (to resume later)")
    push_to_hub: bool = flag(False, "publish the best model at the end, as publish.py does (HF_TOKEN)")
    hub_model_id: str | None = flag(None, "owner/name; by default the name of --output_dir in your account")
    hub_private_repo: bool = flag(False, "make the repository private if it is new")


GROUPS = (DataConfig, ModelConfig, LoopConfig, OutputConfig)


@dataclass
class TrainConfig(DataConfig, ModelConfig, LoopConfig, OutputConfig):
    """All settings of one training.

    Attributes:
        data: The data sets in the mix.
        command_line: The flags as given, for training.json.
        given: Names of the settings that a flag or the YAML file sets; the others have their defaults.
    """

    data: list[Source] = field(default_factory=list)
    command_line: list[str] = field(default_factory=list)
    given: frozenset[str] = frozenset()

    def check(self) -> None:
        """Checks what no single field shows.

        Raises:
            ValueError: One sentence that names the flag.
        """
        if not self.data:
            raise ValueError("say what to train on: --train_dir FOLDER, --dataset_name ID, or `data` in the config")
        if self.streaming and not (self.max_train_samples and self.max_eval_samples):
            raise ValueError("--streaming needs --max_train_samples and --max_eval_samples: it reads only those")
        if self.cutmix + self.mixup > 1:
            raise ValueError("--cutmix and --mixup are shares of the images: at most 1 in sum")
        if self.kinds and (self.distill or self.head_epochs):
            raise ValueError("--kinds cannot be combined with --distill, and needs --head_epochs 0")
        if self.unfreeze != "all" and not self.unfreeze.isdecimal():
            raise ValueError(f"--unfreeze takes 'all' or a number of layers, not {self.unfreeze!r}")
        steps = self.checkpointing_steps
        if steps != "epoch" and not (steps.isdecimal() and int(steps)):
            raise ValueError(f"--checkpointing_steps takes 'epoch' or a number of steps, not {steps!r}")
        for name in ("image_mean", "image_std"):
            if (values := getattr(self, name)) and len(values) != 3:
                raise ValueError(f"--{name} takes three numbers, not {len(values)}")
