"""Join two checkpoints into one: a network for photographs, and one for images with a tiny side (icons, CIFAKE).

    python train/combine.py --main runs/wild --tiny runs/cifake --tiny_side 48 --output_dir runs/both

The two kinds are different populations, and one network for both is worse at each. The image's short side alone decides
which network scores it. Both must have the same layers and normalisation, and views of different sides. Each network
keeps its calibration, and its training.json: that of --tiny stands in the key `tiny` of the new one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.hub import ModelError, load_checkpoint, save_checkpoint
from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from train.learning.build import one_network
from train.learning.record import NAME as RECORD

SAME = ("backbone", "hidden_size", "image_mean", "image_std")


def combine(main: FakeDetForImageClassification, tiny: FakeDetForImageClassification, tiny_side: int):
    """One model out of two.

    Args:
        main: Its main network scores images whose short side is at least `tiny_side` pixels.
        tiny: Its network for tiny images, or its only network, scores smaller ones.
        tiny_side: In pixels.

    Raises:
        ValueError: The two do not fit each other.
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


def combined_record(main: Path, tiny: Path) -> dict | None:
    """training.json of the main network, with that of the tiny one in its key `tiny`; None without the former.

    Args:
        main, tiny: Checkpoint folders. The record of a joined checkpoint is that of its main network, so of such a
            `tiny` only the key `tiny` is taken.
    """
    main_record, tiny_record = (
        json.loads((folder / RECORD).read_text(encoding="utf-8")) if (folder / RECORD).is_file() else None
        for folder in (main, tiny)
    )
    if main_record is None:
        return None
    main_record.pop("tiny", None)
    joined = json.loads((tiny / "config.json").read_text(encoding="utf-8")).get("tiny_network")
    tiny_record = (tiny_record or {}).get("tiny") if joined else tiny_record
    return main_record | ({"tiny": tiny_record} if tiny_record else {})


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0, or 2 where the checkpoints cannot be joined."""
    p = argparse.ArgumentParser(prog="train/combine.py", description="Join two checkpoints into one.")
    p.add_argument("--main", required=True, help="checkpoint for photographs (folder, Hub id, bundled)")
    p.add_argument("--tiny", required=True, help="checkpoint for tiny images")
    p.add_argument("--tiny_side", type=int, default=48, help="short side in pixels below which an image is tiny")
    p.add_argument("--full", action="store_true", help="store float32 instead of fp16")
    p.add_argument("--output_dir", required=True)
    args = p.parse_args(argv)
    try:
        checkpoints = [load_checkpoint(name) for name in (args.main, args.tiny)]
        model = combine(*(checkpoint.model for checkpoint in checkpoints), args.tiny_side)
    except (ModelError, ValueError) as error:
        print(f"combine: {error}", file=sys.stderr)
        return 2
    record = combined_record(*(checkpoint.folder for checkpoint in checkpoints))
    save_checkpoint(model, args.output_dir, half=not args.full)
    if record:
        (Path(args.output_dir) / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    sides = f"views of {model.config.input_size} px, of tiny images {model.config.tiny_input_size} px"
    print(f"{args.output_dir}: {sides}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
