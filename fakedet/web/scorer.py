"""The one scorer that the page and the REST interface share."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import Any

from fakedet.detector import PROVENANCE_MS, Detector
from fakedet.images import ImageError, LoadedImage
from fakedet.sandbox.decoders import Decoders, DecodeTimeout
from fakedet.verdict import Failure, Verdict

from .errors import ServerError, internal_error, timeout_error

log = logging.getLogger("fakedet")
MAX_NAME_CHARS = 120


class Scorer:
    """Scores images from strangers; never raises, and scores at most `running` images at a time.

    Images are decoded in separate processes (fakedet.sandbox), so that none can stall or stop this one.

    Args:
        detector: Computes the verdicts.
        running: Images scored at the same time; each holds its decoded pixels in memory.
        seconds: An image that has waited and computed for this long is answered "timeout".
        decode_seconds: CPU seconds that decoding one image may take.
    """

    def __init__(self, detector: Detector, running: int = 2, seconds: float = 60, decode_seconds: float = 5):
        self.detector, self.running, self.seconds = detector, running, seconds
        provenance_ms = PROVENANCE_MS if detector.provenance else None
        self.decoders = Decoders(running, detector.limits, decode_seconds, provenance_ms=provenance_ms)
        self._places = threading.BoundedSemaphore(running)

    def score(
        self, source: Any, name: str | None = None, heatmap: bool = False, deadline: float | None = None
    ) -> Verdict | Failure:
        """Returns the verdict or the failure, under the name that the sender gave.

        Args:
            source: A path, bytes, or an open binary file.
            name: File name from the sender.
            heatmap: As in `Detector.predict`.
            deadline: `time.monotonic()` at which the request times out; by default `seconds` from now.
        """
        deadline = time.monotonic() + self.seconds if deadline is None else deadline
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return Failure(timeout_error(), name)
        try:
            loaded = self.load(source, deadline)
            verdict = self.detector.predict(loaded, heatmap=heatmap, stability=True)
            return dataclasses.replace(verdict, file=name)
        except (ImageError, ServerError) as error:
            return Failure(error, name)
        except Exception:
            log.exception("scoring failed")  # for the owner's log; the answer must not describe the machine
            return Failure(internal_error("Something went wrong here while checking this image."), name)
        finally:
            self._places.release()

    def load(self, source: Any, deadline: float | None = None) -> LoadedImage:
        """Returns the decoded image.

        Raises:
            ImageError: The image cannot be read.
            ServerError: The image was not read in time.
        """
        left = self.seconds if deadline is None else max(0.1, deadline - time.monotonic())
        try:
            return self.decoders.load(source, left)
        except DecodeTimeout:
            raise timeout_error() from None


def base_name(name: str | None) -> str | None:
    """A file's name without folders and control characters, at most 120 characters; None where there is none."""
    name = "".join(c for c in (name or "").replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable())
    return name[:MAX_NAME_CHARS] or None
