"""Limits on what callers may occupy: a bounded number of requests, and a bounded request body."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from .errors import ServerError

DRAIN_SECONDS = 20


class AdmissionController:
    """Counts the requests inside and refuses further ones, so that load cannot grow into memory.

    Args:
        running: Requests computed at the same time.
        waiting: Requests that may wait for their turn.
    """

    def __init__(self, running: int, waiting: int):
        self.max_inside, self.inside, self.turn = running + waiting, 0, asyncio.Semaphore(running)

    def __enter__(self) -> AdmissionController:
        if self.inside >= self.max_inside:
            raise ServerError(429, "busy", "Too many images are being checked just now; please try again in a moment.")
        self.inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.inside -= 1


class BoundedBody:
    """A request body that ends with 413 instead of growing without bound.

    Args:
        receive: The ASGI channel.
        max_bytes: Largest body.
    """

    def __init__(self, receive: Receive, max_bytes: int):
        self.receive, self.max_bytes, self.received, self.more = receive, max_bytes, 0, True

    async def __call__(self) -> Message:
        message = await self._next()
        if self.received > self.max_bytes:
            raise ServerError(413, "body_too_large", f"The request is larger than {self.max_bytes / 2**20:.0f} MB.")
        return message

    async def drain(self) -> None:
        """Reads a refused body to its end, within bounds: a client that still sends would not read the answer."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self.more and self.received <= 2 * self.max_bytes:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self.receive()
        self.received += len(message.get("body", b""))
        self.more = message.get("more_body", False)
        return message
