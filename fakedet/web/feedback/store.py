"""Reports on disk: a line of JSON each, and the pictures that may be kept.

    FOLDER/20261127T210500-1f0c9a52/reports.jsonl     a folder for each start of the app
    FOLDER/20261127T210500-1f0c9a52/pictures/ID.jpg

What `add` has written survives a crash of this process and of the machine. Nothing is ever changed afterwards, so that
several apps may share the folder and `huggingface_hub.CommitScheduler` may upload it at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from pathlib import Path

LINES, PICTURES = "reports.jsonl", "pictures"
PARTIAL = ".part"  # of a picture that is being written; never uploaded


class StoreFull(Exception):
    """The reports fill the room that the owner gave them."""


class ReportStore:
    """A folder of reports. One thread at a time may call `add`.

    Args:
        folder: Made with the first report.
        max_bytes: Of all reports in it, those of earlier starts included.
    """

    def __init__(self, folder: Path, max_bytes: int):
        self.folder, self.max_bytes = folder, max_bytes
        self._own = self._lines = None
        self._bytes = self._end = 0

    def add(self, report: dict, picture: bytes | None = None) -> None:
        """Writes a report and returns when it is on the disk.

        Args:
            report: Plain values, `id` among them; `picture` is added: the picture's path beside the lines, or None.
            picture: A JPEG file.

        Raises:
            StoreFull: There is no room left.
            OSError: It could not be written (a full disk, no permission); then nothing of it is kept.
        """
        if self._lines is None:
            self._open()
        path = Path(self._own, PICTURES, f"{report['id']}.jpg") if picture is not None else None
        report = report | {"picture": f"{PICTURES}/{path.name}" if path else None}
        line = json.dumps(report).encode() + b"\n"
        needed = len(line) + len(picture or b"")
        if self._bytes + needed > self.max_bytes:
            raise StoreFull("There is no room for further reports.")
        try:
            if path is not None:
                _write_picture(path, picture)
            self._append(line)
        except OSError:
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        self._bytes += needed

    def _open(self) -> None:
        """Makes this start's folder, and counts what the folder holds already."""
        own = self.folder / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
        (own / PICTURES).mkdir(parents=True)
        self._bytes = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        lines = os.open(own / LINES, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        for folder in (own, self.folder):  # the names of new files and folders
            _sync_folder(folder)
        with contextlib.suppress(PermissionError):  # the folder may have been there before
            _sync_folder(self.folder.parent)
        self._own, self._lines, self._end = own, lines, 0

    def _append(self, line: bytes) -> None:
        """Adds a whole line, or nothing."""
        try:
            left = line
            while left:
                left = left[os.write(self._lines, left) :]
            os.fsync(self._lines)
        except OSError:
            try:
                os.ftruncate(self._lines, self._end)
            except OSError:  # half a line stays, which readers skip; the next report begins another file
                os.close(self._lines)
                self._lines = None
            raise
        self._end += len(line)


def _write_picture(path: Path, data: bytes) -> None:
    partial = path.with_suffix(PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a crash of the machine; only POSIX systems can, and need to."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
