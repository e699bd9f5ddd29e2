"""The table that joins pixels and provenance, and the panel that shows both."""

from __future__ import annotations

import html
import json

import pytest

from fakedet.provenance import Provenance, join
from fakedet.provenance.evidence import weigh
from fakedet.provenance.record import Evidence
from fakedet.provenance.rules import CAVEAT
from fakedet.web.provenance_panel import to_html

EMPTY = dict.fromkeys(("prompt", "negative_prompt", "model", "seed", "sampler", "steps", "raw_excerpt"))
GENERATOR = {"tool": "ComfyUI", "container_field": "PNG prompt", **EMPTY}
CAMERA = {
    "make": "Maker", "model": "Model 5", "lens": None, "taken": None, "exposure": None, "gps_present": True,
    "maker_note": False, "thumbnail_consistent": True, "software": None,
}  # fmt: skip
WATERMARK = {"name": "Stable Diffusion XL", "bits": 48, "distance": 1, "threshold": 7}


def credentials(state, kind, where="manifest"):
    return {
        "state": state, "state_text": f"State {state}.", "signer": "Signer", "signed_at": None,
        "claim_generator": "Tool 1", "actions": ["c2pa.created"], "digital_source_type": kind, "source_from": where,
        "ingredients": [],
    }  # fmt: skip


def provenance(**parts):
    result = Provenance(**parts)
    return Provenance(**parts, evidence=weigh(result))


def xmp(kind):
    return {"digital_source_type": kind, "creator_tool": None, "credit": None}


AI, PART, CAPTURE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "digitalCapture"
TABLE = [  # provenance, then (verdict, decided_by) for pixels that say real, unsure, fake
    ("nothing", {}, "real pixels", "unsure pixels", "fake pixels"),
    ("AI manifest", {"c2pa": credentials("valid_untrusted", AI)}, *["fake declared_ai"] * 3),
    ("trusted AI manifest", {"c2pa": credentials("valid_trusted", AI)}, *["fake declared_ai"] * 3),
    ("edited AI", {"c2pa": credentials("valid_untrusted", AI, "parent")}, *["fake declared_ai"] * 3),
    ("generator record", {"generator": GENERATOR}, *["fake declared_ai"] * 3),
    ("XMP says AI", {"iptc_xmp": xmp(AI)}, *["fake declared_ai"] * 3),
    ("record and camera fields", {"generator": GENERATOR, "camera": CAMERA}, *["fake declared_ai"] * 3),
    ("part AI manifest", {"c2pa": credentials("valid_trusted", PART)},
     "unsure declared_ai", "unsure pixels", "fake pixels"),
    ("XMP says part AI", {"iptc_xmp": xmp(PART)}, "unsure declared_ai", "unsure pixels", "fake pixels"),
    ("trusted camera", {"c2pa": credentials("valid_trusted", CAPTURE)}, *["real declared_camera"] * 3),
    ("trusted computational camera", {"c2pa": credentials("valid_trusted", "computationalCapture")},
     *["real declared_camera"] * 3),
    ("untrusted camera", {"c2pa": credentials("valid_untrusted", CAPTURE)},
     "real pixels", "unsure pixels", "fake pixels"),
    ("edited capture", {"c2pa": credentials("valid_trusted", CAPTURE, "parent")},
     "real pixels", "unsure pixels", "fake pixels"),
    ("trusted camera and record", {"c2pa": credentials("valid_trusted", CAPTURE), "generator": GENERATOR},
     "real pixels", "unsure pixels", "fake pixels"),
    ("tampered AI", {"c2pa": credentials("tampered", AI)}, "real pixels", "unsure pixels", "fake pixels"),
    ("tampered capture", {"c2pa": credentials("tampered", CAPTURE)}, "real pixels", "unsure pixels", "fake pixels"),
    ("unreadable", {"c2pa": credentials("unreadable", None)}, "real pixels", "unsure pixels", "fake pixels"),
    ("camera fields", {"camera": CAMERA}, "real pixels", "unsure pixels", "fake pixels"),
    ("watermark", {"watermark": WATERMARK}, "real pixels", "unsure pixels", "fake pixels"),
    ("XMP says capture", {"iptc_xmp": xmp(CAPTURE)}, "real pixels", "unsure pixels", "fake pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), [pytest.param(row[1], row[2:], id=row[0]) for row in TABLE])
def test_the_table(parts, expected):
    # The documented table, every row against every verdict of the pixels.
    result = provenance(**parts)
    answers = [join(word, p, result) for word, p in (("real", 0.03), ("unsure", 0.5), ("fake", 0.97))]
    assert [f"{a.verdict} {a.decided_by}" for a in answers] == list(expected)


@pytest.mark.parametrize(("parts", "verdict", "words"), [
    ({"generator": GENERATOR}, "real", "look like a camera photo"),
    ({"c2pa": credentials("valid_trusted", CAPTURE)}, "fake", "look AI-generated"),
    ({"generator": GENERATOR, "camera": CAMERA}, "fake", "also names a camera"),
    ({"c2pa": credentials("valid_trusted", CAPTURE), "generator": GENERATOR}, "real", "neither is believed"),
    ({"c2pa": credentials("tampered", CAPTURE)}, "real", "not believed"),
    ({"watermark": WATERMARK}, "real", "watermark"),
    ({"camera": CAMERA}, "fake", "names a camera"),
    ({"c2pa": credentials("valid_trusted", PART)}, "real", "declared to be AI-made"),
])  # fmt: skip
def test_contradictions_are_said_first(parts, verdict, words):
    # A user must not have to find out alone that the file and the pixels disagree.
    assert words in join(verdict, 0.5, provenance(**parts)).sentences[0]


def test_the_caveat_closes_every_answer():
    # Metadata can be forged and absence proves nothing: said each time.
    for row in TABLE:
        assert join("real", 0.1, provenance(**row[1])).sentences[-1] == CAVEAT


def test_the_probability_is_quoted_unchanged():
    # A table, not a blend.
    assert any("P(fake) 3 %" in s for s in join("real", 0.03, provenance(generator=GENERATOR)).sentences)


def test_evidence_stands_strongest_first():
    # Proof before hints.
    result = provenance(c2pa=credentials("valid_trusted", AI), camera=CAMERA, watermark=WATERMARK)
    assert [item.strength for item in result.evidence] == ["proof", "strong", "weak", "weak"]


@pytest.mark.parametrize("state", ["tampered", "unreadable"])
def test_what_broken_credentials_say_is_passed_on_as_unproven(state):
    # An expired AI signer still tells something, but decides nothing.
    result = provenance(c2pa=credentials(state, AI))
    assert any(item.direction == "ai" and "unproven" in item.sentence for item in result.evidence)


def test_the_name_of_a_signer_does_not_hide_the_generator_record():
    signed = credentials("valid_untrusted", AI) | {"signer": "Public record of images"}
    result = provenance(c2pa=signed, generator=GENERATOR)
    assert any(item.sentence == "It carries a record of ComfyUI." for item in result.evidence)


@pytest.mark.parametrize("tool", ["Credentials", "Valid Content Credentials"])
def test_the_name_of_a_generator_does_not_hide_the_content_credentials(tool):
    result = provenance(c2pa=credentials("valid_untrusted", CAPTURE), generator=GENERATOR | {"tool": tool})
    assert any(item.sentence.startswith("State valid_untrusted.") for item in result.evidence)


def test_an_unknown_pixel_verdict_is_refused():
    # A typing error must not become a verdict.
    with pytest.raises(ValueError, match="real, fake or unsure"):
        join("FAKE", 0.9, Provenance())


MARKUP = "<script>alert(1)</script> <img src=x onerror=alert(1)> **bold** [link](javascript:alert(1)) `code` \"'&amp;"


def test_markup_in_a_prompt_is_shown_as_text():
    # Neither a browser nor a Markdown renderer may act on it.
    result = provenance(generator=GENERATOR | {"prompt": MARKUP, "raw_excerpt": MARKUP, "tool": MARKUP})
    panel = to_html(result, join("fake", 0.9, result))
    assert MARKUP in html.unescape(panel)
    for part in ("<script", "<img", "**", "](", "`", "onerror=alert(1)>"):
        assert part not in panel


def test_json_keeps_the_prompt_as_it_is():
    # Escaping is the page's business; JSON carries the text.
    result = provenance(generator=GENERATOR | {"prompt": MARKUP})
    assert json.loads(json.dumps(result.to_dict()))["generator"]["prompt"] == MARKUP


def test_the_panel_shows_gps_as_present_only():
    # Coordinates are not even kept; the word is all there is.
    panel = html.unescape(to_html(provenance(camera=CAMERA)))
    assert "GPS</dt><dd>" in panel and "present" in panel


def test_the_panel_of_a_silent_file_says_so():
    # An empty box would look like a fault.
    panel = html.unescape(to_html(Provenance()))
    assert "says nothing about its origin" in panel and CAVEAT in panel


def test_answers_are_frozen_and_json_safe():
    # They are shared between surfaces and sent to clients.
    result = provenance(camera=CAMERA, watermark=WATERMARK)
    with pytest.raises(AttributeError):
        result.camera = None
    assert set(result.to_dict()) >= {
        "c2pa", "generator", "camera", "jpeg", "watermark", "iptc_xmp", "evidence", "notes",
    }  # fmt: skip
    assert json.loads(json.dumps(join("real", 0.1, result).to_dict()))["decided_by"] == "pixels"
    assert Evidence("ai", "weak", "x").to_dict() == {"direction": "ai", "strength": "weak", "sentence": "x"}
