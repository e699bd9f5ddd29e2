"""Reports on disk: whole or not at all, within their room, and without anything personal of the file."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import ROOT, photo_like
from feedback_material import stored
from PIL import Image, ImageCms

from fakedet.images import Limits
from fakedet.provenance import read_provenance
from fakedet.sandbox.decoders import Decoders
from fakedet.web.feedback import rate
from fakedet.web.feedback.pictures import pixels_alone
from fakedet.web.feedback.place import PlaceError, find_place
from fakedet.web.feedback.rate import ReportRate
from fakedet.web.feedback.store import ReportStore, StoreFull

PERSONAL = b"Ada Lovelace, 12 St James's Square"
XMP = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-'
    b'ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="' + PERSONAL + b'"/></rdf:RDF>'
    b'</x:xmpmeta><?xpacket end="w"?>'
)  # fmt: skip
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + (5 + len(PERSONAL)).to_bytes(4, "big") + b"\x1c\x02\x50" + len(
    PERSONAL).to_bytes(2, "big") + PERSONAL  # fmt: skip


def personal_photo() -> bytes:
    """A JPEG with a GPS position, a name in EXIF, XMP, IPTC and comment, a profile, and a film behind the picture."""
    exif = Image.Exif()
    exif[0x013B] = PERSONAL.decode()
    exif[0x0112] = 6  # lies on its side
    exif.get_ifd(0x8769)[0x927C] = PERSONAL  # maker note
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 26.0), 3: "W", 4: (0.0, 8.0, 1.0)})
    buffer = io.BytesIO()
    photo_like(1600, 1200).save(
        buffer, "JPEG", quality=90, exif=exif, xmp=XMP, comment=PERSONAL,
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )  # fmt: skip
    data = buffer.getvalue()
    segment = b"\xff\xed" + (2 + len(IPTC)).to_bytes(2, "big") + IPTC
    return data[:2] + segment + data[2:] + b"ftypmp42" + PERSONAL


def segments(jpeg: bytes) -> list[int]:
    """The markers before the picture's data."""
    markers, at = [], 2
    while jpeg[at + 1] != 0xDA:
        markers.append(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return markers


def test_nothing_personal_of_the_file_is_left():
    data = personal_photo()
    before = read_provenance(data).to_dict()
    assert before["camera"]["gps_present"] and data.count(PERSONAL) >= 5  # the readers below would see it
    decoders = Decoders(1, Limits())
    kept = pixels_alone(decoders.load(data).image)
    decoders.close()
    assert PERSONAL not in kept and b"ftyp" not in kept and len(kept) < 2**20
    with Image.open(io.BytesIO(kept)) as image:
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert image.size == (512, 683)  # upright, without the tag that says so
    assert not set(segments(kept)) & {*range(0xE1, 0xF0), 0xFE}  # no application segment but JFIF's, no comment
    assert kept.endswith(b"\xff\xd9")
    after = read_provenance(kept).to_dict()
    assert not after["evidence"] and not after["camera"]


@pytest.mark.parametrize("size", [(20, 15), (5000, 60), (60, 5000)])
def test_a_picture_of_any_shape_is_kept_within_bounds(size):
    with Image.open(io.BytesIO(pixels_alone(photo_like(*size)))) as image:
        assert max(image.size) == min(4096, max(size))


def test_reports_of_several_starts_lie_side_by_side(tmp_path):
    for start in range(2):
        store = ReportStore(tmp_path, 10**6)
        for number in range(3):
            store.add({"id": f"{start}{number}"}, b"\xff\xd8picture" if number else None)
    reports = stored(tmp_path)
    assert sorted(report["id"] for report in reports) == ["00", "01", "02", "10", "11", "12"]
    pictures = [report["folder"] / report["picture"] for report in reports if report["picture"]]
    assert len(pictures) == 4 and all(path.read_bytes() == b"\xff\xd8picture" for path in pictures)


def test_the_room_counts_what_was_there_before(tmp_path):
    ReportStore(tmp_path, 10**6).add({"id": "a"}, bytes(5000))
    store = ReportStore(tmp_path, 6000)
    store.add({"id": "b"})
    with pytest.raises(StoreFull):
        store.add({"id": "c"}, bytes(5000))
    assert {report["id"] for report in stored(tmp_path)} == {"a", "b"}
    assert len(list(tmp_path.rglob("*.jpg"))) == 1


def test_a_full_disk_refuses_reports_and_spoils_none(tmp_path):
    # the system ends each file at 6 kB: first pictures do not fit, then lines
    code = f"""
        import json, resource
        from pathlib import Path
        from fakedet.web.feedback.store import ReportStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        store, kept = ReportStore(Path({str(tmp_path)!r}), 10**9), []
        for number in range(100):
            try:
                picture = bytes(7000) if number % 3 == 0 else bytes(50)
                store.add({{"id": str(number), "how": "x" * (50 + number)}}, picture)
                kept.append(str(number))
            except OSError:
                pass
        print(json.dumps(kept))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True)
    kept = json.loads(done.stdout)
    reports = stored(tmp_path)
    assert [report["id"] for report in reports] == kept and 10 < len(kept) < 60
    assert {path.stem for path in tmp_path.rglob("pictures/*")} == set(kept)  # nothing of those that were refused


def test_a_client_and_all_together_are_limited_for_an_hour(monkeypatch):
    limit = ReportRate(per_client=2, total=3)
    assert [limit.admit(client) for client in ("a", "a", "a", "b", "c")] == [True, True, False, True, False]
    monkeypatch.setattr(rate, "WINDOW_SECONDS", 0.01)
    time.sleep(0.02)
    assert limit.admit("a")


def test_a_name_is_a_folder_or_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))
    assert find_place(str(tmp_path / "new")).repo is None
    assert find_place("./lab/reports").repo is None
    assert find_place("lab/reports").repo is None  # it exists now
    assert find_place("lab/others").repo == "lab/others"
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceError, match="cannot be kept in"):
        find_place(str(tmp_path / "file" / "reports"))
