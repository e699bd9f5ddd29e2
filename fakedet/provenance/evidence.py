"""Evidence: every part of a `Provenance` as one sentence with a direction and a strength."""

from __future__ import annotations

from collections.abc import Iterator

from .c2pa import AI, CAPTURE, PART_AI, VALID
from .camera import is_editor
from .declarations import Declaration, Kind, Source, declarations
from .record import Evidence, Provenance

_STRENGTHS = ("proof", "strong", "weak")
_DIRECTIONS = {Kind.AI: "ai", Kind.PART_AI: "edited", Kind.CAMERA: "camera"}
_SIGNED = {
    Kind.AI: "this image is AI-generated",
    Kind.PART_AI: "it contains AI-made parts",
    Kind.CAMERA: "a camera captured this image",
}
_METADATA = {
    Kind.AI: "The IPTC/XMP metadata say that this image is AI-generated (trainedAlgorithmicMedia).",
    Kind.PART_AI: "The IPTC/XMP metadata say that this image contains AI-made parts.",
}


def weigh(provenance: Provenance) -> tuple[Evidence, ...]:
    """Return the evidence of a `Provenance`, strongest first; its own `evidence` is not read."""
    declared = declarations(provenance)
    evidence = [
        *(_declared(declared[kind], provenance) for kind in Kind if kind in declared),
        *_second_generator(provenance, declared),
        *_credentials(provenance, declared),
        *_watermark(provenance),
        *_camera(provenance),
        *_editors(provenance),
    ]
    return tuple(sorted(evidence, key=lambda item: _STRENGTHS.index(item.strength)))


def _declared(declaration: Declaration, provenance: Provenance) -> Evidence:
    if declaration.source is Source.CREDENTIALS:
        signer = provenance.c2pa["signer"] or "an unnamed signer"
        unknown = "signer not on the trust list" if provenance.c2pa.get("trust_list") else "signer not checked"
        trust = "trusted" if declaration.trusted else unknown
        sentence = f"Valid Content Credentials signed by {signer} ({trust}) say that {_SIGNED[declaration.kind]}."
        return Evidence(_DIRECTIONS[declaration.kind], "proof", sentence)
    if declaration.source is Source.GENERATOR:
        tool, place = provenance.generator["tool"], provenance.generator["container_field"]
        return Evidence("ai", "strong", f"The file carries a record of {tool} in its field {place}.")
    return Evidence(_DIRECTIONS[declaration.kind], "strong", _METADATA[declaration.kind])


def _second_generator(provenance: Provenance, declared: dict[Kind, Declaration]) -> Iterator[Evidence]:
    """Yield the generator record where Content Credentials already declare the image AI-generated."""
    if provenance.generator and declared[Kind.AI].source is not Source.GENERATOR:
        yield Evidence("ai", "strong", f"It carries a record of {provenance.generator['tool']}.")


def _credentials(provenance: Provenance, declared: dict[Kind, Declaration]) -> Iterator[Evidence]:
    """Yield what Content Credentials say that declare nothing: broken ones, untrusted cameras, other sources."""
    c2pa = provenance.c2pa
    if not c2pa or any(declaration.source is Source.CREDENTIALS for declaration in declared.values()):
        return
    state, source_type = c2pa["state"], c2pa["digital_source_type"]
    if state not in VALID:
        if state == "tampered":
            yield Evidence("edited", "strong", c2pa["state_text"])
        else:
            yield Evidence("neutral", "weak", c2pa["state_text"])
        if source_type in AI + PART_AI:
            content = "contains AI-made parts" if source_type in PART_AI else "is AI-generated"
            yield Evidence("ai", "weak", f"Those credentials say, unproven, that this image {content}.")
        return
    strength, sentence = "strong" if state == "valid_trusted" else "weak", c2pa["state_text"]
    if source_type in CAPTURE:
        captured = "the image it was edited from" if c2pa["source_from"] == "parent" else "the image"
        yield Evidence("camera", strength, f"{sentence} They say that a camera captured {captured}.")
    else:
        yield Evidence("neutral", strength, sentence)


def _watermark(provenance: Provenance) -> Iterator[Evidence]:
    if mark := provenance.watermark:
        bits = f"{mark['bits'] - mark['distance']} of {mark['bits']} bits"
        yield Evidence("ai", "strong", f"The pixels hold the invisible watermark of {mark['name']} ({bits}).")


def _camera(provenance: Provenance) -> Iterator[Evidence]:
    camera = provenance.camera
    if not camera:
        return
    if name := " ".join(filter(None, (camera["make"], camera["model"]))):
        labels = {"exposure": "exposure", "lens": "lens", "maker_note": "maker notes", "gps_present": "a place"}
        present = [label for key, label in labels.items() if camera[key]]
        details = f", with {', '.join(present)}" if present else ""
        yield Evidence("camera", "weak", f"The camera fields name {name}{details}.")
    if camera["thumbnail_consistent"] is False:
        yield Evidence("edited", "strong", "The embedded preview shows a different picture.")
    elif camera["thumbnail_consistent"]:
        yield Evidence("camera", "weak", "The embedded preview shows the same picture.")


def _editors(provenance: Provenance) -> Iterator[Evidence]:
    camera, metadata = provenance.camera or {}, provenance.iptc_xmp or {}
    for editor in dict.fromkeys((camera.get("software"), metadata.get("creator_tool"))):
        if is_editor(editor):
            yield Evidence("edited", "weak", f"An editing program saved it ({editor}).")
