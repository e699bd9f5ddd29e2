"""What a file declares about its origin, as kinds and sources. Decisions use these; sentences are made afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from .c2pa import AI, CAPTURE, PART_AI, VALID
from .record import Provenance

_PART_AI_CREDIT = "Edited with Google AI"  # the value that Google Photos writes into the Credit field


class Kind(Enum):
    """What is declared."""

    AI = auto()  # the whole image is AI-generated
    PART_AI = auto()  # parts of the image are AI-generated
    CAMERA = auto()  # a camera captured the image


class Source(Enum):
    """Where it is declared."""

    CREDENTIALS = auto()  # a valid C2PA manifest
    GENERATOR = auto()  # the record of an image generator
    METADATA = auto()  # IPTC or XMP fields


@dataclass(frozen=True)
class Declaration:
    """One declaration of origin.

    Attributes:
        kind: What is declared.
        source: Where it is declared.
        trusted: The signer's certificate leads to the trust list; False for a source without signature.
    """

    kind: Kind
    source: Source
    trusted: bool = False


def declarations(provenance: Provenance) -> dict[Kind, Declaration]:
    """Return the declarations of a file, at most one of each kind.

    Content Credentials take precedence over a generator record, and a generator record over IPTC/XMP. A camera
    declaration counts only with a trusted signer and only from the file's own manifest, not from an ingredient's.
    """
    declared: dict[Kind, Declaration] = {}
    c2pa, metadata = provenance.c2pa, provenance.iptc_xmp or {}
    if c2pa and c2pa["state"] in VALID:
        source_type, trusted = c2pa["digital_source_type"], c2pa["state"] == "valid_trusted"
        own_capture = source_type in CAPTURE and c2pa["source_from"] == "manifest"
        kind = _kind(source_type) or (Kind.CAMERA if own_capture and trusted else None)
        if kind:
            declared[kind] = Declaration(kind, Source.CREDENTIALS, trusted)
    if provenance.generator:
        declared.setdefault(Kind.AI, Declaration(Kind.AI, Source.GENERATOR))
    kind = _kind(metadata.get("digital_source_type"))
    if kind is None and metadata.get("credit") == _PART_AI_CREDIT:
        kind = Kind.PART_AI
    if kind:
        declared.setdefault(kind, Declaration(kind, Source.METADATA))
    return declared


def _kind(source_type: str | None) -> Kind | None:
    """Return the kind of AI declaration that a Digital Source Type makes, if any."""
    return Kind.AI if source_type in AI else Kind.PART_AI if source_type in PART_AI else None
