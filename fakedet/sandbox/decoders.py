"""Decoding outside of this process: a picture that crashes, fills or stalls a decoder costs one answer, not the page.

Every decoder is a worker process with a limit on memory and on time. It is ended where it exceeds one, and the next
picture gets a fresh worker. Pixels come back through a pipe, which adds 45 ms for a photo of 12 megapixels.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import queue
import signal
import threading
from typing import Any

from PIL import Image

from fakedet.images import CorruptImage, ImageError, Limits, LoadedImage, display_name, read_source
from fakedet.provenance import Provenance

from .protocol import WorkerProcess
from .worker import strip_rows

log = logging.getLogger("fakedet")
MAX_USES = 1000  # pictures until a decoder is replaced, so that leaks of C libraries do not add up
_CPU_TIME_EXCEEDED = -getattr(signal, "SIGXCPU", 24)  # return code of a process that this signal ended


class DecodeTimeout(Exception):
    """A decoder did not answer in time although it used little CPU time: this machine is too busy."""


class DecoderDied(Exception):
    """A decoder ended for a reason of its own, such as a flaw in a C library."""


class Decoders:
    """A pool of decoding processes, started when needed.

    Args:
        count: Pictures decoded at the same time; a further caller waits.
        limits: Limits on the input.
        seconds: Seconds of CPU time allowed for a picture; the system counts whole ones.
        memory_mb: Megabytes that a decoder may hold.
        provenance_ms: Milliseconds for reading provenance; None: it is not read.
        clock_seconds: Seconds of wall-clock time allowed for a picture; by default three times `seconds`.
    """

    def __init__(
        self,
        count: int,
        limits: Limits,
        seconds: float = 5,
        memory_mb: int = 1000,
        provenance_ms: int | None = None,
        clock_seconds: float | None = None,
    ):
        self.limits, self.seconds, self.memory_mb, self.provenance_ms = limits, seconds, memory_mb, provenance_ms
        self.clock_seconds = clock_seconds or 3 * math.ceil(seconds)
        self._idle: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    def load(self, source: Any, left: float = math.inf) -> LoadedImage:
        """Decode a picture as `images.open_image` does, and read its provenance; the file's bytes are not kept.

        Args:
            source: A path, bytes, or an open binary file.
            left: Seconds of wall-clock time until nobody waits for the answer any more.

        Raises:
            ImageError: The picture cannot be read, or costs more than it may.
            DecodeTimeout: The wall-clock time ran out.
        """
        name = display_name(source)
        data = read_source(source, name, self.limits.max_bytes)
        clock = min(self.clock_seconds, left)
        decoder = self._idle.get()
        try:
            if decoder is not None and decoder.usable():
                try:
                    return decoder.load(data, name, clock)
                except DecoderDied:  # an earlier picture may be the cause: a fresh decoder tries again
                    pass
            decoder = _Decoder(self)
            try:
                return decoder.load(data, name, clock)
            except DecoderDied:
                raise CorruptImage(f"{name} cannot be decoded: the decoder gave up on it.") from None
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End the idle processes; they also end by themselves with this process."""
        for _ in range(self._idle.qsize()):
            decoder = self._idle.get()
            if decoder is not None:
                decoder.end()
            self._idle.put(None)


class _Decoder(WorkerProcess):
    """One worker that decodes under the settings of a pool."""

    def __init__(self, pool: Decoders):
        self.limits, self.seconds, self.provenance_ms = pool.limits, pool.seconds, pool.provenance_ms
        self.timed_out = False
        super().__init__("fakedet.sandbox.worker", {"memory_mb": pool.memory_mb})

    def usable(self) -> bool:
        return self.process.poll() is None and self.uses < MAX_USES

    def load(self, data: bytes, name: str, clock: float) -> LoadedImage:
        """Send a file and read the picture; the process is ended where anything is wrong."""
        request = {
            "name": name,
            "limits": dataclasses.asdict(self.limits),
            "provenance_ms": self.provenance_ms,
            "seconds": self.seconds,
        }
        self.timed_out = False
        timer = threading.Timer(clock, self._time_out)
        timer.start()
        try:
            self.send(request, data)
            return self._receive_image()
        except ImageError:
            raise
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            self.end()
            raise self._failure(name) from None
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        self.timed_out = True
        self.process.kill()

    def _failure(self, name: str) -> Exception:
        if self.timed_out:
            return DecodeTimeout()
        code = self.process.returncode
        log.warning("a decoder ended with code %s", code)  # the number of the signal, negative
        if code == _CPU_TIME_EXCEEDED:
            return CorruptImage(f"{name} takes longer than {self.seconds:g} s to decode, the limit here.")
        return DecoderDied()

    def _receive_image(self) -> LoadedImage:
        header, payload_bytes = self.receive_header()
        if "code" in header:
            raise _known_error(header["code"], header["message"])
        facts, limits = header["facts"], self.limits
        width, height = facts["width"], facts["height"]
        if not 0 < width * height <= limits.max_pixels or not 0 < max(width, height) <= limits.max_side:
            raise ValueError("the reply has a size beyond the limits")
        if payload_bytes != 3 * width * height:
            raise ValueError("the pixels do not fit the size")
        image, rows = Image.new("RGB", (width, height)), strip_rows(width)
        for top in range(0, height, rows):
            size = width, min(rows, height - top)
            pixels = self.receive(3 * size[0] * size[1])
            image.paste(Image.frombuffer("RGB", size, pixels, "raw", "RGB", 0, 1), (0, top))
        provenance = header["provenance"]
        provenance = Provenance.from_dict(provenance) if provenance is not None else None
        return LoadedImage(image, facts, tuple(header["notes"]), None, provenance, float(header["ms"]))


def _known_error(code: str, message: str) -> ImageError:
    """Return the refusal that a decoder sent, as the class that has this code."""
    kinds = {kind.code: kind for kind in ImageError.__subclasses__()}
    return kinds.get(code, CorruptImage)(str(message)[:500])
