"""Scores a labelled image collection with a checkpoint and writes a report with tables and plots.

    python train/evaluate.py --model bundled --data data/prepared --split test --output_dir runs/evaluation

The code is in train/evaluation; this file is the command.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.evaluation.run import main

if __name__ == "__main__":
    sys.exit(main())
