"""The controls of the page, on a desktop and a phone, light and dark; axe-core checks each state.

Screenshots stay in artifacts/.
"""

from __future__ import annotations

import time

import pytest

COPY = """async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [240, 160];
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#37a"; pen.fillRect(0, 0, 240, 160); pen.fillStyle = "#c63"; pen.fillRect(30, 40, 90, 60);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
}"""


@pytest.mark.browser
def test_the_empty_page_is_accessible_and_follows_the_colour_scheme(window):
    assert window.page.locator("body.dark").count() == (window.scheme == "dark")
    window.look("empty")


@pytest.mark.browser
def test_an_example_is_answered_with_its_basis_and_a_heat_map(window):
    page = window.page
    page.click("#examples button[aria-label*='photo china']")
    text = window.answer("photo_china.jpg")
    assert "How sure" in text and "What this is based on" in text and "The file" in text
    page.wait_for_selector("#overlay img.fixed")
    page.locator("#heat input[type=range]").fill("0.35")
    page.wait_for_function("() => getComputedStyle(document.querySelector('#overlay img.fixed')).opacity == 0.35")
    handle = page.locator("#overlay .icon-wrap")
    handle.scroll_into_view_if_needed()
    before = handle.bounding_box()
    page.mouse.move(before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    page.mouse.down()
    page.mouse.move(before["x"] - 60, before["y"] + before["height"] / 2, steps=5)
    page.mouse.up()
    assert handle.bounding_box()["x"] < before["x"] - 30
    for fold, inside in (("provenance", "section"), ("frequency", "svg.fd-chart"), ("details", "table")):
        page.click(f"#{fold} button")
        page.wait_for_selector(f"#{fold} {inside}")
    window.look("answer")


@pytest.mark.browser
def test_a_pasted_picture_is_answered(window):
    # with the keyboard, and with gradio's own button
    page = window.page
    page.evaluate(COPY)
    page.keyboard.press("Control+V")
    window.answer("image.png")
    window.clear()
    page.click("#picture button[aria-label='Paste from clipboard']")
    window.answer("clipboard")


@pytest.mark.browser
def test_a_picture_from_the_camera_is_answered(window):
    page = window.page
    page.click("#picture button[aria-label='Capture from camera']")
    page.click("#picture button:has-text('Access Webcam')")
    page.wait_for_function("() => document.querySelector('#picture video')?.videoWidth > 0")
    window.look("webcam")
    page.click("#picture button[aria-label='capture photo']")
    assert "No picture yet" not in window.answer("Answer for")
    window.clear()
    page.click("#picture button[aria-label='Upload file']")  # the first way is still there
    page.wait_for_selector("#picture input[type=file]", state="attached")


@pytest.mark.browser
def test_a_file_that_is_no_image_is_refused(window, tmp_path):
    (tmp_path / "letter.jpg").write_bytes(b"Dear all")
    window.page.set_input_files("#picture input[type=file]", tmp_path / "letter.jpg")
    window.page.wait_for_selector("#answer .fd-error")
    window.look("refused")


@pytest.mark.browser
def test_the_tab_model_shows_figures_and_the_folded_card(window):
    page = window.page
    window.tab("Model")
    page.wait_for_selector("#figures .fd-stack")
    window.look("model")
    page.click("#model-card button")
    page.wait_for_selector("#card h1")
    window.look("model-card")


@pytest.mark.browser
def test_the_tab_programs_names_this_address(window, app):
    window.tab("Programs")
    window.page.wait_for_selector("#programs pre")
    assert app.url in window.page.inner_text("#programs")
    window.look("programs")


@pytest.mark.browser
def test_the_tab_model_is_at_most_three_screens(visitor):
    # figures, table and limits are seen at once; card, settings and details are folded
    visitor.tab("Model")
    visitor.page.wait_for_selector("#figures .fd-stack")
    visitor.page.wait_for_timeout(400)
    assert not visitor.page.locator("#card h1").is_visible()
    assert visitor.page.locator("#figures table:visible").count() == 1
    assert visitor.page.evaluate("document.documentElement.scrollHeight") <= 2400


@pytest.mark.browser
def test_keyboard_alone_reaches_an_example_and_its_reasons(visitor):
    # no mouse: every control is reached with Tab, shows that it has the focus, and is worked with Enter
    page = visitor.page

    def reach(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        raise AssertionError(f"{selector} is not reached with the Tab key")

    reach("#examples button")
    page.keyboard.press("Enter")
    visitor.answer("Answer for")
    reach("#heat input[type=range]")
    before = page.locator("#heat input[type=range]").input_value()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#heat input[type=range]").input_value() != before
    reach("#details button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#details table")


@pytest.mark.browser
def test_screen_readers_get_the_answer_and_a_name_for_every_control(visitor, photo):
    page = visitor.page
    page.set_input_files("#picture input[type=file]", photo)
    visitor.answer("hill")
    assert page.get_attribute("#answer", "aria-live") == "polite" and page.locator("#answer [role=status]").count() == 1
    names = page.locator("button:visible").evaluate_all(
        "all => all.map(b => (b.innerText || b.getAttribute('aria-label') || b.title || '').trim())"
    )
    assert all(names) and not any("common." in name for name in names)
    alts = page.locator("#picture img, #overlay img").evaluate_all("all => all.map(i => i.alt)")
    assert all(alts)


@pytest.mark.browser
def test_an_example_is_answered_at_once(visitor):
    # scored when the app started, so that a click costs only the round trip
    started = time.monotonic()
    visitor.page.click("#examples button[aria-label*='grace']")
    visitor.answer("grace")
    assert time.monotonic() - started < 2
