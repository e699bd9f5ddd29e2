"""Joins reports of one checkpoint into the report.json beside it, which the page shows on its tab "Model".

    python train/bundle_report.py reports/wild_unseen reports/cifake_test --output fakedet/pretrained/report.json

The file is the first report as `train/evaluate.py` wrote it, with the other reports in its key `more`. The list of
unreadable images is left out; every figure is kept.
"""

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.learning.record import private_paths


def compact(folder: str) -> dict:
    """Reads the report in a folder of evaluate.py, without the unreadable images and private paths."""
    report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    report["dropped"] = []
    report["data"] = report["data"].rstrip("/").rpartition("/")[2]
    report["command"] = private_paths(report["command"])
    report.pop("more", None)
    return report


def main(argv: list[str] | None = None) -> int:
    """Writes the file; 0 = done, 2 = the reports cannot be read or are of different weights."""
    parser = argparse.ArgumentParser(prog="train/bundle_report.py", description=__doc__.split("\n")[0])
    parser.add_argument("reports", nargs="+", metavar="FOLDER", help="folders of evaluate.py, the main report first")
    parser.add_argument("--output", required=True, help="report.json beside the checkpoint")
    args = parser.parse_args(argv)
    try:
        first, *more = map(compact, args.reports)
        weights = {report["model"]["sha256"] for report in (first, *more)}
        if len(weights) > 1:
            raise ValueError(f"the reports are of {len(weights)} different weights")
        Path(args.output).write_text(json.dumps(first | ({"more": more} if more else {}), indent=1) + "\n", "utf-8")
    except (OSError, ValueError, LookupError) as error:
        print(f"bundle_report: {error}", file=sys.stderr)
        return 2
    print(f"{args.output}: {1 + len(more)} reports")
    return 0


if __name__ == "__main__":
    sys.exit(main())
