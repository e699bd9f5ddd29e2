"""What the REST interface takes and gives, in OpenAPI's words. Written out, for the form is read by hand."""

from __future__ import annotations

_FILE = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "array", "items": _FILE, "description": "One file or several."}},
                }
            }
        },
    }
}
_ERROR = {
    "type": "object",
    "required": ["schema", "error"],
    "properties": {
        "schema": {"type": "string"},
        "file": {"type": "string"},
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}
_NUMBER, _TEXT, _OBJECT = {"type": "number"}, {"type": "string"}, {"type": "object"}
_VERDICT = {
    "type": "object",
    "required": [
        "schema",
        "verdict",
        "p_fake",
        "logit",
        "threshold",
        "unsure_band",
        "notes",
        "image",
        "views",
        "model",
    ],
    "properties": {
        "schema": _TEXT,
        "file": _TEXT,
        "verdict": {"type": "string", "enum": ["real", "fake", "unsure"]},
        "p_fake": {"type": "number", "minimum": 0, "maximum": 1},
        "logit": _NUMBER,
        "threshold": _NUMBER,
        "unsure_band": {"type": "array", "items": _NUMBER},
        "generator": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "Probability of each generator family, the most likely first; null where none is named.",
        },
        "provenance": {"type": ["object", "null"]},
        "stability": {"type": ["object", "null"]},
        "notes": {"type": "array", "items": _TEXT},
        "image": _OBJECT,
        "views": {"type": "integer"},
        "model": _OBJECT,
        "ms": _OBJECT,
    },
}
_ANSWER = {"oneOf": [_VERDICT, {"type": "array", "items": {"oneOf": [_VERDICT, _ERROR]}}]}
_GOOD = {"description": "A Verdict, or a list", "content": {"application/json": {"schema": _ANSWER}}}
RESPONSES: dict = {200: _GOOD} | {
    status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    for status, text in {
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
