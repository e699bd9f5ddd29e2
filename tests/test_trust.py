"""The list of trusted signers: fetched, checked, pinned, shown; and what is said of signers that are not on it."""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from c2pa_material import Authority, picture
from conftest import ROOT

from fakedet.provenance import join, read_provenance, trust
from fakedet.provenance.c2pa import summarise
from fakedet.provenance.validation import data_hash_fits, state_of
from fakedet.web.provenance_panel import to_html


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, so that nothing is pinned."""
    monkeypatch.delenv(trust.TRUST_VARIABLE, raising=False)
    monkeypatch.setenv("FAKEDET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def site():
    """A web server on this machine that answers from a dict: path -> body, or (status, headers, body)."""
    pages: dict = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path, (404, {}, b""))
            status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()


def fakedet(*args: str) -> subprocess.CompletedProcess:
    """Runs the command as a user types it."""
    line = [sys.executable, "-m", "fakedet", *args]
    return subprocess.run(line, cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, timeout=120)


@pytest.mark.integration
def test_a_pinned_list_is_shown_and_decides_on_every_way_in(authority, tmp_path):
    # command line and scan, whose workers read the metadata in processes without the user's environment
    (tmp_path / "signers.pem").write_text(f"Subject\tCN=Test Root, é\n{authority.root}")
    (tmp_path / "a.jpg").write_bytes(authority.sign(picture("JPEG"), "JPEG", "digitalCapture"))
    row = json.loads(fakedet("predict", str(tmp_path / "a.jpg"), "--json").stdout)
    assert (row["decided_by"], row["provenance"]["c2pa"]["state"]) == ("pixels", "valid_untrusted")
    assert json.loads(fakedet("info", "--json").stdout)["trusted_signers"] is None

    done = fakedet("trust", "--from", str(tmp_path / "signers.pem"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 certificate from signers.pem" in done.stdout and "Signers: Test Root Org" in done.stdout
    facts = json.loads(fakedet("info", "--json").stdout)["trusted_signers"]
    assert (facts["source"], facts["certificates"], facts["expired"]) == ("signers.pem", 1, 0)
    assert facts["sha256"] in done.stdout and facts["date"] in done.stdout

    row = json.loads(fakedet("predict", str(tmp_path / "a.jpg"), "--json").stdout)
    assert (row["verdict"], row["decided_by"]) == ("real", "declared_camera")
    assert row["provenance"]["c2pa"]["trust_list"] == f"1 certificate from signers.pem, of {facts['date']}"
    fakedet("scan", str(tmp_path / "*.jpg"), "--output", str(tmp_path / "t.jsonl"), "--workers", "1")
    assert json.loads((tmp_path / "t.jsonl").read_text())["decided_by"] == "declared_camera"


def test_a_list_is_fetched_from_an_address_and_kept(authority, site):
    # An address is asked once; afterwards the copy answers.
    address, pages = site
    pages["/list.pem"] = authority.root.encode()
    pinned = trust.pin(f"{address}/list.pem")
    pages.clear()
    assert trust.current() == pinned
    assert pinned.facts() | {"sha256": "", "date": ""} == {
        "source": f"{address}/list.pem", "date": "", "certificates": 1, "expired": 0, "sha256": "",
    }  # fmt: skip
    signed = authority.sign(picture("PNG"), "PNG", "digitalCapture")
    assert read_provenance(signed).c2pa["state"] == "valid_trusted"


def test_an_issuing_authority_is_enough(authority):
    # The conformance list holds issuing authorities, not their roots.
    signed = authority.sign(picture("PNG"), "PNG", "digitalCapture")
    assert read_provenance(signed, trust_anchors=authority.issuer).c2pa["state"] == "valid_trusted"


BAD_LISTS = {
    "no list of PEM": lambda own: "<!DOCTYPE html><title>Sign in</title>",
    "is no list of PEM certificates.": lambda own: "",
    "Certificate 2 in": lambda own: own.root + own.root.replace("MII", "NII"),
    "certificates of no authority": lambda own: own.root + own.leaf,
    "holds a private key": lambda own: own.root + own.key.decode(),
    "larger than 4 MB": lambda own: own.root + "x" * trust.MAX_BYTES,
}


@pytest.mark.parametrize("message", BAD_LISTS)
def test_what_is_no_list_of_authorities_is_refused_and_the_pinned_one_stays(authority, message, tmp_path):
    (tmp_path / "good.pem").write_text(authority.root)
    pinned = trust.pin(str(tmp_path / "good.pem"))
    (tmp_path / "bad.pem").write_text(BAD_LISTS[message](authority))
    with pytest.raises(trust.TrustError, match=message):
        trust.pin(str(tmp_path / "bad.pem"))
    assert trust.current() == pinned


def test_a_list_comes_over_https_only(authority, site):
    # Whoever sits on the line could put in an authority of his own; a redirect must not lead there either.
    address, pages = site
    pages["/away"] = (302, {"Location": "http://example.org/list.pem"}, b"")
    for source in ("http://example.org/list.pem", f"{address}/away", "ftp://example.org/list.pem"):
        with pytest.raises(trust.TrustError, match=r"not https|cannot be fetched"):
            trust.pin(source)


@pytest.mark.integration
def test_without_a_network_the_command_says_what_to_do():
    for source in ("https://127.0.0.1:9/list.pem", "nowhere.pem"):
        done = fakedet("trust", "--from", source)
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert source in line and "Traceback" not in line


def test_a_damaged_pinned_list_trusts_no_one_and_is_told(authority, cache):
    cache.mkdir()
    (cache / "trusted-signers.pem").write_text("gone")
    result = read_provenance(authority.sign(picture("PNG"), "PNG", "digitalCapture"))
    assert result.c2pa["state"] == "valid_untrusted"
    assert any("pinned list of signers" in note for note in result.notes)


@pytest.mark.parametrize("with_list", [False, True])
@pytest.mark.parametrize("kind", ["digitalArt", "digitalCapture", "trainedAlgorithmicMedia"])
def test_a_valid_file_of_an_unknown_signer_is_never_called_tampered_with(authority, kind, with_list):
    anchors = Authority().root if with_list else None
    result = read_provenance(authority.sign(picture("JPEG"), "JPEG", kind), trust_anchors=anchors)
    assert result.c2pa["state"] == "valid_untrusted"
    words = " ".join((*join("unsure", 0.5, result).sentences, html.unescape(to_html(result)))).lower()
    assert "valid" in words
    assert ("not on the trust list" in words) == with_list
    assert not any(word in words for word in ("changed", "tamper", "invalid", "broken", "not intact"))


def test_the_panel_names_the_list(authority):
    result = read_provenance(authority.sign(picture("JPEG"), "JPEG", "digitalArt"), trust_anchors=authority.root)
    assert "<dt>Trust list</dt>" in to_html(result) and "1 certificate from a list given" in to_html(result)


@pytest.mark.parametrize("verdict", ["real", "fake", "unsure"])
def test_absent_credentials_hint_at_nothing(verdict):
    # Most files have none: their absence must speak neither for a photograph nor against one.
    result = read_provenance(picture("JPEG"))
    joined = join(verdict, 0.5, result)
    assert (joined.verdict, joined.decided_by) == (verdict, "pixels")
    assert "credential" not in " ".join(joined.sentences).lower()
    assert joined.sentences[-1].endswith("its absence proves nothing.")
    assert "says nothing about its origin" in to_html(result)


def test_a_change_of_the_picture_and_one_of_the_credentials_are_told_apart(authority):
    signed = authority.sign(picture("JPEG"), "JPEG", "digitalCapture")
    pixels, claim = bytearray(signed), bytearray(signed)
    pixels[-40] ^= 0x55
    claim[signed.index(b"c2pa.created") + 5] ^= 1
    first, second = (read_provenance(bytes(data)).c2pa for data in (pixels, claim))
    assert (first["state"], second["state"]) == ("tampered", "tampered")
    assert "it was changed after" in first["state_text"]
    assert "credentials themselves were changed" in second["state_text"].lower()


def test_broken_credentials_of_a_part_are_not_believed(authority):
    # Whoever composes a picture may put in a file whose declaration was forged.
    part = bytearray(authority.sign(picture("JPEG"), "JPEG", "trainedAlgorithmicMedia"))
    part[-40] ^= 0x55
    result = read_provenance(authority.sign(picture("JPEG"), "JPEG", "digitalArt", part=bytes(part)))
    assert (result.c2pa["state"], result.c2pa["digital_source_type"]) == ("valid_untrusted", "digitalArt")
    assert "broken already" in result.c2pa["state_text"]


def old_camera(data: bytes, start: int, length: int, hashed: bytes) -> str:
    """A report on a file whose hash leaves out other bytes than the manifest's."""
    digest = base64.b64encode(hashlib.sha256(hashed).digest()).decode()
    assertion = {"alg": "sha256", "hash": digest, "exclusions": [{"start": start, "length": length}]}
    return json.dumps({"active_manifest": "m", "manifests": {"m": {"assertion_store": {"c2pa.hash.data": assertion}}}})


def test_an_old_layout_is_not_called_a_change():
    # Early cameras hash the picture without any metadata; the library then reports a mismatch without looking.
    data = picture("JPEG") * 3
    store = {
        "validation_state": "Invalid",
        "validation_results": {"activeManifest": {"failure": [{"code": "assertion.dataHash.mismatch"}]}},
    }
    fits = data_hash_fits(lambda: old_camera(data, 0, 500, data[500:]), data)
    assert fits
    state, text = state_of(store, fits=fits)
    assert state == "unreadable" and "changed" not in text
    changed = data[:-1] + b"x"
    assert not data_hash_fits(lambda: old_camera(data, 0, 500, data[500:]), changed)
    assert state_of(store)[0] == "tampered"


def test_a_hash_that_leaves_out_most_of_the_file_fits_nothing():
    data = picture("JPEG")
    assert not data_hash_fits(lambda: old_camera(data, 0, len(data) - 9, data[-9:]), data)


@pytest.mark.parametrize(
    "code", ["signingCredential.expired", "signingCredential.ocsp.revoked", "claimSignature.missing"]
)
def test_reasons_are_words_and_accuse_nobody(code):
    failures = [{"code": code}, {"code": "signingCredential.untrusted"}]
    store = {"validation_state": "Invalid", "validation_results": {"activeManifest": {"failure": failures}}}
    text = summarise(store)["state_text"]
    assert "." not in text.removesuffix(".") and "changed" not in text
