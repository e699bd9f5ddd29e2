"""How provenance joins the pixels: evidence in sentences, and one fixed table. Nothing here changes a probability.

| | The file says | Verdict | Decided by |
|---|---|---|---|
| 1 | rows 2 or 3, and row 5 as well | the pixels' | `pixels`; the contradiction is said first |
| 2 | a valid C2PA manifest (signer trusted or not): AI-generated | fake | `declared_ai` |
| 3 | a generator's record, or IPTC/XMP: AI-generated | fake | `declared_ai` |
| 4 | a valid C2PA manifest or IPTC/XMP: contains AI-made parts | the pixels', but "real" becomes unsure | `declared_ai` where it changed the verdict, else `pixels` |
| 5 | a valid C2PA manifest of a trusted signer, of its own file: captured by a camera | real | `declared_camera` |
| 6 | anything else: camera fields, a watermark, an editor, an untrusted or broken manifest, nothing | the pixels' | `pixels` |

The first row that fits is taken. An AI declaration is believed without a trusted signer because few have a reason to
forge one; a camera declaration is not, because many have. `p_fake` stays what the pixels gave.
"""  # noqa: E501

from __future__ import annotations

from typing import Any

from .c2pa import AI, CAPTURE, PART_AI
from .camera import is_editor
from .record import Evidence, Joined, Provenance

CAVEAT = "Metadata can be forged, and its absence proves nothing."
_PIXEL_WORDS = {
    "fake": "The pixels look AI-generated", "real": "The pixels look like a camera photo",
    "unsure": "The pixels do not settle it",
}  # fmt: skip
_HEADLINES = {"fake": "Looks AI-generated", "real": "Looks like a camera photo", "unsure": "Not sure"}


def _valid(c2pa: dict[str, Any] | None) -> bool:
    return bool(c2pa) and c2pa["state"] in ("valid_trusted", "valid_untrusted")


def _declared(p: Provenance) -> dict[str, str]:
    """Sort what the file declares into "ai", "part_ai" and "camera", each with its sentence."""
    found: dict[str, str] = {}
    if _valid(p.c2pa):
        kind, signer = p.c2pa["digital_source_type"], p.c2pa["signer"] or "an unnamed signer"
        trusted = p.c2pa["state"] == "valid_trusted"
        who = f"{signer} ({'trusted' if trusted else 'signer not on the trust list'})"
        if kind in AI:
            found["ai"] = f"Valid Content Credentials signed by {who} say that this image is AI-generated."
        elif kind in PART_AI:
            found["part_ai"] = f"Valid Content Credentials signed by {who} say that it contains AI-made parts."
        elif kind in CAPTURE and trusted and p.c2pa["source_from"] == "manifest":
            found["camera"] = f"Valid Content Credentials signed by {who} say that a camera captured this image."
    if p.generator:
        tool, place = p.generator["tool"], p.generator["container_field"]
        found.setdefault("ai", f"The file carries a record of {tool} in its field {place}.")
    kind = (p.iptc_xmp or {}).get("digital_source_type")
    if kind in AI:
        found.setdefault("ai", "The IPTC/XMP metadata say that this image is AI-generated (trainedAlgorithmicMedia).")
    elif kind in PART_AI or (p.iptc_xmp or {}).get("credit", "") == "Edited with Google AI":
        found.setdefault("part_ai", "The IPTC/XMP metadata say that this image contains AI-made parts.")
    return found


def weigh(p: Provenance) -> tuple[Evidence, ...]:
    """Say every part of a `Provenance` in one sentence with its direction and strength, strongest first."""
    found: list[Evidence] = []
    declared, c2pa, camera = _declared(p), p.c2pa, p.camera
    for name, direction in (("ai", "ai"), ("part_ai", "edited"), ("camera", "camera")):
        if name in declared:
            proof = declared[name].startswith("Valid Content Credentials")
            found.append(Evidence(direction, "proof" if proof else "strong", declared[name]))
    if p.generator and "record of" not in declared.get("ai", ""):
        found.append(Evidence("ai", "strong", f"It carries a record of {p.generator['tool']}."))
    if c2pa and not _valid(c2pa):
        broken = c2pa["state"] == "tampered"
        found.append(Evidence("edited" if broken else "neutral", "strong" if broken else "weak", c2pa["state_text"]))
        if c2pa["digital_source_type"] in AI + PART_AI:
            parts = "contains AI-made parts" if c2pa["digital_source_type"] in PART_AI else "is AI-generated"
            found.append(Evidence("ai", "weak", f"Those credentials say, unproven, that this image {parts}."))
    elif c2pa and not any("Credentials" in item.sentence for item in found):
        capture = c2pa["digital_source_type"] in CAPTURE
        sentence = c2pa["state_text"]
        if capture:
            sentence += " They say that a camera captured the image" + (
                " it was edited from." if c2pa["source_from"] == "parent" else "."
            )
        strength = "strong" if c2pa["state"] == "valid_trusted" else "weak"
        found.append(Evidence("camera" if capture else "neutral", strength, sentence))
    if p.watermark:
        mark = p.watermark
        found.append(Evidence(
            "ai", "strong",
            f"The pixels hold the invisible watermark of {mark['name']} "
            f"({mark['bits'] - mark['distance']} of {mark['bits']} bits).",
        ))  # fmt: skip
    if camera:
        name = " ".join(filter(None, (camera["make"], camera["model"])))
        if name:
            extras = [word for key, word in (
                ("exposure", "exposure"), ("lens", "lens"), ("maker_note", "maker notes"), ("gps_present", "a place"),
            ) if camera[key]]  # fmt: skip
            more = f", with {', '.join(extras)}" if extras else ""
            found.append(Evidence("camera", "weak", f"The camera fields name {name}{more}."))
        if camera["thumbnail_consistent"] is False:
            found.append(Evidence("edited", "strong", "The embedded preview shows a different picture."))
        elif camera["thumbnail_consistent"]:
            found.append(Evidence("camera", "weak", "The embedded preview shows the same picture."))
    for editor in dict.fromkeys(((camera or {}).get("software"), (p.iptc_xmp or {}).get("creator_tool"))):
        if is_editor(editor):
            found.append(Evidence("edited", "weak", f"It was saved by an editing program ({editor})."))
    order = ("proof", "strong", "weak")
    return tuple(sorted(found, key=lambda item: order.index(item.strength)))


def join(pixel_verdict: str, p_fake: float, provenance: Provenance) -> Joined:
    """Join the verdict of the pixels with what the file declares, by the table above.

    Args:
        pixel_verdict: "real", "fake" or "unsure".
        p_fake: P(fake) of the pixels, 0..1; only quoted, never changed.
        provenance: What `read_provenance` answered.

    Returns:
        The verdict to show, a headline, who decided, and why, contradictions first.

    Raises:
        ValueError: `pixel_verdict` is none of the three words.
    """
    if pixel_verdict not in _PIXEL_WORDS:
        raise ValueError(f"pixel_verdict must be real, fake or unsure, not {pixel_verdict!r}")
    declared = _declared(provenance)
    pixels = f"{_PIXEL_WORDS[pixel_verdict]} (P(fake) {100 * p_fake:.0f} %)"
    verdict, headline, by = pixel_verdict, f"{_HEADLINES[pixel_verdict]} (pixels)", "pixels"
    against: list[str] = []
    if "ai" in declared and "camera" in declared:
        headline += "; the file contradicts itself"
        against.append("The file declares both a generator and a trusted camera; neither is believed.")
    elif "ai" in declared:
        verdict, headline, by = "fake", "AI-generated (declared)", "declared_ai"
        if pixel_verdict == "real":
            against.append(f"{pixels}; the declaration decides.")
        if (provenance.camera or {}).get("make"):
            against.append("It also names a camera: one of the two was added, or a photo was the starting point.")
    elif "part_ai" in declared:
        headline = "Contains AI-made parts (declared)"
        if pixel_verdict == "real":
            verdict, by = "unsure", "declared_ai"
            against.append(f"{pixels}, yet parts of it are declared to be AI-made.")
    elif "camera" in declared:
        verdict, headline, by = "real", "Captured by camera (declared)", "declared_camera"
        if pixel_verdict == "fake":
            against.append(f"{pixels}; the signed declaration decides. A camera may also have photographed a screen.")
        if provenance.watermark:
            against.append("Yet the pixels hold the watermark of an image generator.")
    elif provenance.c2pa and provenance.c2pa["state"] == "tampered":
        against.append("The file's credentials do not fit it, so what they say is not believed.")
    elif pixel_verdict == "real" and provenance.watermark:
        against.append(f"{pixels}, yet they hold the watermark of an image generator.")
    elif pixel_verdict == "fake" and (provenance.camera or {}).get("make"):
        against.append(f"{pixels}, yet the file names a camera; such fields are easily written.")
    said = against + [item.sentence for item in provenance.evidence]
    if not any(pixels in sentence for sentence in against):
        said.append(f"{pixels}.")
    return Joined(verdict, headline, by, (*dict.fromkeys(said), CAVEAT))
