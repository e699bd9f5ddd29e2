"""How provenance joins the pixels: one fixed table. Nothing here changes a probability.

| | The file says | Verdict | Decided by |
|---|---|---|---|
| 1 | rows 2 or 3, and row 5 as well | the pixels' | `pixels`; the contradiction comes first |
| 2 | a valid C2PA manifest (signer trusted or not): AI-generated | fake | `declared_ai` |
| 3 | a generator's record, or IPTC/XMP: AI-generated | fake | `declared_ai` |
| 4 | a valid C2PA manifest or IPTC/XMP: contains AI-made parts | the pixels', but "real" becomes unsure | `declared_ai` where it changed the verdict, else `pixels` |
| 5 | a valid C2PA manifest of a trusted signer, of its own file: captured by a camera | real | `declared_camera` |
| 6 | anything else: camera fields, a watermark, an editor, an untrusted or broken manifest, nothing | the pixels' | `pixels` |

The first row that fits applies. An AI declaration is believed without a trusted signer because few have a reason to
forge one; a camera declaration is not, because many have. `p_fake` stays what the pixels gave.
"""  # noqa: E501

from __future__ import annotations

from enum import Enum, auto

from .declarations import Kind, declarations
from .record import Joined, Provenance

CAVEAT = "Metadata can be forged, and its absence proves nothing."
_PIXELS = {
    "fake": "The pixels look AI-generated",
    "real": "The pixels look like a camera photo",
    "unsure": "The pixels do not settle it",
}
_PIXEL_HEADLINES = {"fake": "Looks AI-generated", "real": "Looks like a camera photo", "unsure": "Not sure"}


class Case(Enum):
    """The rows of the table; AI is rows 2 and 3."""

    CONTRADICTION = auto()
    AI = auto()
    PART_AI = auto()
    CAMERA = auto()
    UNDECLARED = auto()


_HEADLINES = {
    Case.CONTRADICTION: "{pixels} (pixels); the file contradicts itself",
    Case.AI: "AI-generated (declared)",
    Case.PART_AI: "Contains AI-made parts (declared)",
    Case.CAMERA: "Captured by camera (declared)",
    Case.UNDECLARED: "{pixels} (pixels)",
}


class Conflict(Enum):
    """A contradiction within the file, or between the file and its pixels."""

    AI_AND_CAMERA = auto()
    AI_AND_REAL_PIXELS = auto()
    AI_AND_CAMERA_FIELDS = auto()
    PART_AI_AND_REAL_PIXELS = auto()
    CAMERA_AND_FAKE_PIXELS = auto()
    CAMERA_AND_WATERMARK = auto()
    TAMPERED = auto()
    WATERMARK_AND_REAL_PIXELS = auto()
    CAMERA_FIELDS_AND_FAKE_PIXELS = auto()


_SENTENCES = {
    Conflict.AI_AND_CAMERA: "The file declares both a generator and a trusted camera; neither is believed.",
    Conflict.AI_AND_CAMERA_FIELDS:
        "It also names a camera: one of the two was added, or a photo was the starting point.",
    Conflict.CAMERA_AND_WATERMARK: "Yet the pixels hold the watermark of an image generator.",
    Conflict.TAMPERED: "The file's credentials are not intact, so what they say is not believed.",
}  # fmt: skip
_SENTENCES_ON_PIXELS = {  # those that begin with what the pixels look like
    Conflict.AI_AND_REAL_PIXELS: "; the declaration decides.",
    Conflict.PART_AI_AND_REAL_PIXELS: ", yet parts of it are declared to be AI-made.",
    Conflict.CAMERA_AND_FAKE_PIXELS:
        "; the signed declaration decides. A camera may also have photographed a screen.",
    Conflict.WATERMARK_AND_REAL_PIXELS: ", yet they hold the watermark of an image generator.",
    Conflict.CAMERA_FIELDS_AND_FAKE_PIXELS: ", yet the file names a camera; such fields are easily written.",
}  # fmt: skip


def join(pixel_verdict: str, p_fake: float, provenance: Provenance) -> Joined:
    """Join the verdict of the pixels with what the file declares, by the table above.

    Args:
        pixel_verdict: "real", "fake" or "unsure".
        p_fake: P(fake) of the pixels, 0..1; only quoted, never changed.
        provenance: What `read_provenance` returned.

    Returns:
        The verdict, a headline, what decided it, and the reasons, contradictions first.

    Raises:
        ValueError: `pixel_verdict` is none of the three words.
    """
    if pixel_verdict not in _PIXELS:
        raise ValueError(f"pixel_verdict must be real, fake or unsure, not {pixel_verdict!r}")
    case = _case(provenance)
    verdict, decided_by = _decide(case, pixel_verdict)
    conflicts = _conflicts(case, pixel_verdict, provenance)
    headline = _HEADLINES[case].format(pixels=_PIXEL_HEADLINES[pixel_verdict])
    return Joined(verdict, headline, decided_by, _explain(conflicts, pixel_verdict, p_fake, provenance))


def _case(provenance: Provenance) -> Case:
    declared = declarations(provenance)
    if Kind.AI in declared:
        return Case.CONTRADICTION if Kind.CAMERA in declared else Case.AI
    if Kind.PART_AI in declared:
        return Case.PART_AI
    return Case.CAMERA if Kind.CAMERA in declared else Case.UNDECLARED


def _decide(case: Case, pixel_verdict: str) -> tuple[str, str]:
    """Return the verdict and what decided it."""
    if case is Case.AI:
        return "fake", "declared_ai"
    if case is Case.PART_AI and pixel_verdict == "real":
        return "unsure", "declared_ai"
    if case is Case.CAMERA:
        return "real", "declared_camera"
    return pixel_verdict, "pixels"


def _conflicts(case: Case, pixel_verdict: str, provenance: Provenance) -> list[Conflict]:
    camera_fields = bool((provenance.camera or {}).get("make"))
    watermark, real, fake = bool(provenance.watermark), pixel_verdict == "real", pixel_verdict == "fake"
    tampered = bool(provenance.c2pa) and provenance.c2pa["state"] == "tampered"
    candidates = {
        Case.CONTRADICTION: {Conflict.AI_AND_CAMERA: True},
        Case.AI: {Conflict.AI_AND_REAL_PIXELS: real, Conflict.AI_AND_CAMERA_FIELDS: camera_fields},
        Case.PART_AI: {Conflict.PART_AI_AND_REAL_PIXELS: real},
        Case.CAMERA: {Conflict.CAMERA_AND_FAKE_PIXELS: fake, Conflict.CAMERA_AND_WATERMARK: watermark},
        Case.UNDECLARED: {
            Conflict.TAMPERED: tampered,
            Conflict.WATERMARK_AND_REAL_PIXELS: watermark and real and not tampered,
            Conflict.CAMERA_FIELDS_AND_FAKE_PIXELS: camera_fields and fake and not tampered,
        },
    }
    return [conflict for conflict, present in candidates[case].items() if present]


def _explain(conflicts: list[Conflict], pixel_verdict: str, p_fake: float, provenance: Provenance) -> tuple[str, ...]:
    """Return the sentences: contradictions, evidence, what the pixels look like, and the caveat."""
    pixels = f"{_PIXELS[pixel_verdict]} (P(fake) {100 * p_fake:.0f} %)"
    sentences = [
        pixels + _SENTENCES_ON_PIXELS[conflict] if conflict in _SENTENCES_ON_PIXELS else _SENTENCES[conflict]
        for conflict in conflicts
    ]
    sentences += [item.sentence for item in provenance.evidence]
    if not any(conflict in _SENTENCES_ON_PIXELS for conflict in conflicts):
        sentences.append(f"{pixels}.")
    return (*dict.fromkeys(sentences), CAVEAT)
