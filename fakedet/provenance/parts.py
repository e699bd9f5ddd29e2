"""The raw metadata blocks that the container readers fill, and their limits."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_TEXT_BYTES = 1 << 20  # of one text, XMP or EXIF block
MAX_TOTAL_TEXT_BYTES = 4 << 20  # all texts of a file together
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
MAX_CHUNKS = 20_000  # chunks, segments or boxes read in one file


@dataclass
class Parts:
    """The raw metadata blocks of a file.

    Attributes:
        kind: "jpeg", "png", "webp", "tiff", "heif", "avif", "gif" or "" (not recognised).
        size: Width and height in pixels from the header, or None.
        lossless: The container stores pixels without loss.
        full_chroma: Chroma has the resolution of luma (lossless, or JPEG 4:4:4).
        texts: Named texts: PNG text chunks, and "comment" for a JPEG comment.
        exif: A TIFF structure, without the "Exif" prefix.
        iptc: IPTC IIM fields of record 2, by number.
        manifest: A C2PA manifest store is embedded.
        tables: JPEG quantisation tables by number, 64 values each in zigzag order.
        photoshop: JPEG carries Adobe Photoshop's own segments.
        notes: Sentences on what was malformed or left out.
    """

    kind: str = ""
    size: tuple[int, int] | None = None
    lossless: bool = False
    full_chroma: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    exif: bytes = b""
    xmp: bytes = b""
    iptc: dict[int, str] = field(default_factory=dict)
    manifest: bool = False
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    photoshop: bool = False
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Add a note once."""
        if sentence not in self.notes and len(self.notes) < 20:
            self.notes.append(sentence)


def decode(raw: bytes, first: str = "utf-8", second: str | None = "latin-1") -> str:
    """Decode bytes in the first encoding that fits; bytes that fit neither are replaced."""
    try:
        return raw.decode(first)
    except UnicodeDecodeError:
        return raw.decode(second or first, "replace")
