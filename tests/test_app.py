"""The page in Chromium, and gradio_client, on a started `python app.py`."""

from __future__ import annotations

import hashlib
import json

import pytest
from conftest import ARTIFACTS, ROOT, photo_like
from gradio_client import Client, handle_file
from PIL.PngImagePlugin import PngInfo

CARD = "#answer .fd-real, #answer .fd-fake, #answer .fd-unsure"


def give(page, path):
    """Uploads a picture."""
    page.set_input_files("#picture input[type=file]", path)


@pytest.fixture
def answered(page, photo):
    """A page that has answered for the photo."""
    give(page, photo)
    page.wait_for_selector(CARD)
    return page


@pytest.mark.browser
def test_uploaded_picture_is_answered_in_words_first(page, detector):
    photo = ROOT / "examples" / "images" / "photo_china.jpg"
    give(page, photo)
    page.wait_for_selector(CARD)
    assert page.inner_text("#answer h2") == detector.predict(photo).headline
    bars = page.inner_text("#bars")
    assert "AI-generated" in bars and "Photograph" in bars and "%" in bars


@pytest.mark.browser
def test_name_is_shown_as_text_and_without_a_path(answered, app, photo):
    # a stranger chose the file name, and the page must not show the server's folders
    text = answered.inner_text("#answer")
    assert photo.name in text and str(app.temp) not in answered.inner_text("body") and "fakedet-" not in text
    assert answered.locator("#answer b").count() == 0


@pytest.mark.browser
def test_heat_map_lies_beside_the_original_and_its_strength_changes_at_once(answered):
    # two loaded pictures of one size; the slider is a style of the page, so no request follows
    answered.wait_for_function(
        "() => [...document.querySelectorAll('#overlay img')].filter(i => i.naturalWidth > 0).length == 2"
    )
    measure = "[...document.querySelectorAll('#overlay img')].map(i => [i.naturalWidth, i.naturalHeight])"
    sizes = answered.evaluate(measure)
    assert sizes[0] == sizes[1] == [640, 480]
    different = answered.evaluate("[...document.querySelectorAll('#overlay img')].map(i => i.src)")
    assert different[0] != different[1]
    answered.locator("#heat input[type=range]").fill("0.2")
    answered.wait_for_function("() => getComputedStyle(document.querySelector('#overlay img.fixed')).opacity == 0.2")


@pytest.mark.browser
def test_details_are_folded_away_and_complete(answered, photo, detector):
    assert not answered.locator("#details table").is_visible()
    answered.click("#details button")
    answered.wait_for_selector("#details table")
    text = answered.inner_text("#details")
    for expected in ("logit", "Threshold", "temperature", "640 x 480", "bundled", detector.model_facts["sha256"]):
        assert expected in text


@pytest.mark.browser
def test_what_the_file_declares_decides_and_its_prompt_is_shown_as_text(page, tmp_path):
    # a stranger wrote the prompt: markup in it must not become markup of the page
    info = PngInfo()
    prompt = "a castle <img src=x onerror=alert(1)> **bold** [link](http://example.org)"
    info.add_text("parameters", prompt + "\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5")
    photo_like().save(tmp_path / "castle.png", pnginfo=info)
    give(page, tmp_path / "castle.png")
    page.wait_for_selector(CARD)
    assert "AI-generated (declared)" in page.inner_text("#answer h2")
    page.click("#provenance button")
    page.click("#provenance summary:has-text('Generator record')")
    assert prompt in page.inner_text("#provenance") and "Euler a" in page.inner_text("#provenance")
    assert page.locator("#provenance :is(img, strong, a), #answer :is(img, strong, a)").count() == 0
    assert page.problems == []
    page.screenshot(path=ARTIFACTS / "declared-1280-light.png", full_page=True)


@pytest.mark.browser
def test_frequency_view_opens(answered):
    answered.click("#frequency button")
    answered.wait_for_selector("#frequency svg.fd-chart")


@pytest.mark.browser
def test_file_that_is_no_image_gets_one_friendly_sentence(page, tmp_path):
    # a broken picture must never become a stack trace
    bad = tmp_path / "holiday.jpg"
    bad.write_bytes(b"this is not a picture")
    give(page, bad)
    page.wait_for_selector("#answer .fd-error")
    text = page.inner_text("#answer")
    assert "cannot be checked" in text and "not an image" in text and "Traceback" not in text
    assert not page.locator("#overlay").is_visible()
    assert page.problems == []


@pytest.mark.browser
def test_answer_follows_the_picture(answered, tmp_path):
    # after a good picture a bad one must not leave the old answer standing, and clearing must empty the page
    bad = tmp_path / "b.png"
    bad.write_bytes(b"nothing")
    answered.click("#picture button[aria-label='Remove Image']")
    answered.wait_for_function("() => document.querySelector('#answer').innerText.includes('No picture yet')")
    assert not answered.locator("#overlay").is_visible()
    give(answered, bad)
    answered.wait_for_selector("#answer .fd-error")


@pytest.mark.browser
def test_only_our_own_host_is_asked(answered, app):
    # no fonts, scripts, counters from anywhere else
    answered.wait_for_timeout(500)
    assert answered.hosts - {""} == {app.url.removeprefix("http://")}
    assert answered.problems == []


@pytest.mark.browser
def test_many_pictures_give_gallery_table_and_downloads(page, photo, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    page.get_by_role("tab", name="Many").click()
    page.set_input_files("#files input[type=file]", [photo, bad])
    page.wait_for_function("() => document.querySelectorAll('#files tr').length == 2")
    page.click("#start")
    page.wait_for_selector("#csv")
    assert page.locator("#gallery figure").count() == 2
    assert "not checked" in page.inner_text("#batch-state")
    with page.expect_download() as download:
        page.click("#json")
    rows = json.loads(open(download.value.path()).read())
    assert rows[0]["file"] == photo.name and rows[1]["error"]["code"] == "unsupported_format"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_page_fits_and_keeps_a_screenshot(browser, app, photo, width, scheme):
    # nothing may stick out to the right, on a phone or a desk, light or dark
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(app.url)
    page.wait_for_selector("#picture input[type=file]", state="attached")
    give(page, photo)
    page.wait_for_selector(CARD)
    page.wait_for_selector("#overlay img.fixed")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("body.dark").count() == (scheme == "dark")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"page-{width}-{scheme}.png", full_page=True)
    context.close()


# --- programs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(app):
    return Client(app.url, verbose=False)


@pytest.mark.integration
def test_gradio_client_equals_python(client, photo, detector):
    answer = client.predict(handle_file(str(photo)), api_name="/predict")
    expected = detector.predict(photo)
    assert abs(answer["p_fake"] - expected.p_fake) < 1e-3 and answer["verdict"] == expected.verdict
    assert answer["image"]["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()  # not re-encoded on the way
    assert "/" not in answer["file"]


@pytest.mark.integration
def test_gradio_client_gets_bad_input_as_json(client, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 cut")
    answer = client.predict(handle_file(str(bad)), api_name="/predict")
    assert answer["schema"] == "1" and answer["error"]["code"] == "corrupt_image"


@pytest.mark.integration
def test_predict_batch_keeps_order_and_rows(client, photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    answers = client.predict([handle_file(str(p)) for p in (photo, bad, photo)], api_name="/predict_batch")
    assert answers[1]["error"]["code"] == "empty_input" and answers[0]["p_fake"] == answers[2]["p_fake"]


@pytest.mark.integration
def test_only_the_stable_endpoints_are_public(client):
    # the page's own events may change; these two may not
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/predict", "/predict_batch"}


@pytest.mark.integration
def test_addresses_are_not_fetched(client, app):
    # a stranger must not be able to send this server to other hosts
    with pytest.raises(Exception, match="not fetched"):
        client.predict({"path": f"{app.url}/health", "meta": {"_type": "gradio.FileData"}}, api_name="/predict")
