"""Sources of a scan: folders, glob patterns, ZIP and tar archives, parquet files, a data set on the Hub.

Every source is a numbered list of pictures whose order never changes, so that a scan can be divided and resumed.
"""

from __future__ import annotations

import glob
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fakedet.images import EXTENSIONS, iter_image_files

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
Item = tuple[str, bytes | None]  # name, and the file's bytes; None: the name is its path


class SourceError(ValueError):
    """A source that cannot be read; the message is one sentence."""


@dataclass(frozen=True)
class Source:
    """A numbered list of pictures.

    Attributes:
        count: Number of pictures.
        items: Takes a predicate on numbers and yields (number, item) in order for those that it accepts.
    """

    count: int
    items: Callable[[Callable[[int], bool]], Iterator[tuple[int, Item]]]


def find_source(source: str, split: str | None = None, max_bytes: int = 25 * 2**20) -> Source:
    """Return the source of this name.

    Args:
        source: Folder, image file, glob pattern, .zip, .tar (also compressed), .parquet file or pattern, or a Hub data
            set id. A folder that holds parquet files and no images is read as those.
        split: Split of a Hub data set; by default all splits, in order.
        max_bytes: Of a picture inside an archive, at most `max_bytes` + 1 bytes are read.

    Raises:
        SourceError: There are no pictures, or they cannot be read.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        files = [str(file) for file in iter_image_files(path)]
        tables = [] if files else sorted(map(str, path.rglob("*.parquet")))
    else:
        matches = [str(path)] if path.is_file() else sorted(glob.glob(str(path), recursive=True))
        tables = [name for name in matches if name.endswith(".parquet")]
        files = [name for name in matches if Path(name).suffix.lower() in EXTENSIONS and Path(name).is_file()]
        if len(matches) == 1 and not files and not tables and Path(matches[0]).is_file():
            return _archive(Path(matches[0]), max_bytes)
    if files:
        return Source(len(files), lambda wanted: ((i, (name, None)) for i, name in enumerate(files) if wanted(i)))
    if tables:
        return _parquet(tables)
    if path.exists() or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source):
        raise SourceError(f"There are no images at {source}.")
    return _hub(source, split)


def _archive(path: Path, max_bytes: int) -> Source:
    def picture(name: str) -> bool:
        hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        return not hidden and Path(name).suffix.lower() in EXTENSIONS

    def zip_items(wanted) -> Iterator[tuple[int, Item]]:
        with zipfile.ZipFile(path) as archive:
            for number, name in enumerate(names):
                if wanted(number):
                    try:
                        with archive.open(name) as file:
                            data = file.read(max_bytes + 1)
                    except Exception:  # damaged or locked: one picture is lost, not the scan
                        data = b""
                    yield number, (f"{path}/{name}", data)

    def tar_items(wanted) -> Iterator[tuple[int, Item]]:
        with tarfile.open(path, "r|*") as archive:  # as a stream: a compressed one cannot be read otherwise
            members = (member for member in archive if member.isfile() and picture(member.name))
            for number, member in enumerate(members):
                if wanted(number):
                    yield number, (f"{path}/{member.name}", archive.extractfile(member).read(max_bytes + 1))
                archive.members = []  # tarfile would keep them all

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if picture(name)]
            count, items = len(names), zip_items
        elif path.name.lower().endswith(TAR_ENDINGS):
            with tarfile.open(path, "r|*") as archive:
                count, items = sum(member.isfile() and picture(member.name) for member in archive), tar_items
        else:
            raise SourceError(f"{path.name} is neither an image, an archive (.zip, .tar) nor a parquet file.")
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise SourceError(f"{path.name} cannot be read: {error}") from None
    if not count:
        raise SourceError(f"There are no images in {path.name}.")
    return Source(count, items)


def _parquet(tables: list[str]) -> Source:
    """Read the first column that holds bytes, or {bytes, path} as `datasets` stores images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def image_column(schema: pa.Schema) -> str | None:
        for field in schema:
            kind = field.type
            nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
            if nested or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return field.name
        return None

    try:
        files = [(table, pq.ParquetFile(table)) for table in tables]
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"The parquet files cannot be read: {error}") from None
    plan = []
    for name, file in files:
        column = image_column(file.schema_arrow)
        if column is None:
            raise SourceError(f"{Path(name).name} has no column with images.")
        plan.append((name, column, [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]))
        file.close()

    def items(wanted) -> Iterator[tuple[int, Item]]:
        first = 0
        for name, column, groups in plan:
            row = 0
            with pq.ParquetFile(name) as file:
                for group, count in enumerate(groups):
                    if any(map(wanted, range(first + row, first + row + count))):
                        at = row
                        for batch in file.iter_batches(64, row_groups=[group], columns=[column]):
                            for value in batch.column(0):
                                if wanted(first + at):
                                    stored = value.as_py() or b""
                                    data = (stored.get("bytes") or b"") if isinstance(stored, dict) else stored
                                    yield first + at, (f"{name}#{at}", data)
                                at += 1
                    row += count
            first += row

    return Source(sum(sum(groups) for _, _, groups in plan), items)


def _hub(name: str, split: str | None) -> Source:
    try:
        from datasets import Dataset, DatasetDict, Image, load_dataset
    except ImportError:
        raise SourceError(
            f"{name} is no local path; a Hub data set needs datasets, which is not installed: "
            "pip install 'fakedet[train]'"
        ) from None

    try:
        loaded = load_dataset(name, split=split)
    except Exception as error:  # the Hub client and the readers raise a dozen types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"{name} is no local path and cannot be loaded as a Hub data set: {reason}") from None
    parts: list[tuple[str, Dataset]] = list(loaded.items()) if isinstance(loaded, DatasetDict) else [(split, loaded)]
    ready = []
    for part, data in parts:
        column = next((key for key, kind in data.features.items() if isinstance(kind, Image)), None)
        if column is None:
            raise SourceError(f"{name} has no column with images.")
        ready.append((part, data.select_columns([column]).cast_column(column, Image(decode=False)), column))

    def items(wanted) -> Iterator[tuple[int, Item]]:
        first = 0
        for part, data, column in ready:
            for row in range(len(data)):
                if wanted(first + row):
                    stored = data[row][column] or {}
                    label = f"{name}/{part}#{row}"
                    if stored.get("bytes") is None and stored.get("path"):
                        yield first + row, (label, Path(stored["path"]).read_bytes())
                    else:
                        yield first + row, (label, stored.get("bytes") or b"")
            first += len(data)

    return Source(sum(len(data) for _, data, _ in ready), items)
