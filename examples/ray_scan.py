"""Scores pictures on a Ray cluster: python examples/ray_scan.py SOURCE OUTPUT [--workers 8] [--address auto]

SOURCE: folder, file or parquet files at any address that fsspec reads (a path, s3://bucket/folder, hf://datasets/...).
OUTPUT: folder of parquet files, also such an address. Its rows are those of `fakedet scan`, in no fixed order;
`file` is the address of a file, or the name that a parquet file stores beside the picture.
Needs Ray (pip install 'fakedet[scale]') and fakedet on every machine; machines may leave and join while it runs.
"""

import argparse
import os
import sys

# before ray is imported: it would report its use over the network
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    import fsspec
    import ray
except ImportError:
    sys.exit("ray_scan.py needs Ray, which is not installed: pip install 'fakedet[scale]'")

from fakedet.images import EXTENSIONS
from fakedet.scan.batch import BATCH, BatchScorer

# Reading and writing reserve no core. Otherwise, where the scoring processes hold all cores of the machines that are
# left, what a lost machine had read could not be read again, and the run would never end. `concurrency` bounds both.
FREE = {"num_cpus": 0}
BLOCK = 4 * 2**20  # bytes of pictures that a process gets at once; of larger blocks, few processes would get any


def read(source: str, column: str, keep: list[str], tasks: int) -> tuple[ray.data.Dataset, dict]:
    """The pictures as a data set, read by so many tasks at once, and what `BatchScorer` has to know of its columns."""
    files, path = fsspec.core.url_to_fs(source)
    if not files.exists(path):
        sys.exit(f"There is nothing at {source}.")
    if path.endswith(".parquet") or (files.isdir(path) and files.glob(f"{path}/*.parquet")):
        columns = [column, *keep]
        data = ray.data.read_parquet(path, filesystem=files, columns=columns, concurrency=tasks, **FREE)
        return data, {"column": column}
    endings = [ending[1:] for ending in EXTENSIONS]
    data = ray.data.read_binary_files(
        path, filesystem=files, include_paths=True, file_extensions=endings, concurrency=tasks, **FREE
    )
    return data, {"column": "bytes", "name_column": "path"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--workers", type=int, default=2, help="scoring processes, each on one core (default 2)")
    parser.add_argument("--address", help="of a cluster, or auto (default: $RAY_ADDRESS, else Ray on this machine)")
    parser.add_argument("--column", default="image", help="column of parquet files with the pictures (default image)")
    parser.add_argument("--keep", nargs="*", default=[], help="columns of parquet files to hand on")
    parser.add_argument("--model", help="Hub id or folder (default: the bundled checkpoint)")
    args = parser.parse_args()

    files, folder = fsspec.core.url_to_fs(args.output)
    if files.exists(folder) and files.ls(folder):
        sys.exit(f"{args.output} is there already and not empty; name another OUTPUT.")
    ray.init(address=args.address, log_to_driver=False)
    ray.data.DataContext.get_current().target_max_block_size = BLOCK
    data, columns = read(args.source, args.column, args.keep, args.workers)
    scored = data.map_batches(
        BatchScorer,
        fn_constructor_kwargs=columns | {"keep": args.keep, "model": args.model},
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=1,
        batch_size=BATCH,
        batch_format="pyarrow",
    )
    scored.write_parquet(folder, filesystem=files, concurrency=args.workers, ray_remote_args=FREE)
    print(f"{args.output}: written")
