"""The provenance panel of the page, as HTML in which every text of the file is shown as text."""

from __future__ import annotations

from typing import Any

from fakedet.provenance.record import Joined, Provenance
from fakedet.provenance.rules import CAVEAT

# What means something to HTML or Markdown, each as a numeric reference: in one pass, so that none is escaped twice.
_ENTITIES = {ord(c): f"&#{ord(c)};" for c in "&<>\"'\\`*_{}[]()#+-.!|~$:@"}
_TITLES = {
    "c2pa": "Content Credentials (C2PA)", "generator": "Generator record", "watermark": "Invisible watermark",
    "iptc_xmp": "IPTC and XMP", "camera": "Camera fields", "jpeg": "JPEG tables",
}  # fmt: skip
_LABELS = {
    "state_text": "State", "iso": "ISO", "f_number": "f-number", "gps_present": "GPS",
    "thumbnail_consistent": "Preview fits the picture", "container_field": "Field", "raw_excerpt": "As stored",
    "tables_family": "Family",
}  # fmt: skip
_SKIP = ("state", "source_from")


def escape(text: Any) -> str:
    """Escape a text for HTML, and for Markdown too, in case the panel is put into a Markdown component."""
    return str(text).translate(_ENTITIES)


def to_html(provenance: Provenance, joined: Joined | None = None) -> str:
    """Render what a file says about itself.

    Args:
        provenance: What `read_provenance` answered.
        joined: What `join` made of it; adds the headline and its sentences.

    Returns:
        A `<section>` without script, style or link.
    """
    out = ['<section class="fd-provenance">']
    if joined:
        out.append(f"<h3>{escape(joined.headline)}</h3>")
    sentences = joined.sentences if joined else [item.sentence for item in provenance.evidence]
    if not sentences:
        sentences = ["The file says nothing about its origin."]
    out.append("<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>")
    for key, title in _TITLES.items():
        part = getattr(provenance, key)
        if part:
            out.append(f"<details><summary>{escape(title)}</summary>{_rows(part)}</details>")
    if provenance.notes:
        out.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in provenance.notes) + "</ul>")
    if not joined:
        out.append(f"<p>{escape(CAVEAT)}</p>")
    return "".join(out) + "</section>"


def _rows(part: dict[str, Any]) -> str:
    rows = []
    for key, value in part.items():
        if key in _SKIP or value is None or value == []:
            continue
        label = _LABELS.get(key, key.replace("_", " ").capitalize())
        if key == "gps_present":
            value = "present" if value else "absent"
        rows.append(f"<dt>{escape(label)}</dt><dd>{_value(value)}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return _rows(value)
    if isinstance(value, list):
        return "<ul>" + "".join(f"<li>{_value(item)}</li>" for item in value) + "</ul>"
    return f'<span style="white-space: pre-wrap">{escape(value)}</span>'
