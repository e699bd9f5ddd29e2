"""Score a labelled image collection with a checkpoint and write a report with tables and pictures.

    python train/evaluate.py --model bundled --data data/prepared --split test --output_dir runs/evaluation

The work is in evaluation.py; this file is only the command. Its name is also that of the Hugging Face package
`evaluate`, so with this folder on Python's path `import evaluate` would find this file: it then steps aside.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "evaluate":
    import importlib

    kept = list(sys.path)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    del sys.modules["evaluate"]
    importlib.import_module("evaluate")  # the package takes this module's place in sys.modules
    sys.path[:] = kept

if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    from train.evaluation import main

    sys.exit(main())
