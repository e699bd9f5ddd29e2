"""Marker text where no generator writes it: thirteen bytes must not move the verdict or the panel."""

from __future__ import annotations

import html
import io
import json
import struct

import pytest
from conftest import photo_like
from PIL import Image, ImageCms
from provenance_material import A1111, GRAPH, camera_exif, chunk

from fakedet.provenance import read_provenance
from fakedet.web.provenance_panel import to_html

MARK = b"tEXtprompt\0{}"  # thirteen bytes
RECORDS = (
    MARK,
    chunk(b"tEXt", b"prompt\0" + json.dumps(GRAPH).encode()),
    b"tEXtparameters\0" + A1111.encode(),
    b"trainedAlgorithmicMedia c2pa jumb Midjourney",
)


def jpeg(**options) -> bytes:
    out = io.BytesIO()
    photo_like(640, 480).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    photo_like(640, 480).save(out, "PNG", compress_level=1)
    return out.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def after(data: bytes, *parts: bytes) -> bytes:
    """The JPEG with segments behind its first two bytes."""
    return data[:2] + b"".join(parts) + data[2:]


def in_comment(record: bytes) -> bytes:
    return after(jpeg(), segment(0xFE, record))


def in_maker_note(record: bytes) -> bytes:
    exif = camera_exif()
    exif.get_ifd(0x8769)[0x927C] = b"Maker\0" + record
    return jpeg(exif=exif.tobytes())


def in_profile(record: bytes) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + record
    return jpeg(icc_profile=struct.pack(">I", len(profile)) + profile[4:])


def in_second_picture(record: bytes) -> bytes:
    """An MPO whose second picture alone carries the record, in a comment."""
    out, small = io.BytesIO(), photo_like(320, 240, seed=3)
    small.encoderinfo = {"comment": record[:60_000]}
    photo_like(640, 480).save(out, "MPO", quality=90, save_all=True, append_images=[small])
    return out.getvalue()


SPOOFS = {
    "behind the JPEG": (jpeg(), lambda record: jpeg() + record),
    "in a JPEG comment": (in_comment(b"holiday"), in_comment),
    "in an ICC profile": (in_profile(b""), in_profile),
    "in a maker note": (in_maker_note(bytes(40)), in_maker_note),
    "behind IEND": (png(), lambda record: png() + record),
    "in the second picture of an MPO": (in_second_picture(b"holiday"), in_second_picture),
    "in an unknown JPEG segment": (jpeg(), lambda record: after(jpeg(), segment(0xE9, record))),
}


def panel(data: bytes) -> dict:
    """What the panel says, without the time that reading took and the maker note's own place."""
    result = read_provenance(data)
    assert MARK.decode("latin-1") not in html.unescape(to_html(result))
    return result.to_dict() | {"ms": 0}


CASES = [(place, number) for place in SPOOFS for number in range(len(RECORDS))]
# some tools do write their settings into a JPEG comment: there a complete record counts
CASES.remove(("in a JPEG comment", 2))


@pytest.mark.parametrize(("place", "number"), CASES)
def test_a_record_where_no_generator_writes_it_moves_nothing(place, number):
    plain, spoof = SPOOFS[place]
    data = spoof(RECORDS[number])
    assert RECORDS[number][:10] in data
    assert panel(data) == panel(plain)


@pytest.mark.parametrize("place", SPOOFS)
def test_the_verdict_does_not_move_either(place, detector):
    plain, spoof = SPOOFS[place]
    first, second = (detector.predict(data) for data in (plain, spoof(MARK)))
    assert (second.verdict, second.decided_by, second.headline) == (first.verdict, "pixels", first.headline)
    assert second.p_fake == first.p_fake
    assert second.provenance["generator"] is None and second.notes == first.notes


def test_the_first_picture_of_the_mpo_is_the_one_that_is_read():
    with Image.open(io.BytesIO(in_second_picture(MARK))) as image:
        assert (image.format, image.n_frames, "comment" in image.info) == ("MPO", 2, False)
        image.seek(1)
        assert image.size == (320, 240)
