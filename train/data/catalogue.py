"""Build a data set from a catalogue: a CSV file that names pictures in public git repositories.

    python train/prepare.py catalogue --mirror FOLDER --output_dir data/catalogue --clone

Writes one parquet file for each split, and report.json, which lists each picture that cannot be had and why. FOLDER
holds the clones, OWNER+NAME/repo or OWNER+NAME. A picture is identified by its sha256: it is searched in the commit
that the catalogue names, then in HEAD, then by its file name in the whole history. All pictures are stored alike,
whatever their class: upright, on white where transparent, at most --side pixels on the short side, JPEG 95 (4:4:4).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from train.data.catalogue_report import make_report, print_report, save_report
from train.data.clones import GIT, find_git_dir
from train.data.pictures import LABELS, TEXT_COLUMNS, Missing, Picture, RepositoryTask, RowWriter, collect
from train.data.sources import PrepareError

REQUIRED = ("repo", "commit", "path", "sha256", "label", "split", "source")
# These become part of a folder's name, of a git command, or of a file's name, so their form is checked.
FORMS = {
    "repo": re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w[\w.-]*", re.ASCII),
    "commit": re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?|"),
    "path": re.compile(r"[^\0\r\n]+"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "label": re.compile("|".join(LABELS)),
    "split": re.compile(r"[A-Za-z]\w*", re.ASCII),
}


def read_catalogue(path: Path, splits: list[str] | None = None) -> list[Picture]:
    """Read a catalogue.

    Args:
        path: CSV, plain or .gz, with the columns `REQUIRED` and any of `TEXT_COLUMNS` and `cut`.
        splits: Which splits to keep; all when left out.

    Raises:
        PrepareError: The file cannot be read, a value has not the form of its column, two lines name the same
            picture, or a split has no line.
    """
    pictures, lines = [], {}
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if absent := [name for name in REQUIRED if name not in (reader.fieldnames or ())]:
                raise PrepareError(f"{path} has no column {' and '.join(absent)}.")
            for line in reader:
                picture = _picture(line, f"{path}, line {reader.line_num}")
                if picture.sha256 in lines:
                    first = lines[picture.sha256]
                    raise PrepareError(f"{path}, line {reader.line_num}: the picture of line {first} occurs again.")
                lines[picture.sha256] = reader.line_num
                pictures.append(picture)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise PrepareError(f"The catalogue {path} cannot be read: {error}.") from error
    known = {picture.split for picture in pictures}
    if unknown := [split for split in splits or () if split not in known]:
        raise PrepareError(f"{path} has no split {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    return [picture for picture in pictures if not splits or picture.split in splits]


def _picture(line: dict, where: str) -> Picture:
    for name, form in FORMS.items():
        if not form.fullmatch(line[name] or ""):
            raise PrepareError(f"{where}: '{line[name]}' cannot be a {name}.")
    texts = {name: line.get(name) or "" for name in TEXT_COLUMNS}
    return Picture(**{name: line[name] for name in FORMS}, cut=_cut(line.get("cut") or "", where), texts=texts)


def _cut(text: str, where: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        left = right = top = bottom = 0
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise PrepareError(f"{where}: a cut is left,top,right,bottom as fractions of the picture, not '{text}'.")
    return left, top, right, bottom


def by_repository(pictures: list[Picture]) -> dict[str, list[Picture]]:
    """Group pictures by repository, in the order of the alphabet; inside of one they keep their order."""
    groups: dict[str, list[Picture]] = {}
    for picture in sorted(pictures, key=lambda p: p.repo):
        groups.setdefault(picture.repo, []).append(picture)
    return groups


def build(pictures: list[Picture], args: argparse.Namespace) -> tuple[dict[str, Counter], list[Missing]]:
    """Write SPLIT.parquet of each split that has a picture.

    A file is moved to its name when it is whole; a split without any picture leaves an older file in place.

    Returns:
        Pictures written, by split and label, and those that are missing.
    """
    groups, missing = by_repository(pictures), []
    args.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output_dir, prefix=".catalogue-", ignore_cleanup_errors=True) as folder:
        git_base = args.git_base if args.clone else None
        jobs = [RepositoryTask(group, args.mirror, Path(folder, f"{number:05}"), args.side, git_base)
                for number, group in enumerate(groups.values())]  # fmt: skip
        with tqdm(total=len(pictures), unit=" pictures", desc="catalogue") as bar:
            for job, absent in zip(jobs, _run(jobs, args.num_workers), strict=True):
                missing += absent
                bar.update(len(job.pictures))
        written = {}
        for split in sorted({picture.split for picture in pictures}):
            whole = RowWriter(Path(folder, f"{split}.parquet"))
            for part in (job.part(split) for job in jobs):
                if part.exists():
                    whole.append(part)
                    part.unlink()  # the disk need not hold everything twice
            whole.close()
            written[split] = whole.count
            if whole.count:
                whole.path.replace(args.output_dir / whole.path.name)
    return written, missing


def _run(jobs: list[RepositoryTask], num_workers: int) -> Iterator[list[Missing]]:
    if num_workers < 2:
        yield from map(collect, jobs)
        return
    with ProcessPoolExecutor(num_workers) as pool:
        yield from pool.map(collect, jobs)


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser("prepare.py catalogue", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = p.add_argument
    add("--catalogue", type=Path, default=Path(__file__).parents[1] / "catalogue.csv.gz", help="CSV, plain or .gz")
    add("--mirror", type=Path, required=True, help="folder of clones, OWNER+NAME/repo or OWNER+NAME each")
    add("--output_dir", type=Path, help="where SPLIT.parquet and report.json are written")
    add("--split", nargs="+", help="build these splits only")
    add("--side", type=int, default=512, help="short side at most, in pixels; 0 keeps the bytes where nothing is cut")
    add("--num_workers", type=int, default=2, help="processes")
    add("--clone", action="store_true", help="clone missing repositories with git, and fetch the wanted files only")
    add("--git_base", default="https://github.com/", help="what stands before OWNER/NAME in a clone's address")
    add("--missing", action="store_true", help="print the repositories that have no clone, and build nothing")
    args = p.parse_args(argv)
    if args.output_dir is None and not args.missing:
        p.error("--output_dir is required")
    if args.side < 0 or args.num_workers < 0:
        p.error("--side and --num_workers must be 0 or more")
    return args


def run(args: argparse.Namespace) -> None:
    """Build the data set, or list the repositories without a clone."""
    if GIT is None:
        raise PrepareError("git is not installed.")
    pictures = read_catalogue(args.catalogue, args.split)
    if args.missing:
        absent = [repo for repo in by_repository(pictures) if find_git_dir(args.mirror, repo) is None]
        print("\n".join(absent), end="\n" if absent else "")
        return
    written, missing = build(pictures, args)
    report = make_report(pictures, written, missing, args.side)
    save_report(report, args.catalogue, args.output_dir)
    print_report(report)
    if not any(written.values()):
        raise PrepareError(f"None of the {len(pictures)} pictures was found in {args.mirror}.")


def main(argv: list[str]) -> int:
    """Run the command; 0 = done, 2 = the catalogue or the arguments cannot be used, or no picture was found."""
    try:
        run(parse_args(argv))
    except PrepareError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    return 0
