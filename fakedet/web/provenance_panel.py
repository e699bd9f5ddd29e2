"""The provenance panel: what a file's metadata and signatures say, as HTML in which every text is shown as text."""

from __future__ import annotations

from typing import Any

from fakedet.provenance.record import Joined, Provenance
from fakedet.provenance.rules import CAVEAT

from .render import render

_TITLES = {
    "c2pa": "Content Credentials (C2PA)",
    "generator": "Generator record",
    "watermark": "Invisible watermark",
    "iptc_xmp": "IPTC and XMP",
    "camera": "Camera fields",
    "jpeg": "JPEG tables",
}
_LABELS = {
    "state_text": "State",
    "iso": "ISO",
    "f_number": "f-number",
    "gps_present": "GPS",
    "thumbnail_consistent": "Preview fits the picture",
    "container_field": "Field",
    "raw_excerpt": "As stored",
    "tables_family": "Family",
}
_HIDDEN = ("state", "source_from")


def to_html(provenance: Provenance, joined: Joined | None = None) -> str:
    """Renders what a file says about itself.

    Args:
        provenance: From `read_provenance`.
        joined: From `join`; adds the headline and its sentences.

    Returns:
        A `<section>` without script, style or link.
    """
    sentences = joined.sentences if joined else [item.sentence for item in provenance.evidence]
    parts = [(title, getattr(provenance, key)) for key, title in _TITLES.items()]
    return render(
        "provenance.html",
        headline=joined.headline if joined else "",
        sentences=sentences or ["The file says nothing about its origin."],
        parts=[(title, _fields(part)) for title, part in parts if part],
        notes=provenance.notes,
        caveat="" if joined else CAVEAT,
    )


def _fields(part: dict[str, Any]) -> dict[str, Any]:
    """The fields that are shown, by label; values are texts, lists of texts, or fields again."""
    fields = {}
    for key, value in part.items():
        if key in _HIDDEN or value is None or value == []:
            continue
        if key == "gps_present":
            value = "present" if value else "absent"
        fields[_LABELS.get(key, key.replace("_", " ").capitalize())] = _value(value)
    return fields


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return _fields(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    return str(value)
