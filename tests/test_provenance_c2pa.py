"""Content Credentials: files signed by a test authority, tampered with, stripped, and kept from the network."""

from __future__ import annotations

import http.server
import io
import json
import threading

import pytest
from c2pa_material import MIMES, Authority, picture
from PIL import Image

from fakedet.provenance import c2pa as reader
from fakedet.provenance import join, read_provenance
from fakedet.provenance.trust import TRUST_VARIABLE


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(autouse=True)
def no_trust_list(monkeypatch, tmp_path):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("fmt", MIMES)
def test_signed_files_are_read_whole(authority, fmt):
    # Signer, tool, actions and source type are what a user wants to see.
    result = read_provenance(authority.sign(picture(fmt), fmt, "trainedAlgorithmicMedia")).c2pa
    assert result["state"] == "valid_untrusted" and result["digital_source_type"] == "trainedAlgorithmicMedia"
    assert result["signer"] == "Test Signer, Test Signer Org" and result["claim_generator"] == "Test Generator 7"
    assert result["actions"] == ["c2pa.created"] and result["source_from"] == "manifest"


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_signer_under_a_given_anchor_is_trusted(authority, way, monkeypatch, tmp_path):
    # Trust comes from the user's list alone.
    data = authority.sign(picture("JPEG"), "JPEG", "digitalCapture")
    if way == "environment":
        (tmp_path / "trust.pem").write_text(authority.root)
        monkeypatch.setenv(TRUST_VARIABLE, str(tmp_path / "trust.pem"))
    result = read_provenance(data, trust_anchors=authority.root if way == "argument" else None)
    assert result.c2pa["state"] == "valid_trusted"


def test_another_authority_is_not_trusted(authority):
    # Anyone can make a root certificate.
    data = Authority().sign(picture("JPEG"), "JPEG", "digitalCapture")
    assert read_provenance(data, trust_anchors=authority.root).c2pa["state"] == "valid_untrusted"


@pytest.mark.parametrize("fmt", MIMES)
def test_changed_pixels_are_found_out(authority, fmt):
    # One byte behind the signature's back.
    data = bytearray(authority.sign(picture(fmt), fmt, "digitalCapture"))
    data[-40] ^= 0x55
    result = read_provenance(bytes(data), trust_anchors=authority.root)
    assert result.c2pa["state"] == "tampered" and "changed after" in result.c2pa["state_text"]
    assert join("fake", 0.9, result).decided_by == "pixels"


def test_a_manifest_moved_to_another_picture_is_found_out(authority):
    # Credentials are worth nothing on a file they were not made for.
    signed = authority.sign(picture("PNG"), "PNG", "digitalCapture")
    at = signed.index(b"caBX") - 4
    size = 12 + int.from_bytes(signed[at : at + 4], "big")
    other = picture("PNG", seed=1)
    moved = other[:33] + signed[at : at + size] + other[33:]
    assert read_provenance(moved, trust_anchors=authority.root).c2pa["state"] == "tampered"


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_a_stripped_file_has_no_credentials(authority, fmt):
    # Saving again without metadata, as most services do.
    signed = authority.sign(picture(fmt), fmt, "trainedAlgorithmicMedia")
    out = io.BytesIO()
    Image.open(io.BytesIO(signed)).convert("RGB").save(out, fmt)
    assert read_provenance(out.getvalue()).c2pa is None


def test_a_manifest_appended_behind_the_image_is_not_believed(authority):
    # Neither our walk nor the library looks behind the end of the picture.
    signed = authority.sign(picture("PNG"), "PNG", "trainedAlgorithmicMedia")
    at = signed.index(b"caBX") - 4
    size = 12 + int.from_bytes(signed[at : at + 4], "big")
    assert read_provenance(picture("PNG") + signed[at : at + size]).c2pa is None


def test_an_expired_signer_is_not_called_tampering(authority):
    # The words must not accuse anyone: the file is as it was signed. (The library refuses to sign after the end.)
    failure = [{"code": "signingCredential.expired"}, {"code": "signingCredential.untrusted"}]
    result = reader.summarise(
        {"validation_state": "Invalid", "validation_results": {"activeManifest": {"failure": failure}}}
    )
    assert (
        result["state"] == "unreadable" and "expired" in result["state_text"] and "changed" not in result["state_text"]
    )


@pytest.mark.parametrize("cut", [200, 600, 2000])
def test_a_damaged_manifest_is_survived(authority, cut):
    # Damage inside the manifest store, where a native library parses it.
    data = bytearray(authority.sign(picture("JPEG"), "JPEG", "digitalCapture"))
    at = data.index(b"jumb") + cut
    data[at : at + 30] = b"\xff" * 30
    result = read_provenance(bytes(data), trust_anchors=authority.root)
    assert result.c2pa is None or result.c2pa["state"] in ("tampered", "unreadable")


def test_an_edited_generation_still_counts_as_generated(authority):
    # The edit's own manifest names no source type; the picture it began from does.
    base = authority.sign(picture("JPEG"), "JPEG", "trainedAlgorithmicMedia")
    result = read_provenance(authority.sign(picture("JPEG"), "JPEG", None, "c2pa.opened", parent=base)).c2pa
    assert (result["digital_source_type"], result["source_from"]) == ("trainedAlgorithmicMedia", "parent")
    assert result["ingredients"][0]["relationship"] == "parentOf"


def test_a_generated_part_makes_a_composite(authority):
    # A photo into which an AI-made picture was placed.
    base, part = (authority.sign(picture("JPEG"), "JPEG", k) for k in ("digitalCapture", "trainedAlgorithmicMedia"))
    result = read_provenance(authority.sign(picture("JPEG"), "JPEG", None, "c2pa.opened", base, part)).c2pa
    assert (result["digital_source_type"], result["source_from"]) == (
        "compositeWithTrainedAlgorithmicMedia", "component",
    )  # fmt: skip


def test_an_edited_capture_is_evidence_but_decides_nothing(authority):
    # The camera vouches for the picture it made, not for the edit.
    base = authority.sign(picture("JPEG"), "JPEG", "digitalCapture")
    data = authority.sign(picture("JPEG"), "JPEG", None, "c2pa.opened", parent=base)
    result = read_provenance(data, trust_anchors=authority.root)
    assert result.c2pa["source_from"] == "parent" and join("fake", 0.9, result).decided_by == "pixels"
    assert any(item.direction == "camera" and "edited from" in item.sentence for item in result.evidence)


def test_the_verdict_follows_valid_credentials(authority):
    # The two declarations that decide, through the whole chain.
    made = read_provenance(authority.sign(picture("PNG"), "PNG", "trainedAlgorithmicMedia"))
    taken = read_provenance(authority.sign(picture("PNG"), "PNG", "digitalCapture"), trust_anchors=authority.root)
    assert join("real", 0.02, made).headline == "AI-generated (declared)"
    assert join("unsure", 0.5, taken).headline == "Captured by camera (declared)"


def test_an_untrusted_camera_decides_nothing(authority):
    # A forger can sign "digitalCapture" with a certificate of his own.
    result = read_provenance(authority.sign(picture("PNG"), "PNG", "digitalCapture"))
    joined = join("fake", 0.97, result)
    assert (joined.verdict, joined.decided_by) == ("fake", "pixels")


def test_nothing_is_fetched_from_the_network(authority):
    # A file may name a manifest elsewhere: reading it must not tell its author that we looked.
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
    result = read_provenance(authority.sign(picture("JPEG"), "JPEG", "trainedAlgorithmicMedia", remote=url))
    # An embedded manifest beside the address, to go through the library as well.
    both = authority.sign(authority.sign(picture("JPEG"), "JPEG", remote=url), "JPEG", "digitalCapture")
    read_provenance(both)
    server.shutdown()
    assert asked == [] and result.c2pa is None
    assert any("nothing is fetched" in note for note in result.notes)


def test_without_the_library_a_note_says_what_to_install(authority, monkeypatch):
    # c2pa-python is optional.
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    result = read_provenance(authority.sign(picture("PNG"), "PNG", "trainedAlgorithmicMedia"))
    assert result.c2pa is None and any("pip install c2pa-python" in note for note in result.notes)


def test_a_bad_trust_list_is_said_and_trusts_no_one(authority, monkeypatch, tmp_path):
    # A wrong path in the environment must not go unnoticed, nor be shown.
    monkeypatch.setenv(TRUST_VARIABLE, str(tmp_path / "missing.pem"))
    result = read_provenance(authority.sign(picture("PNG"), "PNG", "digitalCapture"))
    assert result.c2pa["state"] == "valid_untrusted"
    assert any(TRUST_VARIABLE in note for note in result.notes)
    assert str(tmp_path) not in json.dumps(result.to_dict())


def test_several_threads_may_read_at_once(authority):
    # The page and the REST routes answer in parallel.
    data = authority.sign(picture("JPEG"), "JPEG", "trainedAlgorithmicMedia")
    states = []
    threads = [threading.Thread(target=lambda: states.append(read_provenance(data).c2pa["state"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == ["valid_untrusted"] * 8
