"""The REST interface's answers as pydantic models; FastAPI makes the OpenAPI description from them.

`Verdict.to_dict()` and `Failure.to_dict()` stay the source of the JSON. A test reads their output with these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Probability = Annotated[float, Field(ge=0, le=1)]
Label = Literal["real", "fake", "unsure"]
UploadedFile = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]


class Answer(BaseModel):
    """What all answers share. Fields may be added; none will be renamed."""

    model_config = ConfigDict(protected_namespaces=())
    schema_: str = Field(alias="schema", description='Version of the JSON: "1".')


class ModelFacts(BaseModel):
    """Which checkpoint computed an answer."""

    id: str = Field(description='Hub id, folder name, or "bundled".')
    revision: str | None = Field(description="Commit on the Hub.")
    sha256: str = Field(description="Of the weights, hex.")
    runtime: str


class ImageFacts(BaseModel):
    """The input as it was read; `format`, `bytes` and `sha256` are null where there was no file."""

    sha256: str | None
    format: str | None
    mode: str
    width: int = Field(description="Pixels, upright.")
    height: int = Field(description="Pixels, upright.")
    bytes: int | None


class CopyScore(BaseModel):
    """The score of one recompressed or resized copy."""

    copy_: str = Field(alias="copy")
    p_fake: Probability
    verdict: Label


class Stability(BaseModel):
    """Whether copies of the image (compressed, smaller, without colour) get the same answer."""

    stable: bool
    first_verdict: Label
    copies: list[CopyScore]


class VerdictAnswer(Answer):
    """The verdict on one image."""

    file: str | None = Field(default=None, description="File name from the sender; absent where there was none.")
    verdict: Label
    p_fake: Probability = Field(description="Calibrated probability that the image is AI-generated.")
    logit: float
    threshold: float
    unsure_band: tuple[Probability, Probability] = Field(description="A p_fake strictly inside is unsure.")
    generator: dict[str, Probability] | None = Field(
        description="Probability of each generator family, the most likely first; null where none is named."
    )
    provenance: dict[str, Any] | None = Field(description="What the file's metadata and signatures declare.")
    decided_by: Literal["pixels", "declared_ai", "declared_camera"]
    pixel_verdict: Label
    stability: Stability | None
    kind: Literal["photo", "graphic", "drawing"] | None = Field(
        description="What the picture looks like; unless photo-like, the pixels give no answer. Null: not told."
    )
    p_photo: Probability | None = Field(description="Probability that the picture is photo-like, whoever made it.")
    notes: list[str]
    image: ImageFacts
    views: int
    model: ModelFacts
    ms: dict[str, float]


class Error(BaseModel):
    """Why an image has no verdict."""

    code: str
    message: str


class ErrorAnswer(Answer):
    """The answer for an image that cannot be scored."""

    file: str | None = Field(default=None, description="File name from the sender; absent where there was none.")
    error: Error


class Health(BaseModel):
    """Whether the server is up, and how busy."""

    status: Literal["ok"] = "ok"
    version: str
    busy: int = Field(description="Requests that are computed or wait.")
    most: int = Field(description="Largest value of `busy`; further requests get 429.")


class LimitFacts(BaseModel):
    """What one request may hold."""

    max_bytes: int
    max_pixels: int
    max_side: int
    max_files: int
    max_body_bytes: int


class ModelAnswer(Answer):
    """Which checkpoint answers, and its settings."""

    version: str
    model: ModelFacts
    why: str = Field(description="Why this checkpoint answers.")
    config: dict[str, Any] = Field(description="Settings that can change a score.")
    labels: dict[str, str]
    limits: LimitFacts


class PredictForm(BaseModel):
    """The form of POST /predict."""

    image: list[UploadedFile] = Field(description="One file or several.")


PredictAnswer = VerdictAnswer | list[VerdictAnswer | ErrorAnswer]
# The handler reads the form itself, within bounds, so that FastAPI does not know of it.
PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": PredictForm.model_json_schema()}},
    }
}
PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": PredictAnswer, "description": "A verdict for one image, a list for several"}
} | {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        400: "No image in the form, or an empty one",
        408: "The upload was too slow",
        413: "Too many bytes or pixels",
        415: "Not an image format that is read",
        422: "A damaged image",
        429: "Busy; try again after the seconds in Retry-After",
        500: "Something went wrong here",
        503: "It took too long; try again after the seconds in Retry-After",
    }.items()
}
