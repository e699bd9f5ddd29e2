"""Options of finetune.py: a YAML file gives the defaults, flags win. Unknown keys and impossible values are refused."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="finetune.py", description="Fine-tunes a fakedet model under accelerate.")
    a = p.add_argument
    a("--config", help="YAML file with defaults for everything below (see train/configs)")
    data = p.add_argument_group("data")
    a = data.add_argument
    a("--train_dir", nargs="+", help="prepared folders (prepare.py), equal shares; `data` in YAML gives shares")
    a("--dataset_name", nargs="+", help="the same by Hub id")
    a("--streaming", action="store_true", help="of a Hub data set read only the first --max_..._samples, not all of it")
    a("--augment", default="light", help="preset of augment.py for --train_dir: none, flip, light, degrade")
    a("--train_split", default="train")
    a("--validation_split", default="validation")
    a("--samples_per_epoch", type=int, help="draws per epoch; all training images once when missing")
    a("--max_train_samples", type=int, help="keep at most so many training images per data set")
    a("--max_eval_samples", type=int, help="keep at most so many validation images per data set")
    a("--num_workers", type=int, default=2, help="processes that decode and augment, per training process")
    model = p.add_argument_group("model")
    a = model.add_argument
    a("--backbone", default="efficientnet_b0", help="timm name of a convolutional network")
    a("--backbone_weights", help="local safetensors in timm's names, in place of timm's pretrained weights")
    a("--no_pretrained", action="store_true", help="start from random weights (tests, ablations)")
    a("--init_from", help="fakedet checkpoint to continue from (Hub id, folder, 'bundled'), with its settings")
    a("--init_branch", choices=("main", "tiny"), default="main", help="which of its networks: for photographs or icons")
    a("--input_size", type=int, help="side of the square crops in pixels; 224, or that of --init_from")
    a("--tiny_side", type=int, help="images with a shorter side than this get views of --tiny_input_size pixels")
    a("--tiny_input_size", type=int, help="side of those images' views; train them so by `size` of their data source")
    a("--squash", action="store_true", help="resize whole images to one square view, for comparison with crops")
    a("--max_views", type=int, default=9)
    a("--whole_views", type=int, default=0, help="of --max_views, so many at most of the picture as a whole, shrunk")
    a("--crop_scale", type=float, default=0.0, help="crops of the picture shrunk to so many views' sides; 0: native")
    a("--few_views_area", type=float, default=0.0, help="pictures of up to so many views' area get fewer views; 0: off")
    a("--hidden_size", type=int, default=256)
    a("--dropout", type=float, default=0.5)
    a("--drop_path", type=float, default=0.0, help="stochastic depth of the backbone")
    a("--image_mean", type=float, nargs=3, help="normalisation; the backbone's own when missing")
    a("--image_std", type=float, nargs=3)
    loop = p.add_argument_group("training")
    a = loop.add_argument
    a("--head_epochs", type=int, default=1, help="phase 1: the head alone, backbone frozen")
    a("--head_lr", type=float, default=1e-3)
    a("--cache_features", action=argparse.BooleanOptionalAction, default=True, help="phase 1: run the backbone once")
    a("--finetune_epochs", type=int, default=4, help="phase 2: backbone unfrozen")
    a("--finetune_lr", type=float, default=1e-3)
    a("--unfreeze", default="all", help="phase 2: 'all', or how many of the backbone's last layers")
    a("--sizes", type=int, nargs="+", help="crop side per phase-2 epoch (progressive sizes); last one repeats")
    a("--freeze_bn", action=argparse.BooleanOptionalAction, default=False, help="keep BatchNorm statistics")
    a("--optimizer", choices=("adamw", "adam"), default="adamw")
    a("--weight_decay", type=float, default=0.02)
    a("--scheduler", choices=("cosine", "plateau", "constant"), default="cosine")
    a("--warmup_ratio", type=float, default=0.05)
    a("--per_device_train_batch_size", type=int, default=64)
    a("--per_device_eval_batch_size", type=int, default=128)
    a("--gradient_accumulation_steps", type=int, default=1)
    a("--cutmix", type=float, default=0.0, help="share of images with a rectangle of another pasted in (0..1)")
    a("--mixup", type=float, default=0.0, help="share of images blended with another; with --cutmix at most 1 in sum")
    a(
        "--distill",
        type=float,
        default=0.0,
        help="phase 2: weight of learning what a teacher says (column of distill_features.py)",
    )
    a("--max_grad_norm", type=float, default=1.0)
    a("--ema_decay", type=float, default=0.0, help="exponential moving average of the weights; 0 is off")
    a("--mixed_precision", choices=("no", "fp16", "bf16"), default="no")
    a("--metric", choices=("auc", "accuracy", "loss"), default="auc", help="chooses the best epoch on validation")
    a("--patience", type=int, default=0, help="stop after so many phase-2 epochs without a better one; 0 is off")
    a("--seed", type=int, default=42)
    out = p.add_argument_group("output")
    a = out.add_argument
    a("--output_dir", default="runs/fakedet")
    a("--checkpointing_steps", default="epoch", help="'epoch', or every so many optimizer steps")
    a("--resume_from_checkpoint", help="a checkpoint folder, or 'latest' of --output_dir")
    a("--with_tracking", action="store_true")
    a("--report_to", default="tensorboard", help="tensorboard or trackio (pip install what you choose)")
    a("--stop_after_steps", type=int, help="stop cleanly after so many optimizer steps (to resume later)")
    a("--push_to_hub", action="store_true", help="publish the best model at the end, as publish.py does (HF_TOKEN)")
    a("--hub_model_id", help="owner/name; by default the name of --output_dir in your account")
    a("--hub_private_repo", action="store_true", help="make the repository private, when it is new")
    return p


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Namespace of all options; `data` is the list of sources.

    Raises:
        SystemExit: With code 2 and one sentence, for anything that cannot be run.
    """
    p = parser()
    path = p.parse_known_args(argv)[0].config
    sources = None
    if path:
        if not Path(path).is_file():
            p.error(f"no config file at {path}")
        values = yaml.safe_load(Path(path).read_text()) or {}
        sources = values.pop("data", None)
        known = {action.dest for action in p._actions}
        if unknown := sorted(set(values) - known):
            p.error(f"{path}: unknown keys {', '.join(unknown)}")
        p.set_defaults(**values)
    args = p.parse_args(argv)
    named = (args.train_dir or []) + (args.dataset_name or [])
    if named:  # a flag wins over the file
        sources = [{"path": name, "augment": args.augment} for name in named]
    if not sources:
        p.error("say what to train on: --train_dir FOLDER, --dataset_name ID, or `data` in the config")
    args.data = sources
    args.command_line = list(sys.argv[1:] if argv is None else argv)
    if args.streaming and not (args.max_train_samples and args.max_eval_samples):
        p.error("--streaming needs --max_train_samples and --max_eval_samples: it reads no more than those")
    if min(args.cutmix, args.mixup) < 0 or args.cutmix + args.mixup > 1:
        p.error("--cutmix and --mixup are shares of the images: from 0, at most 1 in sum")
    if args.unfreeze != "all" and not str(args.unfreeze).isdigit():
        p.error("--unfreeze takes 'all' or a number of layers")
    if args.checkpointing_steps != "epoch" and not str(args.checkpointing_steps).isdigit():
        p.error("--checkpointing_steps takes 'epoch' or a number of steps")
    return args
