"""The REST interface, and the one scorer that page and REST share.

    POST /predict   multipart form, field `image`, once or several times
    GET  /health    is it up, and how busy
    GET  /model     which checkpoint answers, and its settings
    GET  /openapi.json

One image gives one Verdict JSON, several give a list in the same order. An error is {schema, file, error: {code,
message}} with the HTTP status that says the same: 400, 405, 408, 413, 415, 422, 429, 500, 503. In a list, errors are
rows.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakedet import __version__
from fakedet.detector import PROVENANCE_MS, Detector
from fakedet.images import ImageError, LoadedImage
from fakedet.sandbox.decoders import Decoders, DecodeTimeout
from fakedet.verdict import SCHEMA, Failure, Verdict

from .gate import AdmissionController, BoundedBody, ServerError, timeout_error
from .openapi import BODY, RESPONSES

log = logging.getLogger("fakedet")
READ_SECONDS = 120
OURS = {"/predict": "POST", "/health": "GET", "/model": "GET", "/openapi.json": "GET"}  # and the method of each
# The page needs inline code and styles; nothing may come from or go to another host.
PAGE_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)


class Scorer:
    """Scores what a stranger sent; never raises, and never more than `running` images at a time.

    Pictures are decoded in processes of their own (decoders.py), so that none of them can stall or stop this one.

    Args:
        detector: Answers.
        running: Images scored at the same time; each holds its decoded pixels in memory.
        seconds: An image that has waited and computed so long is answered "timeout".
        decode_seconds: Seconds of computing that decoding one image may take.
    """

    def __init__(self, detector: Detector, running: int = 2, seconds: float = 60, decode_seconds: float = 5):
        self.detector, self.running, self.seconds = detector, running, seconds
        wanted = PROVENANCE_MS if detector.provenance else None
        self.decoders = Decoders(running, detector.limits, decode_seconds, provenance_ms=wanted)
        self._places = threading.BoundedSemaphore(running)

    def score(
        self, source: Any, name: str | None = None, heatmap: bool = False, deadline: float | None = None
    ) -> Verdict | Failure:
        """The verdict, or the failure, under the name that the sender gave.

        Args:
            source: A path, bytes, or an open binary file.
            name: As the sender gave it.
            heatmap: As in `Detector.predict`.
            deadline: `time.monotonic()` at which the answer is late; by default `seconds` from now.
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
            log.exception("scoring failed")  # for the owner's log; the sender learns nothing of the machine
            return Failure(ServerError(500, "internal", "Something went wrong here while checking this image."), name)
        finally:
            self._places.release()

    def load(self, source: Any, deadline: float | None = None) -> LoadedImage:
        """The decoded picture.

        Raises:
            ImageError: It cannot be read.
            ServerError: It was not read in time.
        """
        left = self.seconds if deadline is None else max(0.1, deadline - time.monotonic())
        try:
            return self.decoders.load(source, left)
        except DecodeTimeout:
            raise timeout_error() from None


def create_api(scorer: Scorer, waiting: int = 32, max_files: int = 16, why: str = "") -> FastAPI:
    """The REST application; a Gradio page can be mounted on it.

    Args:
        scorer: Answers.
        waiting: Requests that may wait while `scorer.running` are answered; more are told "busy" (429).
        max_files: Images in one request.
        why: One sentence on why this checkpoint answers.
    """
    detector, gate = scorer.detector, AdmissionController(scorer.running, waiting)
    most_bytes = 4 * detector.limits.max_bytes + 2**20
    app = FastAPI(
        title="fakedet",
        version=__version__,
        description="Tells a camera photograph from an AI-generated image.",
        docs_url=None,  # FastAPI's pages load scripts from another host
        redoc_url=None,
    )
    app.add_middleware(Headers)

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> JSONResponse:
        """In the place of a page that could name what broke; the owner's log has it."""
        return answer(Failure(ServerError(500, "internal", "Something went wrong here.")))

    async def in_time(file: UploadFile, deadline: float) -> Verdict | Failure:
        """The answer for one file; a late one is told so, and is not waited for."""
        name = base_name(file.filename)
        score = partial(scorer.score, file.file, name, deadline=deadline)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())), gate.turn:
                return await asyncio.to_thread(score)
        except TimeoutError:
            return Failure(timeout_error(), name)

    @app.post("/predict", summary="Score one image, or several", openapi_extra=BODY, responses=RESPONSES)
    async def predict(request: Request) -> JSONResponse:
        body = BoundedBody(request.receive, most_bytes)
        try:
            with gate:
                files = await read_images(Request(request.scope, body), max_files)
                deadline = time.monotonic() + scorer.seconds
                try:
                    results = [await in_time(file, deadline) for file in files]
                finally:
                    for file in files:
                        await file.close()
        except ServerError as error:
            await body.drain()
            return answer(Failure(error))
        if len(results) > 1:
            return JSONResponse([result.to_dict() for result in results])
        return answer(results[0])

    @app.get("/health", summary="Is it up, and how busy")
    def health() -> dict:
        return {"status": "ok", "version": __version__, "busy": gate.inside, "most": gate.most}

    @app.get("/model", summary="Which checkpoint answers")
    def model() -> dict:
        config, limits = detector.config, detector.limits
        keys = (
            "backbone input_size max_views few_views_area whole_views crop_scale aggregate threshold "
            "unsure_band calibration_temperature "
            "calibration_bias tiny_side tiny_input_size tiny_network families family_threshold"
        )
        return {
            "schema": SCHEMA,
            "version": __version__,
            "model": detector.model_facts,
            "why": why or detector.checkpoint.note,
            "config": {key: getattr(config, key) for key in keys.split()},
            "labels": {"0": "real", "1": "fake"},
            "limits": {**dataclasses.asdict(limits), "max_files": max_files, "max_body_bytes": most_bytes},
        }

    return app


def wrong_method(allowed: str) -> JSONResponse:
    """What one of our paths answers to another method than its own."""
    how = "images with POST, as a multipart form with the field 'image'" if allowed == "POST" else "a GET request"
    return answer(Failure(ServerError(405, "method_not_allowed", f"Send {how}.")), {"Allow": allowed})


def answer(result: Verdict | Failure, headers: dict[str, str] | None = None) -> JSONResponse:
    """A result as JSON, with its HTTP status."""
    status = getattr(result.error, "status", 500) if isinstance(result, Failure) else 200
    headers = {"Retry-After": "1"} if status in (429, 503) else headers
    return JSONResponse(result.to_dict(), status, headers)


def base_name(name: str | None) -> str | None:
    """A file's name without folders and control characters, at most 120 characters; None where there is none."""
    name = "".join(c for c in (name or "").replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable())
    return name[:120] or None


async def read_images(request: Request, max_files: int) -> list[UploadFile]:
    """The files of the field `image`; large ones lie on disk, not in memory.

    Raises:
        ServerError: Not a form, no such field, too many files, too large, or too slow.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ServerError(400, "not_multipart", "Send the image as a multipart form with the field 'image'.")
    try:
        async with asyncio.timeout(READ_SECONDS):
            form = await request.form(max_files=max_files, max_fields=16)
    except TimeoutError:
        raise ServerError(408, "too_slow", f"The upload did not end within {READ_SECONDS} seconds.") from None
    except HTTPException as error:  # broken form, or more files than allowed
        raise ServerError(400, "bad_form", f"The form cannot be read: {error.detail}") from None
    files = [value for value in form.getlist("image") if isinstance(value, UploadFile)]
    if not files:
        raise ServerError(400, "missing_field", "The form has no file in the field 'image'.")
    return files


class Headers:
    """Adds security headers to every answer, and "do not store" to ours; refuses methods that our paths do not know."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = scope["path"] in OURS
                policy = "default-src 'none'; frame-ancestors 'none'" if ours else PAGE_POLICY
                added = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
                added |= {"content-security-policy": policy} | ({"cache-control": "no-store"} if ours else {})
                present = {name.lower() for name, _ in message["headers"]}
                new = [(k.encode(), v.encode()) for k, v in added.items() if k.encode() not in present]
                message = {**message, "headers": [*message["headers"], *new]}
            await send(message)

        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        allowed = OURS.get(scope["path"], scope["method"])
        app = self.app if scope["method"] == allowed else wrong_method(allowed)
        await app(scope, receive, wrapped)
