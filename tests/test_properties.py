"""Hypothesis builds containers that nobody would write: every reader answers in its own types and in bounds."""

from __future__ import annotations

import json
import struct

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from seeds import chunk, seeds

from fakedet.images import ImageError, Limits, open_image
from fakedet.images.errors import Refused
from fakedet.images.guards import inspect
from fakedet.images.tags import read_orientation
from fakedet.provenance import join, read_provenance
from fakedet.provenance.exif import read_exif
from fakedet.provenance.xmp import read_xmp
from fakedet.web.provenance_panel import to_html

# derandomized: a failure here is reproducible; tests/fuzz.py searches elsewhere each time
often = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SMALL = Limits(max_bytes=2**20, max_pixels=250_000, max_side=2000)
whole = seeds()
raw = st.binary(max_size=80)
word = st.one_of(st.integers(0, 2**16 - 1), st.sampled_from([0, 1, 8, 255, 256, 2**15, 2**16 - 1]))
long = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 8, 14, 2**16, 2**31, 2**32 - 1]))
tag = st.one_of(
    word, st.sampled_from([0x112, 0x10F, 0x131, 0x8769, 0x8825, 0x201, 0x202, 700, 0x9286, 0x927C, 322, 258])
)


@st.composite
def tiff(draw) -> bytes:
    """A TIFF structure: directories that may overlap, point anywhere and lie about their length."""
    order = draw(st.sampled_from("<>"))
    entries = draw(st.lists(st.tuples(tag, st.integers(0, 20), long, long), max_size=12))
    body = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    count = draw(st.one_of(st.just(len(entries)), word))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", draw(st.one_of(st.just(8), long)))
    return head + struct.pack(order + "H", count) + body + struct.pack(order + "I", draw(long)) + draw(raw)


def segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(body) + 2) + body


@st.composite
def jpeg(draw) -> bytes:
    """A JPEG with segments of any kind in front of, or behind, those of a real one."""
    kinds = st.sampled_from([0xE1, 0xE2, 0xEB, 0xED, 0xFE, 0xDB, 0xC0, 0xC2, 0xC4, 0xDD, 0xDA, 0xD9])
    start = st.sampled_from(
        [b"", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0", b"Photoshop 3.0\x008BIM\4\4\0\0"]
    )
    bodies = st.builds(bytes.__add__, start, st.one_of(raw, tiff()))
    added = b"".join(segment(*row) for row in draw(st.lists(st.tuples(kinds, bodies), max_size=5)))
    base = whole[draw(st.sampled_from(["baseline.jpg", "progressive.jpg", "cmyk.jpg", "two.mpo"]))]
    at = draw(st.sampled_from([2, 20, len(base) // 2, len(base)]))
    return base[:at] + added + base[at:]


@st.composite
def png(draw) -> bytes:
    """A PNG whose checksums are right and whose chunks are any."""
    names = st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL",
                             b"fdAT", b"iCCP", b"gAMA", b"caBX", b"IEND", b"prIV"])  # fmt: skip
    sizes = st.tuples(word, word, st.integers(0, 20), st.integers(0, 8), *[st.integers(0, 3)] * 3)
    header = st.builds(lambda v: struct.pack(">IIBBBBB", *v), sizes)
    added = b"".join(
        chunk(*row) for row in draw(st.lists(st.tuples(names, st.one_of(raw, header, tiff())), max_size=5))
    )
    base = whole[draw(st.sampled_from(["rgb.png", "palette.png", "deep.png", "animated.png", "interlaced.png"]))]
    at = draw(st.sampled_from([8, 33, 33, len(base) - 12, len(base)]))
    return base[:at] + added + base[at:]


@st.composite
def webp(draw) -> bytes:
    names = st.sampled_from([b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"XMP ", b"ICCP"])
    rows = draw(st.lists(st.tuples(names, st.one_of(raw, tiff())), max_size=5))
    added = b"".join(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in rows)
    base = whole[draw(st.sampled_from(["lossy.webp", "alpha.webp", "animated.webp"]))]
    at = draw(st.sampled_from([12, 30, len(base)]))
    data = base[:at] + added + base[at:]
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


@st.composite
def boxes(draw) -> bytes:
    """An AVIF or HEIC with boxes of any size at its end, or in the place of its own."""
    names = st.sampled_from([b"meta", b"iloc", b"uuid", b"mdat", b"free", b"jumb", b"Exif"])
    rows = draw(st.lists(st.tuples(long, names, st.one_of(raw, tiff())), max_size=4))
    added = b"".join(struct.pack(">I", size) + name + body for size, name, body in rows)
    base = whole[draw(st.sampled_from(["lossy.avif", "alpha.avif"] + ["rgb.heic"] * ("rgb.heic" in whole)))]
    return base[: draw(st.sampled_from([32, len(base)]))] + added


@often
@given(st.one_of(jpeg(), png(), webp(), boxes(), tiff(), st.binary(max_size=200)))
def test_any_container_is_read_or_refused_and_its_metadata_is_plain(data):
    try:
        image = open_image(data, SMALL).image
        assert image.mode == "RGB" and image.width * image.height <= SMALL.max_pixels and not image.info
    except ImageError as error:
        image = None
        assert str(error).endswith(".") and "\n" not in str(error) and len(str(error)) < 250
    result = read_provenance(data, image=image)
    joined = join("unsure", 0.5, result)
    assert len(json.dumps([result.to_dict(), joined.to_dict()], allow_nan=False)) < 40_000
    assert "<script" not in to_html(result, joined)


@often
@given(tiff())
def test_any_tag_directory_is_read_within_bounds(block):
    assert 1 <= read_orientation(block) <= 8
    assert all(isinstance(key, str) for key in read_exif(block))
    try:
        assert inspect(block, "TIFF").data == block
    except Refused as error:
        assert str(error)


@often
@given(st.text(max_size=300), st.booleans())
def test_any_text_may_stand_in_xmp(text, wrapped):
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r xmlns:d="http://purl.org/dc/elements/1.1/"><d:description>{text}'
    packet = packet + "</d:description></r></x:xmpmeta>" if wrapped else text
    fields, fault = read_xmp(packet.encode("utf-8", "surrogatepass"))
    assert all(isinstance(value, str) for value in fields.values()) and (fault is None or fault.endswith("."))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["class_type", "inputs", "nodes", "type", "widgets_values", "text", "seed", "steps", "prompt",
                        "sui_image_params", "app_version", "model_weights", "Software", "uc", "3"])  # fmt: skip
places = st.sampled_from(["parameters", "prompt", "workflow", "Comment", "invokeai_metadata", "sd-metadata"])


@often
@given(st.dictionaries(keys, values, max_size=5) | values, places, st.booleans())
def test_any_json_may_stand_where_a_generator_writes_its_own(value, key, nested):
    text = json.dumps({"1": value} if nested else value)
    base = whole["bits.png"]
    result = read_provenance(base[:33] + chunk(b"tEXt", key.encode() + b"\0" + text.encode()) + base[33:])
    assert len(json.dumps(result.to_dict(), allow_nan=False)) < 20_000
    assert all(note.endswith(".") for note in result.notes)


shapes = st.lists(st.integers(0, 9), min_size=0, max_size=4).map(tuple)
dtypes = st.sampled_from([np.uint8, np.int8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64, bool,
                          np.complex64])  # fmt: skip


@often
@given(dtypes.flatmap(lambda dtype: shapes.flatmap(lambda shape: arrays(dtype, shape))))
def test_any_array_is_a_picture_or_refused(array):
    try:
        assert open_image(array).image.mode == "RGB"
    except ImageError as error:
        assert error.code in ("unsupported_format", "empty_input", "corrupt_image")
