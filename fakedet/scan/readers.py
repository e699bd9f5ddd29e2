"""Decoding workers of a scan: parallel, with replies in order and a bound on the pictures in flight."""

from __future__ import annotations

import dataclasses
import queue
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fakedet.images import CorruptImage, Limits, display_name
from fakedet.sandbox.protocol import WorkerProcess

from .sources import Item

MAX_USES = 20_000  # pictures until a worker is replaced, so that leaks of C libraries do not add up
MEMORY_MB, SECONDS = 1500, 20
_MAX_CROP_BYTES = 2**28
# glibc would give the memory of each large picture back to the system, and fetch it again for the next one.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20)}

Reply = tuple[dict[str, Any], bytes]  # header and crops, see worker.py


class ScanWorker(WorkerProcess):
    """One decoding worker; `config` holds what `views.cut` reads, as plain values."""

    def __init__(self, config: dict[str, Any]):
        super().__init__("fakedet.scan.worker", {"memory_mb": MEMORY_MB, "config": config}, KEEP_MEMORY)

    def decode(self, item: Item, limits: Limits, provenance: bool) -> Reply:
        """Decode and cut one picture.

        Raises:
            EOFError, OSError: The worker has ended.
            ValueError, KeyError, TypeError: The reply makes no sense.
        """
        name, data = item
        request = {
            "name": name,
            "is_path": data is None,
            "limits": dataclasses.asdict(limits),
            "provenance": provenance,
            "seconds": SECONDS,
        }
        self.send(request, data or b"")
        header, payload_bytes = self.receive_header()
        expected = 0 if "code" in header else 3 * header["side"] ** 2 * len(header["boxes"])
        if payload_bytes != expected or payload_bytes > _MAX_CROP_BYTES:
            raise ValueError("the crops do not fit their number and size")
        return header, self.receive(payload_bytes)


class DecodePool:
    """Several decoding workers, started when needed and kept until `close`.

    Args:
        count: Number of workers.
        config: What `views.cut` reads, as plain values.
        limits: Limits on the input.
        provenance: Read provenance.
        prefetch: Maximum number of pictures being decoded or waiting to be scored, which bounds the memory.
    """

    def __init__(self, count: int, config: dict[str, Any], limits: Limits, provenance: bool, prefetch: int):
        self.count, self.config, self.limits, self.provenance = count, config, limits, provenance
        self.prefetch = prefetch
        self._idle: queue.SimpleQueue[ScanWorker | None] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(None)

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """End the idle workers; they also end by themselves with this process."""
        for _ in range(self._idle.qsize()):
            if (worker := self._idle.get()) is not None:
                worker.end()
            self._idle.put(None)

    def read(self, items: Iterator[tuple[int, Item]]) -> Iterator[tuple[int, str, dict[str, Any], bytes]]:
        """Yield (number, name, header, crops) for each item, in the order of the items."""
        executor, pending = ThreadPoolExecutor(self.count), deque()
        try:
            for number, item in items:
                pending.append((number, item[0], executor.submit(self._decode, item)))
                while pending and (len(pending) >= self.prefetch or pending[0][2].done()):
                    number, name, future = pending.popleft()
                    yield number, name, *future.result()
            for number, name, future in pending:
                yield number, name, *future.result()
        finally:
            executor.shutdown(cancel_futures=True)

    def _decode(self, item: Item) -> Reply:
        """Decode one item with an idle worker.

        Where the worker ends, by a crash or at a limit, a fresh one tries once more, since an earlier picture may be
        the cause. A second failure becomes a refusal.
        """
        worker = self._idle.get()
        try:
            for _ in range(2):
                if worker is not None and worker.uses >= MAX_USES:
                    worker.end()
                    worker = None
                worker = worker or ScanWorker(self.config)
                try:
                    return worker.decode(item, self.limits, self.provenance)
                except (EOFError, OSError, ValueError, KeyError, TypeError):
                    worker.end()
                    worker = None
        finally:
            self._idle.put(worker)
        text = f"{display_name(item[0])} cannot be decoded: the decoder gave up on it."
        return {"code": CorruptImage.code, "message": text}, b""
