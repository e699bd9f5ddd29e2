"""Join two checkpoints into one: a network for photographs, and one for images with a tiny side (icons, CIFAKE).

    python train/combine.py --main runs/wild --tiny runs/cifake --tiny_side 48 --output_dir runs/both

The two kinds are different populations, and one network that serves both is worse at each. Which network answers is
said by the image's short side, and by nothing else. Both must have the same layers and normalisation, and views of
different sides. Calibrations come along: --main's for photographs, --tiny's for the tiny ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.hub import ModelError, load_checkpoint, save_checkpoint
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from train.learning.build import one_network

SAME = ("backbone", "hidden_size", "image_mean", "image_std")


def combine(main: FakeDetForImageClassification, tiny: FakeDetForImageClassification, tiny_side: int):
    """One model out of two.

    Args:
        main: Its main network answers for images of at least `tiny_side` pixels.
        tiny: Its network for tiny images where it has one, else its only one, answers for the others.

    Raises:
        ValueError: They do not fit each other.
    """
    branch = "tiny" if tiny.config.tiny_network else "main"
    own = tiny.config.calibration(tiny.config.tiny_side > 0)
    small = one_network(tiny, branch)
    for key in SAME:
        if getattr(main.config, key) != getattr(small.config, key):
            raise ValueError(f"the two differ in {key}: {getattr(main.config, key)} and {getattr(small.config, key)}")
    values = main.config.to_dict() | {
        "tiny_network": True,
        "tiny_side": tiny_side,
        "tiny_input_size": small.config.input_size,
        "tiny_temperature": own.temperature,
        "tiny_bias": own.bias,
        "tiny_unsure_band": list(own.unsure_band),
    }
    model = FakeDetForImageClassification(FakeDetConfig.from_dict(values))
    state = {key: value for key, value in main.state_dict().items() if not key.startswith("tiny.")}
    model.load_state_dict(state | {f"tiny.{key}": value for key, value in small.state_dict().items()})
    return model.eval()


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="train/combine.py", description="One checkpoint out of two.")
    p.add_argument("--main", required=True, help="checkpoint for photographs (folder, Hub id, bundled)")
    p.add_argument("--tiny", required=True, help="checkpoint for tiny images")
    p.add_argument("--tiny_side", type=int, default=48, help="short side in pixels below which an image is tiny")
    p.add_argument("--full", action="store_true", help="store float32 instead of fp16")
    p.add_argument("--output_dir", required=True)
    args = p.parse_args(argv)
    try:
        model = combine(load_checkpoint(args.main).model, load_checkpoint(args.tiny).model, args.tiny_side)
    except (ModelError, ValueError) as error:
        print(f"combine: {error}", file=sys.stderr)
        return 2
    save_checkpoint(model, args.output_dir, half=not args.full)
    sides = f"views of {model.config.input_size} px, of tiny images {model.config.tiny_input_size} px"
    print(f"{args.output_dir}: {sides}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
