"""Find the pictures of one repository by their hash and store them, both classes in the same way."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, Image, Value
from PIL import Image as PILImage

from fakedet.images import ImageError, Limits, open_image
from train.data.clones import Clone, clone, find_git_dir
from train.data.sources import GRAPHIC

LABELS = ["real", "fake", GRAPHIC]
TEXT_COLUMNS = ("generator", "content", "source", "group", "camera", "kind")
FEATURES = Features(
    {"image": Image(), "label": ClassLabel(names=LABELS)}
    | {name: Value("string") for name in TEXT_COLUMNS}
    | {"original_width": Value("int64"), "original_height": Value("int64"), "original_format": Value("string"),
       "original_bytes": Value("int64"), "original_sha256": Value("string")}
)  # fmt: skip
ROW_GROUP = 100  # pictures held in memory by a writer, 10 MB at 512 px
REPOSITORY_ABSENT, BLOB_ABSENT = "repository_absent", "blob_absent"
CONTENT_CHANGED, UNREADABLE = "content_changed", "unreadable"
REASONS = (REPOSITORY_ABSENT, BLOB_ABSENT, CONTENT_CHANGED, UNREADABLE)


@dataclass(frozen=True)
class Picture:
    """One line of a catalogue.

    Attributes:
        repo: OWNER/NAME.
        commit: Commit in which `path` has the contents; empty where it is not known.
        path: Path of the file inside the repository.
        sha256: Hash of the file's bytes, 64 hexadecimal digits.
        label: One of `LABELS`.
        split: Name of the parquet file.
        cut: Fractions left, top, right and bottom, each 0..1, of the upright picture that are kept; None keeps all.
        texts: The values of `TEXT_COLUMNS`.
    """

    repo: str
    commit: str
    path: str
    sha256: str
    label: str
    split: str
    cut: tuple[float, float, float, float] | None
    texts: dict[str, str]


@dataclass(frozen=True)
class RepositoryTask:
    """The pictures of one repository, and where they come from and go to.

    Attributes:
        pictures: All of one repository.
        mirror: Folder of clones.
        parts: Prefix of the parquet files that are written, one a split: PARTS-SPLIT.parquet.
        side: Maximum short side in pixels; 0 keeps the original bytes where nothing is cut off.
        git_base: Where missing repositories are cloned from; None clones and fetches nothing.
    """

    pictures: list[Picture]
    mirror: Path
    parts: Path
    side: int
    git_base: str | None

    def part(self, split: str) -> Path:
        """Parquet file of this job's pictures of a split."""
        return self.parts.with_name(f"{self.parts.name}-{split}.parquet")


@dataclass(frozen=True)
class Missing:
    """A picture that was not written.

    Attributes:
        picture: Its line of the catalogue.
        reason: One of `REASONS`.
        detail: What git or the decoder says of it; often empty.
    """

    picture: Picture
    reason: str
    detail: str = ""


class RowWriter:
    """Write rows to a parquet file that `datasets` reads with decoded images; the file appears with the first row."""

    def __init__(self, path: Path):
        self.path, self.count = path, Counter()
        self._rows: list[dict] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict) -> None:
        """Write one row, in groups of `ROW_GROUP`."""
        self._rows.append(row)
        if len(self._rows) >= ROW_GROUP:
            self._flush()

    def append(self, part: Path) -> None:
        """Write all rows of another file of this kind."""
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(ROW_GROUP):
                self._write(pa.Table.from_batches([batch]))

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._write(pa.Table.from_pylist(self._rows, FEATURES.arrow_schema))
            self._rows = []

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, FEATURES.arrow_schema)
        self._writer.write_table(table)
        self.count.update(LABELS[label] for label in table["label"].to_pylist())


def collect(job: RepositoryTask) -> list[Missing]:
    """Write the pictures of one repository to the job's parquet files, and return those that cannot be had."""
    repo, detail = job.pictures[0].repo, ""
    git_dir = find_git_dir(job.mirror, repo)
    if git_dir is None and job.git_base is not None:
        detail = clone(job.git_base, repo, job.mirror)
        git_dir = find_git_dir(job.mirror, repo)
    if git_dir is None:
        return [Missing(picture, REPOSITORY_ABSENT, detail) for picture in job.pictures]
    left, reasons, unreadable = {picture.sha256: picture for picture in job.pictures}, {}, []
    writers = {split: RowWriter(job.part(split)) for split in {picture.split for picture in job.pictures}}
    with Clone(git_dir, online=job.git_base is not None) as repository:
        for picture, data in _find(repository, left, reasons):
            try:
                writers[picture.split].add(_row(picture, data, job.side))
            except ImageError as error:
                unreadable.append(Missing(picture, UNREADABLE, str(error)))
    for writer in writers.values():
        writer.close()
    return [*unreadable, *(Missing(p, reasons.get(p.sha256, BLOB_ABSENT)) for p in left.values())]


def _find(repository: Clone, left: dict[str, Picture], reasons: dict[str, str]) -> Iterator[tuple[Picture, bytes]]:
    """Yield pictures with their bytes and take them out of `left` (sha256 to picture).

    The first place that has a picture's path decides what `reasons` (sha256 to reason) says of it.
    """
    for place in _places(repository, left):
        blobs = list(place)
        repository.fetch(blob for blob, _ in blobs)
        for blob, expected in blobs:
            if not left:
                return
            data = repository.read(blob)
            sha256 = hashlib.sha256(data).hexdigest() if data is not None else None
            if expected is not None:
                reasons.setdefault(expected.sha256, BLOB_ABSENT if data is None else CONTENT_CHANGED)
            if sha256 in left:
                yield left.pop(sha256), data


def _places(repository: Clone, left: dict[str, Picture]) -> Iterator[Iterator[tuple[str, Picture | None]]]:
    """Yield the blobs of the named commits, then of HEAD, then of the history, each with the picture expected in it."""
    for at_head in (False, True):
        wanted = [picture for picture in left.values() if at_head or picture.commit]
        blobs = ((repository.tree("HEAD" if at_head else p.commit).get(p.path), p) for p in wanted)
        yield ((blob, picture) for blob, picture in blobs if blob)
    if left:
        names = {picture.path.rsplit("/", 1)[-1] for picture in left.values()}
        yield ((blob, None) for blob in repository.history(names))


def _row(picture: Picture, data: bytes, side: int) -> dict:
    """Make the parquet row of a picture.

    Raises:
        ImageError: The file is refused, by the same limits as everywhere.
    """
    loaded = open_image(data, Limits(), picture.path.rsplit("/", 1)[-1])
    stored, suffix = data, Path(picture.path).suffix.lower()
    if side or picture.cut:
        stored, suffix = encode(loaded.image, side, picture.cut), ".jpg"
    return {
        "image": {"bytes": stored, "path": picture.sha256[:16] + suffix}, "label": LABELS.index(picture.label),
        **picture.texts, "original_width": loaded.facts["width"], "original_height": loaded.facts["height"],
        "original_format": loaded.facts["format"], "original_bytes": len(data), "original_sha256": picture.sha256,
    }  # fmt: skip


def encode(image: PILImage.Image, side: int, cut: tuple[float, float, float, float] | None = None) -> bytes:
    """Cut and shrink an upright RGB picture and return it as JPEG, quality 95, without chroma subsampling (4:4:4).

    Args:
        side: Maximum short side in pixels; 0 keeps the size.
        cut: Fractions left, top, right and bottom that are kept.
    """
    if cut:
        left, top, right, bottom = (round(part * whole) for part, whole in zip(cut, image.size * 2, strict=True))
        image = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    if side and min(image.size) > side:
        scale = side / min(image.size)
        size = tuple(round(length * scale) for length in image.size)
        image = image.resize(size, PILImage.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, subsampling="4:4:4")
    return out.getvalue()
