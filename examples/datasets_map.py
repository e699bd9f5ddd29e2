"""Scores a data set with `datasets.map`: python examples/datasets_map.py SOURCE OUTPUT.parquet [--num_proc 2]

SOURCE: folder of pictures, parquet file or pattern, or Hub data set id.
"""

import argparse
from pathlib import Path

from datasets import Image, load_dataset

from fakedet.scan.batch import BATCH, BatchScorer
from fakedet.scan.table import KINDS


def load(source: str, split: str):
    """The data set, its pictures still encoded."""
    if source.endswith(".parquet"):
        return load_dataset("parquet", data_files=source, split=split)
    if Path(source).is_dir():
        return load_dataset("imagefolder", data_dir=source, split=split)
    return load_dataset(source, split=split)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output", help="parquet file")
    parser.add_argument("--split", default="train")
    parser.add_argument("--column", default="image", help="column with the pictures (default image)")
    parser.add_argument("--num_proc", type=int, default=1, help="worker processes (default 1)")
    parser.add_argument("--model", help="Hub id or folder (default: the bundled checkpoint)")
    args = parser.parse_args()

    data = load(args.source, args.split).cast_column(args.column, Image(decode=False))
    others = [name for name in data.column_names if name not in (args.column, *KINDS)]
    scored = data.map(
        BatchScorer(args.column, keep=others, model=args.model),
        batched=True,
        batch_size=BATCH,
        remove_columns=data.column_names,
        num_proc=args.num_proc,
        desc="scoring",
    )
    scored.to_parquet(args.output)
    print(f"{args.output}: {len(scored)} images")
