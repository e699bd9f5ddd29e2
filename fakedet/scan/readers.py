"""Decoding processes of a scan, fed in parallel, answering in order, with a bound on what is under way."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from fakedet.images import CorruptImage, Limits, display_name
from fakedet.sandbox.decoders import KEPT_ENVIRONMENT

from .sources import Item

MAX_USES = 20_000  # pictures until a process is replaced, so that what a C library leaks does not add up
MEMORY_MB, SECONDS = 1500, 20
# The package itself is not imported there, for that would bring torch: an empty one with its folder stands in.
START = (
    "import json, sys, types; memory, config, folder, *sys.path = sys.argv[1:]; package = types.ModuleType('fakedet'); "
    "package.__path__ = [folder]; sys.modules['fakedet'] = package; "
    "from fakedet.scan.worker import serve; serve(int(memory), json.loads(config))"
)


class _Process:
    """One decoding process."""

    def __init__(self, config: dict):
        env = {key: os.environ[key] for key in KEPT_ENVIRONMENT if key in os.environ} | {"OPENBLAS_NUM_THREADS": "1"}
        folder, self.uses = str(Path(__file__).resolve().parents[1]), 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(MEMORY_MB), json.dumps(config), folder, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        if self.process.stdout.read(5) != b"ready":
            self.end()
            raise RuntimeError("the decoding process does not start")

    def ask(self, item: Item, limits: Limits, provenance: bool) -> tuple[dict, bytes]:
        """What scan_worker.py answers.

        Raises:
            EOFError, OSError: The process has died.
        """
        (name, data), self.uses = item, self.uses + 1
        question = {"bytes": None if data is None else len(data), "name": name, "limits": dataclasses.asdict(limits),
                    "provenance": provenance, "seconds": SECONDS}  # fmt: skip
        text = json.dumps(question).encode()
        self.process.stdin.write(struct.pack(">I", len(text)) + text + (data or b""))
        self.process.stdin.flush()
        row = json.loads(self._read(struct.unpack(">I", self._read(4))[0]))
        return row, self._read(3 * row["side"] ** 2 * len(row["boxes"])) if "side" in row else b""

    def _read(self, count: int) -> bytes:
        data = self.process.stdout.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:  # what was not written yet
                pass


class DecodePool:
    """Several decoding processes.

    Args:
        count: Processes.
        config: What `views.cut` reads, as plain values.
        limits: What is read at most.
        provenance: Read what the file says of itself.
        prefetch: Pictures read or waiting to be scored at most: the bound on memory.
    """

    def __init__(self, count: int, config: dict, limits: Limits, provenance: bool, prefetch: int):
        self.count, self.config, self.limits, self.provenance = count, config, limits, provenance
        self.prefetch = prefetch

    def read(self, items: Iterator[tuple[int, Item]]) -> Iterator[tuple[int, str, dict, bytes]]:
        """(number, name, answer, crops) for each item, in the order of the items.

        A picture that ends its process, by a crash or by what it takes, is asked for once more in a fresh one (it may
        have been another's fault), and then has an answer that says so.
        """
        room, lock, done = threading.Semaphore(self.prefetch), threading.Lock(), queue.SimpleQueue()
        numbered, stop = enumerate(items), threading.Event()

        def work() -> None:
            process = None
            try:
                while True:
                    room.acquire()
                    with lock:
                        step = None if stop.is_set() else next(numbered, None)
                    if step is None:
                        break
                    place, (number, item) = step
                    if process is None or process.uses >= MAX_USES:
                        process = self._renew(process)
                    for _ in range(2):
                        try:
                            answer = process.ask(item, self.limits, self.provenance)
                            break
                        except (EOFError, OSError, ValueError):
                            process, answer = self._renew(process), None
                    done.put((place, number, item[0], *(answer or self._gave_up(item[0]))))
            except BaseException as error:  # for the caller to raise
                done.put(error)
            finally:
                if process is not None:
                    process.end()
            done.put(None)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        try:
            waiting, due, running = {}, 0, self.count
            while running or waiting:
                if due in waiting:
                    yield waiting.pop(due)
                    due += 1
                    room.release()
                    continue
                found = done.get()
                if isinstance(found, BaseException):
                    raise found
                if found is None:
                    running -= 1
                    room.release()  # another may be waiting for room to see that nothing is left
                else:
                    waiting[found[0]] = found[1:]
        finally:
            stop.set()
            for _ in threads:
                room.release()
            for thread in threads:
                thread.join(10)

    def _renew(self, process: _Process | None) -> _Process:
        if process is not None:
            process.end()
        return _Process(self.config)

    @staticmethod
    def _gave_up(name: str) -> tuple[dict, bytes]:
        text = f"{display_name(name)} cannot be decoded: the decoder gave up on it."
        return {"code": CorruptImage.code, "message": text}, b""
