"""What keeps one caller from taking the others' room: a gate, a bounded body, and how a refusal is called."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive


class ServerError(Exception):
    """A request that cannot be answered for reasons outside of the image; the text is one plain sentence."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


def timeout_error() -> ServerError:
    """What is said of a request that has waited or computed for too long."""
    return ServerError(503, "timeout", "This took longer than a request may take here; please try again in a moment.")


class AdmissionController:
    """Counts requests in the house and turns away what would not fit, so that load never becomes a pile of memory."""

    def __init__(self, running: int, waiting: int):
        self.most, self.inside, self.turn = running + waiting, 0, asyncio.Semaphore(running)

    def __enter__(self) -> AdmissionController:
        if self.inside >= self.most:
            raise ServerError(429, "busy", "Too many images are being checked just now; please try again in a moment.")
        self.inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.inside -= 1


class BoundedBody:
    """A request body that ends with 413 instead of growing without bound."""

    def __init__(self, receive: Receive, most: int):
        self.receive, self.most, self.seen, self.more = receive, most, 0, True

    async def __call__(self) -> Message:
        message = await self.receive()
        self.seen += len(message.get("body", b""))
        self.more = message.get("more_body", False)
        if self.seen > self.most:
            raise ServerError(413, "body_too_large", f"The request is larger than {self.most / 2**20:.0f} MB.")
        return message

    async def drain(self) -> None:
        """Reads a refused body to its end, within bounds: a client that still sends would not see the answer."""
        try:
            async with asyncio.timeout(20):
                while self.more and self.seen <= 2 * self.most:
                    message = await self.receive()
                    self.seen += len(message.get("body", b""))
                    self.more = message.get("more_body", False)
        except TimeoutError:
            return
