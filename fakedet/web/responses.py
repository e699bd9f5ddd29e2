"""One verdict or failure as an HTTP response."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from fakedet.verdict import Failure, Verdict

from .errors import ServerError


def failure_or_verdict(result: Verdict | Failure, headers: dict[str, str] | None = None) -> JSONResponse:
    """The JSON of a result, with its HTTP status."""
    status = getattr(result.error, "status", 500) if isinstance(result, Failure) else 200
    headers = {"Retry-After": "1"} if status in (429, 503) else headers
    return JSONResponse(result.to_dict(), status, headers)


def method_not_allowed(allowed: str) -> JSONResponse:
    """The response of a REST path to a method that is not its own."""
    expected = "images with POST, as a multipart form with the field 'image'" if allowed == "POST" else "a GET request"
    error = ServerError(405, "method_not_allowed", f"Send {expected}.")
    return failure_or_verdict(Failure(error), {"Allow": allowed})
