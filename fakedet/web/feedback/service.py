"""Takes reports of wrong answers: checks them, strips the picture, and answers when they are on the disk.

One thread writes them one after the other and decodes in a process of its own. So a crowd of reports takes no thread,
no decoder and no place in the queue from those who wait for an answer.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from fakedet import __version__
from fakedet.images import ImageError, Limits
from fakedet.provenance.record import clean
from fakedet.sandbox.decoders import Decoders, DecodeTimeout
from fakedet.verdict import Verdict

from ..uploads import sha256_of
from .pictures import pixels_alone
from .rate import ReportRate
from .store import ReportStore, StoreFull

log = logging.getLogger("fakedet")
TRUTHS = ("real", "fake", "graphic")
MAX_HOW_CHARS = 500
MAX_WAITING = 256  # reports; further ones are asked to come again
THANKS = "Thank you. The report is stored."
GONE = "The picture is no longer here: give it again, then report its answer."


class ReportRefused(Exception):
    """A report that was not taken; the text is a sentence for the visitor."""


@dataclass(frozen=True)
class Report:
    """What a visitor says of an answer.

    Attributes:
        truth: One of `TRUTHS`, or None where nothing was chosen.
        how: How the visitor knows.
        keep_picture: Whether the picture may be kept.
        path: Of the upload.
        verdict: The answer, without its picture; None where it is no longer known.
        client: Address that sent it.
    """

    truth: str | None
    how: str
    keep_picture: bool
    path: str | None
    verdict: Verdict | None
    client: str


class Feedback:
    """The service behind the form.

    Args:
        store: Where reports are written.
        rate: How many are taken.
        limits: On the size of a picture.
    """

    def __init__(self, store: ReportStore, rate: ReportRate, limits: Limits):
        self.store, self.rate = store, rate
        self._decoders = Decoders(1, limits)
        self._writer = ThreadPoolExecutor(1, "reports")
        self._waiting = 0

    async def take(self, report: Report) -> str:
        """Stores a report and returns a sentence of thanks.

        Raises:
            ReportRefused: It is incomplete, one too many, or could not be stored; then nothing of it is kept.
        """
        how = clean(report.how, MAX_HOW_CHARS)
        if report.truth not in TRUTHS:
            raise ReportRefused("Say first what the picture is in truth.")
        if how is None:
            raise ReportRefused("Say how you know: without that nobody can check the report.")
        if report.verdict is None:
            raise ReportRefused(GONE)
        if self._waiting >= MAX_WAITING:
            raise ReportRefused("Many reports are being stored just now; please try again in a minute.")
        if not self.rate.admit(report.client):
            raise ReportRefused("No further reports are taken just now; please try again in an hour.")
        self._waiting += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._write, report, how)
        finally:
            self._waiting -= 1
        return THANKS

    def _write(self, report: Report, how: str) -> None:
        picture = self._picture(report) if report.keep_picture else None
        try:
            self.store.add(record(report, how), picture)
        except StoreFull as error:
            raise ReportRefused(str(error)) from None
        except OSError as error:
            log.warning("a report could not be stored: %s", error)
            raise ReportRefused("The report could not be stored here, and nothing of it was kept.") from None

    def _picture(self, report: Report) -> bytes:
        """The picture of the answer as it may be kept."""
        try:
            # another file was never scored, so nothing is known of what decoding it costs
            if report.path is None or sha256_of(report.path) != report.verdict.image["sha256"]:
                raise ReportRefused(GONE)
            return pixels_alone(self._decoders.load(report.path).image)
        except (ImageError, DecodeTimeout, OSError):
            raise ReportRefused(GONE) from None


def record(report: Report, how: str) -> dict:
    """The report as it is stored: neither the file's name nor its metadata, nor who sent it."""
    verdict = report.verdict
    return {
        "schema": "1",
        "id": uuid.uuid4().hex,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "truth": report.truth,
        "how": how,
        "verdict": verdict.verdict,
        "pixel_verdict": verdict.pixel_verdict,
        "decided_by": verdict.decided_by,
        "p_fake": round(verdict.p_fake, 6),
        "logit": round(verdict.logit, 6),
        "image": dict(verdict.image),
        "model": dict(verdict.model),
        "fakedet": __version__,
    }
