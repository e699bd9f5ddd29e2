"""Writes a checkpoint's ONNX graphs beside its weights: `python train/export.py --model M`.

The graphs hold no weights (see `fakedet/network/graph_export.py`) and belong to exactly the weights they were made
with: export again after every change of these. `--full FILE` writes one file with the weights inside, for programs
other than fakedet: input `pixels` (views, 3, S, S) as `fakedet.network.views` makes them, outputs `logit` (views),
`cam` (views, h, w) and, if the checkpoint names generator families, `family` (views, families).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fakedet.hub import ModelError, load_checkpoint  # noqa: E402
from fakedet.network import graph, graph_export  # noqa: E402
from fakedet.network.runtime import OnnxRuntime, RuntimeUnavailable  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0, or 2 where graphs cannot be made or differ from torch."""
    parser = argparse.ArgumentParser(description="Write a checkpoint's ONNX graphs beside its weights.")
    parser.add_argument("--model", default="bundled", help="checkpoint folder, or 'bundled' (default)")
    parser.add_argument("--full", metavar="FILE.onnx", help="write one self-contained file instead")
    args = parser.parse_args(argv)
    try:
        checkpoint = load_checkpoint(args.model)
        for name, side in graph.sides(checkpoint.settings).items():
            path = Path(args.full) if args.full else checkpoint.folder / name
            data = graph_export.make_graph(checkpoint.model, checkpoint.sha256, side, full=bool(args.full))
            print(f"{graph.write_graph(data, path)}: views of {side} pixels, {len(data) / 1000:.0f} kB")
            if args.full:
                return 0
        OnnxRuntime(checkpoint)
        print(f"ONNX Runtime and torch give the same scores for the weights {checkpoint.sha256[:12]}.")
    except (ModelError, RuntimeUnavailable, OSError, ImportError) as error:
        print(f"{error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
