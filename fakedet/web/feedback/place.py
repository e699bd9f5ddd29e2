"""Where reports are kept: the folder or the Hub data set that the owner names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from fakedet.images import Limits

from .hub import upload_in_background
from .rate import ReportRate
from .service import Feedback
from .store import ReportStore

CLIENTS_AN_HOUR = 20  # that may send as many reports as one may
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class PlaceError(ValueError):
    """The named place cannot be used; the text is a sentence for the owner."""


@dataclass(frozen=True)
class Place:
    """A folder of reports, and the data set to which it is uploaded, if any."""

    folder: Path
    repo: str | None = None

    def __str__(self) -> str:
        return f"the Hub data set {self.repo}, by way of {self.folder}" if self.repo else f"the folder {self.folder}"


def find_place(name: str) -> Place:
    """The place that a name stands for: an existing folder, else a data set "owner/name", else a new folder.

    Reports to a data set wait in $FAKEDET_CACHE (or ~/.cache), below fakedet/reports.

    Raises:
        PlaceError: The folder cannot be made or written.
    """
    folder, repo = Path(name).expanduser(), None
    if HUB_ID.fullmatch(name) and not folder.is_dir():
        cache = Path(os.environ.get("FAKEDET_CACHE") or Path.home() / ".cache")
        folder, repo = cache / "fakedet" / "reports" / name.replace("/", "--"), name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlaceError(f"Reports cannot be kept in {folder}: {error.strerror}.") from None
    if not os.access(folder, os.W_OK):
        raise PlaceError(f"Reports cannot be kept in {folder}: it is not writable.")
    return Place(folder, repo)


def open_feedback(name: str, max_bytes: int, per_client: int, limits: Limits) -> Feedback:
    """Starts taking reports.

    Args:
        name: As in `find_place`.
        max_bytes: Of all reports there.
        per_client: Reports that one client may send in an hour.
        limits: On the size of a picture.

    Raises:
        PlaceError: The place cannot be used.
    """
    place = find_place(name)
    if place.repo:
        upload_in_background(place.folder, place.repo)
    print(f"Reports of wrong answers go to {place}.", flush=True)
    return Feedback(ReportStore(place.folder, max_bytes), ReportRate(per_client, CLIENTS_AN_HOUR * per_client), limits)
