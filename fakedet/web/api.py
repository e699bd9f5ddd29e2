"""The REST interface.

    POST /predict   multipart form, field `image`, once or several times
    GET  /health    whether the server is up, and how busy
    GET  /model     which checkpoint answers, and its settings
    GET  /openapi.json

One image gives one Verdict JSON, several give a list in the same order. An error is {schema, file, error: {code,
message}} with the matching HTTP status: 400, 405, 408, 413, 415, 422, 429, 500, 503. In a list, an error is a row.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from fakedet import __version__
from fakedet.detector import Detector
from fakedet.verdict import SCHEMA, Failure, Verdict

from .admission import AdmissionController, BoundedBody
from .errors import ServerError, internal_error, timeout_error
from .headers import Headers
from .responses import failure_or_verdict
from .schemas import PREDICT_BODY, PREDICT_RESPONSES, Health, LimitFacts, ModelAnswer
from .scorer import Scorer, base_name

READ_SECONDS = 120
MAX_FIELDS = 16
CONFIG_KEYS = (
    "backbone input_size max_views few_views_area whole_views crop_scale trim_borders aggregate threshold unsure_band "
    "calibration_temperature calibration_bias tiny_side tiny_input_size tiny_network families family_threshold"
).split()


def create_api(scorer: Scorer, waiting: int = 32, max_files: int = 16, why: str = "") -> FastAPI:
    """The REST application; a Gradio page can be mounted on it.

    Args:
        scorer: Computes the verdicts.
        waiting: Requests that may wait while `scorer.running` are computed; when the queue is full, requests get 429.
        max_files: Images in one request.
        why: One sentence on why this checkpoint answers.
    """
    admission = AdmissionController(scorer.running, waiting)
    max_body_bytes = 4 * scorer.detector.limits.max_bytes + 2**20
    app = FastAPI(
        title="fakedet",
        version=__version__,
        description="Tells a camera photograph from an AI-generated image.",
        docs_url=None,  # FastAPI's pages load scripts from another host
        redoc_url=None,
    )
    app.add_middleware(Headers)

    @app.exception_handler(Exception)
    def internal(request: Request, error: Exception) -> JSONResponse:
        """Replaces a response that could describe the machine; the owner's log has the traceback."""
        return failure_or_verdict(Failure(internal_error("Something went wrong here.")))

    @app.post(
        "/predict", summary="Score one image, or several", openapi_extra=PREDICT_BODY, responses=PREDICT_RESPONSES
    )
    async def predict(request: Request) -> JSONResponse:
        body = BoundedBody(request.receive, max_body_bytes)
        try:
            with admission:
                files = await read_images(Request(request.scope, body), max_files)
                results = await score_files(files, scorer, admission)
        except ServerError as error:
            await body.drain()
            return failure_or_verdict(Failure(error))
        if len(results) > 1:
            return JSONResponse([result.to_dict() for result in results])
        return failure_or_verdict(results[0])

    @app.get("/health", summary="Whether the server is up, and how busy")
    def health() -> Health:
        return Health(version=__version__, busy=admission.inside, most=admission.max_inside)

    @app.get("/model", summary="Which checkpoint answers")
    def model() -> ModelAnswer:
        return model_answer(scorer.detector, why, max_files, max_body_bytes)

    return app


def model_answer(detector: Detector, why: str, max_files: int, max_body_bytes: int) -> ModelAnswer:
    """The answer of GET /model."""
    return ModelAnswer(
        schema=SCHEMA,
        version=__version__,
        model=detector.model_facts,
        why=why or detector.checkpoint.note,
        config={key: getattr(detector.config, key) for key in CONFIG_KEYS},
        labels={"0": "real", "1": "fake"},
        limits=LimitFacts(**dataclasses.asdict(detector.limits), max_files=max_files, max_body_bytes=max_body_bytes),
    )


async def score_files(
    files: list[UploadFile], scorer: Scorer, admission: AdmissionController
) -> list[Verdict | Failure]:
    """Scores the files of one request in order; each one that is late becomes a "timeout" and is not awaited."""
    deadline = time.monotonic() + scorer.seconds
    results: list[Verdict | Failure] = []
    try:
        for file in files:
            name = base_name(file.filename)
            score = partial(scorer.score, file.file, name, deadline=deadline)
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())), admission.turn:
                    results.append(await asyncio.to_thread(score))
            except TimeoutError:
                results.append(Failure(timeout_error(), name))
    finally:
        for file in files:
            await file.close()
    return results


async def read_images(request: Request, max_files: int) -> list[UploadFile]:
    """Returns the files of the field `image`; large ones lie on disk, not in memory.

    Raises:
        ServerError: Not a form, no such field, too many files, too large, or too slow.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ServerError(400, "not_multipart", "Send the image as a multipart form with the field 'image'.")
    try:
        async with asyncio.timeout(READ_SECONDS):
            form = await request.form(max_files=max_files, max_fields=MAX_FIELDS)
    except TimeoutError:
        raise ServerError(408, "too_slow", f"The upload did not end within {READ_SECONDS} seconds.") from None
    except HTTPException as error:  # broken form, or more files than allowed
        raise ServerError(400, "bad_form", f"The form cannot be read: {error.detail}") from None
    files = [value for value in form.getlist("image") if isinstance(value, UploadFile)]
    if not files:
        raise ServerError(400, "missing_field", "The form has no file in the field 'image'.")
    return files
