"""Confined worker processes, and the frames in which they answer requests.

A frame is the length of its header (4 bytes), the length of its payload (8 bytes), both big-endian, then the header as
JSON and the payload as raw bytes. A worker sends one frame `{"ready": true}`, then one frame for every frame it
receives, until its standard input ends. It sends nothing that the parent would execute, so a worker that a flaw in a C
library hands to an attacker cannot run code in the parent. The parent checks every length before it reads.

A worker imports neither torch nor network code: it starts in 0.2 s and takes 40 MB.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from fakedet.provenance.trust import TRUST_VARIABLE, current_path

from .confinement import allow_seconds, confine

Reply = tuple[dict[str, Any], int, Iterable[bytes]]  # header, bytes of the payload, its chunks
Handler = Callable[[dict[str, Any], bytes], Reply]

MAX_HEADER_BYTES = 32 * 2**20
_LENGTHS = struct.Struct(">IQ")
# Importing the package itself would import torch: an empty module with the package's folder takes its place.
_START = (
    "import importlib, json, sys, types; module, options, folder, *sys.path = sys.argv[1:]; "
    "package = types.ModuleType('fakedet'); package.__path__ = [folder]; sys.modules['fakedet'] = package; "
    "importlib.import_module(module).main(**json.loads(options))"
)
# The worker gets no tokens and no settings of the app.
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")


class WorkerProcess:
    """The parent's end of a confined worker process.

    Args:
        module: Module whose `main` calls `serve`, for example "fakedet.sandbox.worker".
        options: Keyword arguments of `main`, as JSON.
        variables: Of its environment, beside those that every worker gets.

    Attributes:
        process: The process.
        uses: Requests sent so far.

    Raises:
        RuntimeError: The worker does not start.
    """

    def __init__(self, module: str, options: dict[str, Any], variables: dict[str, str] | None = None):
        environment = {key: os.environ[key] for key in _KEPT_ENVIRONMENT if key in os.environ}
        if signers := current_path():  # the worker is not told where the cache lies
            environment[TRUST_VARIABLE] = str(signers)
        folder = str(Path(__file__).resolve().parents[1])
        self.uses = 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, module, json.dumps(options), folder, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | {"OPENBLAS_NUM_THREADS": "1"} | (variables or {}),
            bufsize=0,
        )
        for pipe in (self.process.stdin, self.process.stdout):
            _enlarge(pipe.fileno())
        try:
            if self.receive_header() != ({"ready": True}, 0):
                raise ValueError("another answer than ready")
        except (EOFError, OSError, ValueError):
            self.end()
            raise RuntimeError("the decoding process does not start") from None

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Send one request; raises OSError where the worker has ended."""
        self.uses += 1
        for part in (_head(header, len(payload)), payload):
            view = memoryview(part)
            while view:
                view = view[self.process.stdin.write(view) :]

    def receive_header(self) -> tuple[dict[str, Any], int]:
        """Read the header of a reply.

        Returns:
            The header, and how many bytes of payload follow; the caller checks that number and calls `receive`.

        Raises:
            EOFError: The worker has ended.
            ValueError: The header is too long, or not a JSON object.
        """
        header_bytes, payload_bytes = _LENGTHS.unpack(self.receive(_LENGTHS.size))
        if header_bytes > MAX_HEADER_BYTES:
            raise ValueError("the header is too long")
        header = json.loads(bytes(self.receive(header_bytes)))
        if not isinstance(header, dict):
            raise ValueError("the header is not an object")
        return header, payload_bytes

    def receive(self, count: int) -> bytearray:
        """Read `count` bytes of a reply; raises EOFError where the worker has ended."""
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            received = self.process.stdout.readinto(view)
            if not received:
                raise EOFError
            view = view[received:]
        return buffer

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __del__(self):
        if hasattr(self, "process"):
            self.end()


def serve(handle: Handler, memory_mb: int) -> None:
    """Answer requests on standard input with frames on standard output until the input ends.

    Args:
        handle: Takes the header and the payload of a request. Called under the header's `seconds` of CPU time.
        memory_mb: Megabytes of data that this process may hold.
    """
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # output that a library prints must not get between the frames
    confine(memory_mb)
    _write(replies, {"ready": True}, 0, ())
    while lengths := requests.read(_LENGTHS.size):
        header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
        header = json.loads(requests.read(header_bytes))
        allow_seconds(header["seconds"])
        _write(replies, *handle(header, requests.read(payload_bytes)))


def _write(pipe: BinaryIO, header: dict[str, Any], size: int, chunks: Iterable[bytes]) -> None:
    pipe.write(_head(header, size))
    for chunk in chunks:
        pipe.write(chunk)
    pipe.flush()


def _head(header: dict[str, Any], payload_bytes: int) -> bytes:
    text = json.dumps(header).encode()
    return _LENGTHS.pack(len(text), payload_bytes) + text


def _enlarge(pipe: int) -> None:
    """Let a pipe hold 1 MB instead of 64 kB: fewer switches between two busy processes (Linux)."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)
    except (ImportError, AttributeError, OSError):
        return
