"""Decoding outside of this process: a picture that crashes, fills or stalls a decoder costs one answer, not the page.

Every decoder is a process (decode_worker.py) with a bound on memory and on time; it is ended where it passes one, and
the next picture gets a fresh one. Pixels come back through a pipe: 45 ms more for a photo of 12 megapixels.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import queue
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from fakedet.images import CorruptImage, ImageError, Limits, LoadedImage, display_name, read_source
from fakedet.provenance import Provenance

from .worker import strip_rows

log = logging.getLogger("fakedet")
MAX_USES = 1000  # pictures until a decoder is replaced, so that what a C library leaks does not add up
MAX_JSON = 32 * 2**20
# The package itself is not imported there, for that would bring torch: an empty one with its folder stands in.
START = (
    "import sys, types; memory, folder, *sys.path = sys.argv[1:]; package = types.ModuleType('fakedet'); "
    "package.__path__ = [folder]; sys.modules['fakedet'] = package; "
    "from fakedet.sandbox.worker import serve; serve(int(memory))"
)
# No tokens and no settings of the app go there.
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT", "FAKEDET_C2PA_TRUST")


class DecodeTimeout(Exception):
    """A decoder did not answer in time although it hardly computed: this machine is too busy."""


class DecoderDied(Exception):
    """A decoder ended for a reason of its own, such as a flaw in a C library."""


class Decoders:
    """Decoding processes, started when needed.

    Args:
        count: Pictures decoded at the same time; a further caller waits.
        limits: What is read at most.
        seconds: Seconds of computing allowed for a picture; the system counts whole ones.
        memory_mb: Megabytes that a decoder may hold.
        provenance_ms: Milliseconds for what the file says of itself; None: it is not read.
        clock_seconds: Seconds by the clock allowed for a picture; by default three times `seconds`.
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
        """What `images.open_image` answers, its `provenance` filled in, and without the file's bytes.

        Args:
            source: A path, bytes, or an open binary file.
            left: Seconds by the clock until nobody waits for it any more.

        Raises:
            ImageError: The picture cannot be read, or costs more than it may.
            DecodeTimeout: The clock ran out.
        """
        name = display_name(source)
        data = read_source(source, name, self.limits.max_bytes)
        clock = min(self.clock_seconds, left)
        decoder = self._idle.get()
        try:
            if decoder is not None and decoder.usable():
                try:
                    return decoder.load(data, name, self, clock)
                except DecoderDied:  # perhaps of something else: a fresh one tells
                    pass
            decoder = _Decoder(self.memory_mb)
            try:
                return decoder.load(data, name, self, clock)
            except DecoderDied:
                raise CorruptImage(f"{name} cannot be decoded: the decoder gave up on it.") from None
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """Ends the processes that wait; they end by themselves with this process, too."""
        for _ in range(self._idle.qsize()):
            decoder = self._idle.get()
            if decoder is not None:
                decoder.end()
            self._idle.put(None)


class _Decoder:
    def __init__(self, memory_mb: int):
        folder = str(Path(__file__).resolve().parents[1])
        env = {key: os.environ[key] for key in KEPT_ENVIRONMENT if key in os.environ} | {"OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(memory_mb), folder, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=0,
        )
        for pipe in (self.process.stdin, self.process.stdout):
            widen(pipe.fileno())
        self.uses, self.memory_mb, self.late = 0, memory_mb, False
        try:
            if self._read(5) != b"ready":
                raise EOFError
        except EOFError:
            self.end()
            raise RuntimeError("the decoding process does not start") from None

    def usable(self) -> bool:
        return self.process.poll() is None and self.uses < MAX_USES

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __del__(self):
        if hasattr(self, "process"):
            self.end()

    def load(self, data: bytes, name: str, pool: Decoders, clock: float) -> LoadedImage:
        """Sends a file and reads the picture; the process is ended where anything is wrong."""
        question = {
            "bytes": len(data),
            "name": name,
            "limits": dataclasses.asdict(pool.limits),
            "provenance_ms": pool.provenance_ms,
            "seconds": pool.seconds,
        }
        self.uses, self.late = self.uses + 1, False
        watch = threading.Timer(clock, self._too_late)
        watch.start()
        try:
            text = json.dumps(question).encode()
            self.process.stdin.write(struct.pack(">I", len(text)) + text)
            view = memoryview(data)
            while view:
                view = view[self.process.stdin.write(view) :]
            return self._answer(pool.limits)
        except ImageError:
            raise
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            self.end()
            raise self._failure(name, pool.seconds) from None
        finally:
            watch.cancel()

    def _too_late(self) -> None:
        self.late = True
        self.process.kill()

    def _failure(self, name: str, seconds: float) -> Exception:
        if self.late:
            return DecodeTimeout()
        code = self.process.returncode
        log.warning("a decoder ended with code %s", code)  # the number of the signal, negative
        if code == -24:  # SIGXCPU
            return CorruptImage(f"{name} takes longer than {seconds:g} s to decode, the most that is allowed here.")
        return DecoderDied()

    def _answer(self, limits: Limits) -> LoadedImage:
        length = struct.unpack(">I", self._read(4))[0]
        if length > MAX_JSON:
            raise ValueError("an answer of that length is none of ours")
        row = json.loads(bytes(self._read(length)))
        if "code" in row:
            raise known_error(row["code"], row["message"])
        facts = row["facts"]
        width, height = facts["width"], facts["height"]
        if not 0 < width * height <= limits.max_pixels or not 0 < max(width, height) <= limits.max_side:
            raise ValueError("a picture of that size is none of ours")
        image, rows = Image.new("RGB", (width, height)), strip_rows(width)
        for top in range(0, height, rows):
            size = width, min(rows, height - top)
            image.paste(Image.frombuffer("RGB", size, self._read(3 * size[0] * size[1]), "raw", "RGB", 0, 1), (0, top))
        found = row["provenance"]
        found = Provenance.from_dict(found) if found is not None else None
        return LoadedImage(image, facts, tuple(row["notes"]), None, found, float(row["ms"]))

    def _read(self, count: int) -> bytearray:
        """So many bytes of the answer.

        Raises:
            EOFError: The process has ended.
        """
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            got = self.process.stdout.readinto(view)
            if not got:
                raise EOFError
            view = view[got:]
        return buffer


def widen(pipe: int) -> None:
    """A pipe that takes a megabyte at a time instead of 64 kB: fewer turns between two busy processes (Linux)."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)
    except (ImportError, AttributeError, OSError):
        return


def known_error(code: str, message: str) -> ImageError:
    """The refusal that a decoder sent, as the class that has this code."""
    kinds = {kind.code: kind for kind in ImageError.__subclasses__()}
    return kinds.get(code, CorruptImage)(str(message)[:500])
