"""Many pictures at once: files and ZIP archives in; rows, CSV and JSON out. One bad file is one row."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from fakedet.images import TooManyBytes
from fakedet.network.heatmap import display
from fakedet.verdict import Failure, Verdict

from .api import Scorer, ServerError

FIELDS = "file verdict p_fake logit width height format bytes sha256 generator notes error_code error_message".split()
THUMB_SIDE = 220
DIRECTORY_BYTES = 2 * 2**20  # of an archive's list: some ten thousand names
# What a damaged or locked archive makes `zipfile` raise.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass
class Item:
    """One picture's outcome, with a thumbnail (data URI) where there is one."""

    result: Verdict | Failure
    thumb: str = ""

    @property
    def kind(self) -> str:
        """ "fake", "real", "unsure" or "error"."""
        return self.result.verdict if isinstance(self.result, Verdict) else "error"


@dataclass
class Batch:
    """What is known so far.

    Attributes:
        total: Pictures found; more than `len(items)` while it runs.
        items: In the order in which they came.
        started: `time.monotonic()` at the beginning.
        stopped: Whether it was ended early.
    """

    total: int
    items: list[Item] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False

    def ordered(self) -> list[Item]:
        """Most likely AI-generated first, failures last."""
        return sorted(self.items, key=lambda i: (i.kind == "error", -getattr(i.result, "p_fake", 0.0)))


def unpack(paths: Iterable[tuple[str, str]], most: int) -> list[tuple[str, str | bytes | Failure]]:
    """Files and the members of ZIP archives as (name, what to score).

    Members are read one at a time in `read_member`; here only names are listed, so a ZIP bomb costs nothing.

    Args:
        paths: (path on this machine, name that the sender gave).
        most: Pictures taken at most; what is beyond is told in one failure.
    """
    found: list[tuple[str, str | bytes | Failure]] = []
    for path, name in paths:
        if not _is_archive(path):
            found.append((name, path))
            continue
        if _directory_bytes(path) > DIRECTORY_BYTES:
            text = "This ZIP archive lists more files than are read."
            found.append((name, Failure(ServerError(413, "too_many_files", text), name)))
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                members = [info.filename for info in archive.infolist() if _is_picture(info)]
            found += [(f"{name}/{member}", f"{path}\0{member}") for member in members[: most + 1]]
        except ZIP_ERRORS:
            found.append((name, Failure(ServerError(422, "corrupt_zip", "This ZIP archive is damaged."), name)))
    if len(found) > most:
        text = f"Only the first {most} pictures were checked: that is the most at a time."
        found = [*found[:most], ("(the rest)", Failure(ServerError(413, "too_many_files", text), "(the rest)"))]
    return found


def _is_archive(path: str) -> bool:
    """Told by its beginning as well: a picture with an archive behind it is a picture."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"PK" and zipfile.is_zipfile(file)
    except OSError:
        return False


def _directory_bytes(path: str) -> int:
    """Size of an archive's list of files, which `zipfile` would read whole, at several times its size in memory."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 65_557 - 76))  # a comment, and both end records
        tail = file.read()
    wide, end = tail.rfind(b"PK\6\6"), tail.rfind(b"PK\5\6")
    listed = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    return max(listed, int.from_bytes(tail[wide + 40 : wide + 48], "little") if wide >= 0 else 0)


def _is_picture(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    return not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)


def read_member(place: str, max_bytes: int) -> bytes:
    """The bytes of "archive path NUL member", never more than allowed, whatever its header claims.

    Raises:
        ImageError: Too large.
        ServerError: Damaged or locked.
    """
    path, member = place.split("\0", 1)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError  # LZMA may ask for gigabytes of memory
            with archive.open(member) as file:
                data = file.read(max_bytes + 1)
    except (*ZIP_ERRORS, KeyError):
        raise ServerError(422, "corrupt_zip", "This part of the ZIP archive is damaged or locked.") from None
    if len(data) > max_bytes:
        raise TooManyBytes(f"It is larger than {max_bytes / 2**20:g} MB, the most that is read.")
    return data


def run(
    scorer: Scorer,
    paths: Iterable[tuple[str, str]],
    most: int,
    thumbs: bool = True,
    halt: threading.Event | None = None,
) -> Iterator[Batch]:
    """Scores files and archives one after the other; yields the same Batch after each picture, until `halt` is set."""
    max_bytes = scorer.detector.limits.max_bytes
    work = unpack(paths, most)
    batch = Batch(len(work))
    for name, source in work:
        if halt and halt.is_set():
            batch.stopped = True
            break
        result: Verdict | Failure
        if isinstance(source, Failure):
            result = source
        else:
            try:
                place = read_member(source, max_bytes) if "\0" in source else source
                result = scorer.score(place, name, heatmap=thumbs)
            except (ServerError, TooManyBytes) as error:
                result = Failure(error, name)
        batch.items.append(Item(*_light(result)))
        yield batch
    if not batch.items:
        yield batch


def _light(result: Verdict | Failure) -> tuple[Verdict | Failure, str]:
    """The result without its pixels, and a thumbnail: hundreds of pictures must not stay in memory."""
    if isinstance(result, Failure) or result.picture is None:
        return result, ""
    buffer = io.BytesIO()
    display(result.picture, THUMB_SIDE).save(buffer, "JPEG", quality=70)
    thumb = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return replace(result, picture=None, signed_map=None), thumb


def write_files(batch: Batch, folder: Path) -> tuple[str, str]:
    """Writes fakedet.csv and fakedet.json; the JSON holds the same objects as every other surface."""
    results = [item.result.to_dict() for item in batch.items]
    as_json, as_csv = folder / "fakedet.json", folder / "fakedet.csv"
    as_json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    with as_csv.open("w", newline="", encoding="utf-8-sig") as file:  # the mark makes Excel read it as UTF-8
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for row in results:
            error = row.get("error", {})
            flat = {**row, **row.get("image", {}), "notes": " ".join(row.get("notes", ()))}
            flat["generator"] = next(iter(row.get("generator") or ()), None)
            flat |= {"error_code": error.get("code"), "error_message": error.get("message")}
            writer.writerow({key: _tame(flat.get(key)) for key in FIELDS})
    return str(as_csv), str(as_json)


def _tame(value):
    """A spreadsheet runs what begins with these signs; a stranger chose the file name."""
    return "'" + value if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
