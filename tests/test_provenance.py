"""Metadata in real containers: IPTC, XMP, HEIC, camera fields, previews, JPEG tables, and what is not believed."""

from __future__ import annotations

import html
import io
import json
import struct

import pillow_heif
import pytest
from PIL import Image
from provenance_material import (
    A1111,
    TYPES,
    camera_exif,
    chunk,
    jpeg_with,
    picture,
    save,
    thumbnail_exif,
    with_chunk,
    xmp,
)

from fakedet.provenance import read_provenance
from fakedet.web.provenance_panel import to_html


def test_iptc_credit_is_read():
    # Google's mark also stands in IPTC IIM, the older form.
    iim = b"\x1c\x02\x6e" + struct.pack(">H", 19) + b"Made with Google AI"
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iim)) + iim + b"\0" * (len(iim) % 2)
    result = read_provenance(jpeg_with((0xED, block)))
    assert result.iptc_xmp["credit"] == "Made with Google AI" and result.generator["container_field"] == "IPTC Credit"


@pytest.mark.parametrize("form", ["attribute", "element", "resource"])
@pytest.mark.parametrize("fmt", ["JPEG", "WEBP", "AVIF"])
def test_xmp_digital_source_type_is_read(fmt, form):
    # XMP may write one property in three ways.
    url, name = TYPES + "trainedAlgorithmicMedia", "Iptc4xmpExt:DigitalSourceType"
    packet = {
        "attribute": xmp(f'{name}="{url}"'), "element": xmp(body=f"<{name}>{url}</{name}>"),
        "resource": xmp(body=f'<{name} rdf:resource="{url}"/>'),
    }[form]  # fmt: skip
    assert read_provenance(save(fmt, xmp=packet)).iptc_xmp["digital_source_type"] == "trainedAlgorithmicMedia"


def test_heic_metadata_are_read():
    # Phones send HEIC.
    out = io.BytesIO()
    pillow_heif.from_pillow(picture(128, 128)).save(out, exif=camera_exif().tobytes())
    assert read_provenance(out.getvalue()).camera["model"] == "Model 5"


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_marker_text_behind_the_image_is_not_believed(fmt):
    # The raw-byte spoof: anyone can append text to a file.
    spoof = (
        chunk(b"tEXt", b"parameters\0" + A1111.encode()) + b"caBXjumbc2pa" + xmp(f'xmp:x="{TYPES}"') + A1111.encode()
    )
    result = read_provenance(save(fmt) + spoof)
    assert result.generator is None and result.c2pa is None and result.iptc_xmp is None


def test_marker_text_inside_another_chunk_is_not_believed():
    # The bytes are there, but not in a field that a generator writes.
    result = read_provenance(with_chunk(b"prIV", chunk(b"tEXt", b"parameters\0" + A1111.encode())))
    assert result.generator is None


def test_camera_fields_are_read_and_coordinates_never_shown():
    # A place is private: only that there is one is said.
    result = read_provenance(save("JPEG", exif=camera_exif()))
    camera = result.camera
    assert (camera["make"], camera["model"], camera["lens"]) == ("Maker", "Model 5", "50mm F1.8")
    assert camera["exposure"] == {"time": "1/250 s", "f_number": 2.8, "iso": 200.0, "focal_length_mm": 50.0}
    assert camera["gps_present"] is True and camera["maker_note"] is True
    text = json.dumps(result.to_dict() | {"ms": 0}) + html.unescape(to_html(result))
    assert not any(part in text for part in ("48.", "51.", "29.6", "17.0", "40.2"))


def test_editing_software_is_evidence_of_editing():
    # Camera fields and an editor's name may stand side by side.
    directions = {item.direction for item in read_provenance(save("JPEG", exif=camera_exif())).evidence}
    assert {"camera", "edited"} <= directions


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_preview_is_compared_with_the_picture(seed, same, given):
    # A preview that shows another picture tells of an edit, decoded by the caller or not.
    image = picture(640, 480)
    data = save("JPEG", image, exif=thumbnail_exif(picture(640, 480, seed).resize((160, 120))))
    result = read_provenance(data, image=image if given else None)
    assert result.camera["thumbnail_consistent"] is same


def test_preview_of_a_turned_photo_fits():
    # The decoder hands out the picture upright, the preview lies as the sensor saw it.
    image = picture(640, 480)
    data = save("JPEG", image, exif=thumbnail_exif(image.resize((160, 120))))
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert read_provenance(data, image=upright).camera["thumbnail_consistent"] is True


@pytest.mark.parametrize("quality", [10, 49, 50, 75, 95])
def test_jpeg_quality_is_read_from_its_tables(quality):
    # Standard tables name their quality exactly.
    result = read_provenance(save("JPEG", quality=quality)).jpeg
    assert result["quality"] == quality and result["tables_family"].startswith("standard")


def test_own_tables_are_told_from_standard_ones():
    # Cameras and editors bring their own.
    tables = [[3 + i // 4 for i in range(64)], [5 + i // 3 for i in range(64)]]
    assert read_provenance(save("JPEG", qtables=tables)).jpeg["tables_family"].startswith("its own")


def test_a_file_that_says_nothing_has_no_evidence():
    # Absence is reported as absence.
    result = read_provenance(save("PNG"))
    assert result.evidence == () and result.notes == () and result.generator is result.c2pa is result.camera is None
