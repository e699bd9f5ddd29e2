"""The result of `read_provenance`, and the cleaning of untrusted text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["ai", "camera", "edited", "neutral"]
Strength = Literal["proof", "strong", "weak"]

MAX_NAME_CHARS = 200  # a model, tool, maker or person
MAX_PROMPT_CHARS = 4000
MAX_EXCERPT_CHARS = 1000


def clean(value: Any, limit: int = MAX_NAME_CHARS) -> str | None:
    """Turn a metadata value into plain, valid, bounded text.

    Control characters other than newline and tab, lone surrogates and the invisible characters that reorder or hide
    text (Unicode categories Cc, Cf, Cs, Co, Cn) are dropped, so that the text can stand in JSON and on a page.
    Markup is kept: code that shows the text must escape it.

    Args:
        value: Anything; strings and numbers are kept, everything else counts as absent.
        limit: Maximum number of characters; a longer text ends in an ellipsis.

    Returns:
        The text, or None where nothing is left.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        text = str(value)
    except ValueError:  # Python does not print an integer of thousands of digits
        return None
    text = text[: 2 * limit + 64]
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    text = text.strip()
    if len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    return text or None


@dataclass(frozen=True)
class Evidence:
    """One statement of the file, its direction and its strength.

    Attributes:
        direction: "ai", "camera", "edited" or "neutral".
        strength: "proof" (a valid signature stands behind it), "strong" (a declaration, or a trace that is
            unlikely to arise by chance) or "weak" (usual in such files, and easily forged).
        sentence: One sentence for people.
    """

    direction: Direction
    strength: Strength
    sentence: str

    def to_dict(self) -> dict[str, str]:
        """Return the three fields as a JSON object."""
        return {"direction": self.direction, "strength": self.strength, "sentence": self.sentence}


@dataclass(frozen=True)
class Provenance:
    """The provenance of a file. Every part is None where the file has nothing of the kind.

    Attributes:
        c2pa: {state, state_text, trust_list, signer, signed_at, claim_generator, actions, digital_source_type,
            source_from, ingredients}; state is "valid_trusted", "valid_untrusted", "tampered" or "unreadable";
            trust_list names the list that the signer was compared with.
        generator: {tool, container_field, prompt, negative_prompt, model, seed, sampler, steps, raw_excerpt}. Seeds
            are strings because many exceed the integers of JavaScript.
        camera: {make, model, lens, taken, exposure: {time, f_number, iso, focal_length_mm}, gps_present, maker_note,
            thumbnail_consistent, software}. Coordinates are never kept.
        jpeg: {quality (1..100, estimated), tables_family}.
        watermark: {name, bits, distance, threshold}.
        iptc_xmp: {digital_source_type, creator_tool, credit}.
        evidence: The same in sentences, strongest first.
        notes: Sentences on what could not be read or was left out, and why.
        ms: Time spent, in milliseconds.
    """

    c2pa: dict[str, Any] | None = None
    generator: dict[str, Any] | None = None
    camera: dict[str, Any] | None = None
    jpeg: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None
    iptc_xmp: dict[str, Any] | None = None
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()
    ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; all texts in it are plain, valid and bounded."""
        return {
            "c2pa": self.c2pa,
            "generator": self.generator,
            "camera": self.camera,
            "jpeg": self.jpeg,
            "watermark": self.watermark,
            "iptc_xmp": self.iptc_xmp,
            "evidence": [item.to_dict() for item in self.evidence],
            "notes": list(self.notes),
            "ms": round(self.ms, 2),
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Provenance:
        """Return the object of which `to_dict` made this row."""
        evidence = tuple(Evidence(**item) for item in row["evidence"])
        return cls(**{**row, "evidence": evidence, "notes": tuple(row["notes"])})


@dataclass(frozen=True)
class Joined:
    """Pixels and provenance side by side: see `fakedet.provenance.rules.join`.

    Attributes:
        verdict: "real", "fake" or "unsure".
        headline: A headline for the page.
        decided_by: "pixels", "declared_ai" or "declared_camera".
        sentences: The reasons, contradictions first.
    """

    verdict: str
    headline: str
    decided_by: Literal["pixels", "declared_ai", "declared_camera"]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the four fields as a JSON object."""
        return {
            "verdict": self.verdict,
            "headline": self.headline,
            "decided_by": self.decided_by,
            "sentences": list(self.sentences),
        }
