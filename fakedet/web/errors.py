"""Errors that are the server's and not the image's."""

from __future__ import annotations


class ServerError(Exception):
    """A request that cannot be answered for a reason outside the image.

    Args:
        status: HTTP status.
        code: Stable name for programs.
        message: One sentence for people.
    """

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


def timeout_error() -> ServerError:
    """The error for a request that waited or computed for too long."""
    return ServerError(503, "timeout", "This took longer than a request may take here; please try again in a moment.")


def internal_error(message: str) -> ServerError:
    """The error for a failure of this program; the message must not describe the machine."""
    return ServerError(500, "internal", message)
