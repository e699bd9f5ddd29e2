"""ZIP archives from strangers: their pictures are listed first and read one at a time, within bounds."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from fakedet.images import TooManyBytes
from fakedet.verdict import Failure

from .errors import ServerError

MAX_DIRECTORY_BYTES = 2 * 2**20  # of an archive's list of files: some ten thousand names
END_RECORD_BYTES = 65_557 + 76  # the longest comment, and both end records
# What a damaged or locked archive makes `zipfile` raise.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file inside an archive.

    Attributes:
        archive: Path on this machine.
        name: Inside the archive.
    """

    archive: str
    name: str

    def read(self, max_bytes: int) -> bytes:
        """Returns its bytes, never more than allowed, whatever its header claims.

        Raises:
            ImageError: Too large.
            ServerError: Damaged or locked.
        """
        try:
            with zipfile.ZipFile(self.archive) as archive:
                if archive.getinfo(self.name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError  # LZMA may ask for gigabytes of memory
                with archive.open(self.name) as file:
                    data = file.read(max_bytes + 1)
        except (*ZIP_ERRORS, KeyError):
            raise ServerError(422, "corrupt_zip", "This part of the ZIP archive is damaged or locked.") from None
        if len(data) > max_bytes:
            raise TooManyBytes(f"It is larger than {max_bytes / 2**20:g} MB, the most that is read.")
        return data


Source = str | Member | Failure


def list_sources(paths: Iterable[tuple[str, str]], max_files: int) -> list[tuple[str, Source]]:
    """Files and the members of ZIP archives as (name, what to score).

    Members are only listed here and read one at a time later, so that a ZIP bomb costs nothing.

    Args:
        paths: (path on this machine, name from the sender).
        max_files: Pictures taken at most; one failure at the end stands for the rest.
    """
    sources: list[tuple[str, Source]] = []
    for path, name in paths:
        sources += _members(path, name, max_files) if is_archive(path) else [(name, path)]
    if len(sources) > max_files:
        message = f"Only the first {max_files} pictures were checked: that is the most at a time."
        rest = Failure(ServerError(413, "too_many_files", message), "(the rest)")
        sources = [*sources[:max_files], ("(the rest)", rest)]
    return sources


def _members(path: str, name: str, max_files: int) -> list[tuple[str, Source]]:
    if directory_bytes(path) > MAX_DIRECTORY_BYTES:
        message = "This ZIP archive lists more files than are read."
        return [(name, Failure(ServerError(413, "too_many_files", message), name))]
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if _may_be_picture(info)]
    except ZIP_ERRORS:
        return [(name, Failure(ServerError(422, "corrupt_zip", "This ZIP archive is damaged."), name))]
    return [(f"{name}/{member}", Member(path, member)) for member in members[: max_files + 1]]


def is_archive(path: str) -> bool:
    """Whether a file is a ZIP; one that begins as a picture and ends in an archive counts as a picture."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"PK" and zipfile.is_zipfile(file)
    except OSError:
        return False


def directory_bytes(path: str) -> int:
    """Size of an archive's list of files, which `zipfile` would read whole, at several times its size in memory."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - END_RECORD_BYTES))
        tail = file.read()
    zip64, end = tail.rfind(b"PK\6\6"), tail.rfind(b"PK\5\6")
    listed = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    return max(listed, int.from_bytes(tail[zip64 + 40 : zip64 + 48], "little") if zip64 >= 0 else 0)


def _may_be_picture(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    return not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)
