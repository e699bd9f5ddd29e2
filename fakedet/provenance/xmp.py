"""XMP packets, read by expat as a stream: no document type, no entities, limited depth and size.

Source: ISO 16684-1 (XMP), IPTC Photo Metadata 2023.1 (Digital Source Type).
"""

from __future__ import annotations

from xml.parsers import expat

MAX_DEPTH, MAX_ELEMENTS, MAX_VALUE_CHARS = 64, 20_000, 1 << 16
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
WANTED = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType": "digital_source_type",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourcefileType": "digital_source_type",  # frequent misspelling
    "http://ns.adobe.com/xap/1.0/ CreatorTool": "creator_tool",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
    "http://purl.org/dc/elements/1.1/ description": "description",
    "http://ns.adobe.com/exif/1.0/ UserComment": "user_comment",
    "http://ns.adobe.com/tiff/1.0/ Software": "software",
    "http://purl.org/dc/terms/ provenance": "remote_manifest",
}


class _StopError(Exception):
    """Raised inside the parser's callbacks to stop it; carries the note."""


def read_xmp(packet: bytes) -> tuple[dict[str, str], str | None]:
    """Read the wanted properties of an XMP packet.

    Args:
        packet: The packet; UTF-8, or UTF-16 with a byte order mark.

    Returns:
        The properties (names as in the values of `WANTED`; the first value of a list), and a sentence where the packet
        could not be read to its end. Properties before a fault are kept, except in a packet that declares a document
        type: XMP does not allow one, so nothing of it is kept.
    """
    packet = packet.strip(b"\0 \t\r\n")
    if not packet:
        return {}, None
    try:
        return _parse(packet)
    except UnicodeError:
        return {}, "The XMP packet is broken and was read only in part."


def _parse(packet: bytes) -> tuple[dict[str, str], str | None]:
    properties: dict[str, str] = {}
    stack: list[str | None] = []  # for every open element: the property that it holds, or None
    text: list[str] = []
    elements = 0

    def keep(name: str, value: str) -> None:
        if value.strip():
            properties.setdefault(name, value.strip()[:MAX_VALUE_CHARS])

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if len(stack) >= MAX_DEPTH or elements > MAX_ELEMENTS:
            raise _StopError("The XMP packet is nested too deeply or too long; the rest was not read.")
        name = WANTED.get(tag)
        for key, value in attributes.items():
            if key in WANTED:
                keep(WANTED[key], value)
            elif name and key == f"{_RDF} resource":
                keep(name, value)
        # Inside rdf:Alt, rdf:Seq and rdf:li the text still belongs to the property around them.
        inherited = stack[-1] if stack and tag.startswith(_RDF) else None
        stack.append(name or inherited)
        text.clear()

    def end(_tag: str) -> None:
        name = stack.pop()
        if name:
            keep(name, "".join(text))
        text.clear()

    def characters(value: str) -> None:
        if stack and stack[-1] and len(text) < 4096:
            text.append(value)

    def doctype(*_: object) -> None:
        properties.clear()
        raise _StopError("The XMP packet declares a document type, which XMP does not allow; it was not read.")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text, parser.buffer_size = True, 1 << 16
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, doctype
    try:
        parser.Parse(packet, True)
    except _StopError as reason:
        return properties, str(reason)
    except expat.ExpatError:
        repaired = packet.decode("utf-8", "replace").encode()
        if repaired != packet:  # Latin-1 letters in a packet that says UTF-8
            return _parse(repaired)
        return properties, "The XMP packet is broken and was read only in part."
    return properties, None
