"""An answer as plain text that can be passed on: the verdict, how sure it is, what it rests on, and its limits."""

from __future__ import annotations

from datetime import UTC, datetime

from fakedet.verdict import Verdict

from . import answer
from .scorer import base_name

CAVEAT = (
    "A clue, not a proof: the detector is sometimes wrong, most often on kinds of pictures that it was not trained on. "
    "It judges pixels, not whether the scene is true. Small or compressed copies tell less than the original file."
)


def summary(verdict: Verdict, when: datetime | None = None) -> str:
    """The answer in a few lines of text, with the hashes of the file and of the weights.

    Args:
        verdict: From `Detector.predict`.
        when: Time of the answer; by default now.

    Returns:
        Lines "name: value", without markup. A text that a stranger wrote (a file name, metadata) stays on its line.
    """
    notes = [note for note in answer.hints(verdict) if note != answer.explanation(verdict)]
    lines = [
        ("fakedet", f"{verdict.headline}. {answer.explanation(verdict)}"),
        *([("File", base_name(verdict.file))] if base_name(verdict.file) else []),
        *shares(verdict),
        *answer.basis(verdict),
        *([("About this picture", " ".join(notes))] if notes else []),
        ("Picture", picture_facts(verdict)),
        ("Model", model_facts(verdict)),
        ("Date", date(when)),
        ("Caveat", CAVEAT),
    ]
    return "\n".join(f"{name}: {one_line(text)}" for name, text in lines) + "\n"


def shares(verdict: Verdict) -> list[tuple[str, str]]:
    """How sure the answer is, as one line; none where the score means nothing."""
    bars = answer.bars(verdict)
    if bars is None:
        return []
    rows = ", ".join(f"{bar.name} {bar.percent} %" for bar in bars["rows"])
    return [(bars["title"], f"{rows}. {bars['needs']}.")]


def picture_facts(verdict: Verdict) -> str:
    """Size, and where there was a file its format and SHA-256."""
    facts = verdict.image
    parts = [f"{facts['width']} x {facts['height']} pixels", facts["format"]]
    return ", ".join([*filter(None, parts), *([f"SHA-256 {facts['sha256']}"] if facts["sha256"] else [])])


def model_facts(verdict: Verdict) -> str:
    """Name and revision of the model, and the SHA-256 of its weights."""
    model = verdict.model
    revision = f", revision {model['revision']}" if model["revision"] else ""
    return f"{model['id']}{revision}, weights SHA-256 {model['sha256']}"


def date(when: datetime | None = None) -> str:
    """A time, by default now, as "2026-11-27 21:05 UTC"."""
    return f"{(when or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def one_line(text: str) -> str:
    """The text without line ends and control characters, so that a stranger's words cannot look like another line."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
