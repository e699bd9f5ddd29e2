"""An answer that is passed on, and one that is reported as wrong: on a desktop and a phone, light and dark."""

from __future__ import annotations

import json

import pytest
from conftest import ARTIFACTS, App, photo_like
from feedback_material import stored
from PIL.PngImagePlugin import PngInfo
from visitor import Visitor

MARKUP = "<img src=x onerror=alert(1)></pre><script>alert(2)</script>"
WINDOWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """An app that asks for reports; `app.reports` is their folder."""
    folder = tmp_path_factory.mktemp("asking")
    app = App(folder, FAKEDET_FEEDBACK=str(folder / "reports"))
    app.reports = folder / "reports"
    yield app
    app.stop()


@pytest.fixture(params=WINDOWS, ids=lambda window: f"{window[0]}-{window[1]}")
def reporter(browser, asking, axe, request):
    """Visitors of the app that asks for reports."""
    one = Visitor(browser, asking, axe, *request.param)
    yield one
    one.context.close()
    assert one.problems == []


@pytest.fixture
def declared(tmp_path):
    """A picture whose name and metadata hold markup."""
    info = PngInfo()
    info.add_text("parameters", f"a castle {MARKUP}\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5")
    path = tmp_path / "castle <b>&'.png"
    photo_like().save(path, pnginfo=info)
    return path


def answered(visitor: Visitor, path) -> None:
    visitor.page.set_input_files("#picture input[type=file]", path)
    visitor.answer(path.name)
    visitor.page.wait_for_selector("#copy-summary")


def downloaded(visitor: Visitor, path) -> None:
    """Downloads the report to a path."""
    with visitor.page.expect_download() as download:
        visitor.page.click("#make-report")
    assert download.value.suggested_filename.startswith("fakedet-report-")
    download.value.save_as(path)


@pytest.mark.browser
def test_the_summary_is_copied_as_the_answer_on_the_page(window, photo, detector):
    answered(window, photo)
    window.page.click("#copy-summary")
    window.page.wait_for_function("document.querySelector('#share-state').innerText.includes('copied')")
    text = window.page.evaluate("navigator.clipboard.readText()")
    facts = detector.predict(photo)
    assert window.page.inner_text("#answer h2") in text and photo.name in text
    assert facts.image["sha256"] in text and facts.model["sha256"] in text and "not a proof" in text
    window.look("share")


@pytest.mark.browser
def test_without_a_clipboard_the_summary_is_copied_by_selection(visitor, photo):
    # a page that is not served by https has none
    visitor.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
    answered(visitor, photo)
    visitor.page.click("#copy-summary")
    visitor.page.wait_for_function("document.querySelector('#share-state').innerText.includes('copied')")
    visitor.page.evaluate("delete navigator.clipboard")
    assert "Model: bundled" in visitor.page.evaluate("navigator.clipboard.readText()")


@pytest.mark.browser
def test_the_report_opens_without_a_network_and_shows_markup_as_text(window, declared, tmp_path, browser):
    answered(window, declared)
    downloaded(window, tmp_path / "report.html")
    window.page.wait_for_function("document.querySelector('#share-state').innerText.includes('downloads')")
    context = browser.new_context(viewport={"width": window.width, "height": 900}, offline=True)
    page, asked, problems = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    page.click("summary:has-text('Generator record')")
    text = page.inner_text("main")
    assert MARKUP in text and declared.name in text and "What it cannot tell" in text
    assert page.locator("script, iframe, link, main b i, img[src=x]").count() == 0
    sizes = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert sizes == [640, 640]  # the picture and the marked one
    assert page.evaluate("document.documentElement.scrollWidth") <= window.width
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert problems == []
    page.screenshot(path=ARTIFACTS / f"report-{window.width}.png", full_page=True)
    page.evaluate(window.axe)
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert not [rule for rule in violations if rule["impact"] in ("serious", "critical")], json.dumps(violations)[:2000]
    context.close()


@pytest.mark.browser
def test_a_new_picture_clears_what_was_said_of_the_last(visitor, photo):
    answered(visitor, photo)
    visitor.page.click("#copy-summary")
    visitor.page.wait_for_function("document.querySelector('#share-state').innerText.includes('copied')")
    visitor.clear()
    assert not visitor.page.locator("#copy-summary").is_visible()
    visitor.page.click("#examples button[aria-label*='photo china']")
    visitor.answer("photo_china.jpg")
    assert visitor.page.inner_text("#share-state") == ""


@pytest.mark.browser
def test_a_wrong_answer_is_reported_with_and_without_the_picture(reporter, asking, photo):
    page, before = reporter.page, len(stored(asking.reports))
    answered(reporter, photo)
    assert not page.locator("#feedback-send").is_visible()  # folded
    page.click("#feedback button")
    page.wait_for_selector("#feedback-send")
    reporter.look("feedback")
    page.click("#feedback-send")
    page.wait_for_function("document.querySelector('#feedback-state').innerText.includes('Say first')")
    for keep in (False, True):
        page.locator("#feedback-truth").get_by_label("AI-generated").check()
        page.fill("#feedback-how textarea", f"I made it, {reporter.width} {reporter.scheme} {keep} {MARKUP}")
        page.locator("#feedback-keep input").set_checked(keep)
        page.click("#feedback-send")
        page.wait_for_function("document.querySelector('#feedback-how textarea').value === ''")  # ready for another
        assert "Thank you" in page.inner_text("#feedback-state")
        assert not page.locator("#feedback-keep input").is_checked()
    reporter.look("feedback-sent")
    reports = stored(asking.reports)[before:]
    assert [bool(report["picture"]) for report in reports] == [False, True]
    assert all(report["truth"] == "fake" and report["how"].endswith(MARKUP) for report in reports)
    assert "except what you send" in page.inner_text("body")


@pytest.mark.browser
def test_the_default_page_asks_for_no_report(visitor, photo):
    answered(visitor, photo)
    text = visitor.page.inner_text("body")
    assert "This answer is wrong" not in text and "except what you send" not in text
