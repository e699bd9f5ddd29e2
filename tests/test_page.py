"""Every control of the page, on a desktop and a phone, light and dark; axe-core checks each state.

Screenshots stay in artifacts/. axe-core comes from npm (tests/package.json) into tests/node_modules.
"""

from __future__ import annotations

import io
import json
import subprocess
import threading
import time
import zipfile

import httpx
import pytest
from conftest import ARTIFACTS, ROOT, App, photo_like
from gradio_client import Client, handle_file

CARD = "#answer .fd-real, #answer .fd-fake, #answer .fd-unsure"
COPY = """async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [240, 160];
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#37a"; pen.fillRect(0, 0, 240, 160); pen.fillStyle = "#c63"; pen.fillRect(30, 40, 90, 60);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
}"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, in the version that package.json names."""
    home = ROOT / "tests"
    wanted = json.loads((home / "package.json").read_text())["devDependencies"]["axe-core"]
    installed = home / "node_modules" / "axe-core" / "package.json"
    if not installed.is_file() or json.loads(installed.read_text())["version"] != wanted:
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=home, check=True, timeout=300)
    return installed.with_name("axe.min.js").read_text()


class Visitor:
    """A browser window on the app, with a camera and a clipboard.

    Args:
        browser, app, axe: The fixtures.
        width: Of the window in pixels.
        scheme: "light" or "dark".
    """

    def __init__(self, browser, app, axe: str = "", width: int = 1280, scheme: str = "light"):
        self.width, self.scheme, self.axe, self.problems = width, scheme, axe, []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.grant_permissions(["clipboard-read", "clipboard-write", "camera"], origin=app.url)
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(app.url)
        self.page.wait_for_selector("#picture input[type=file]", state="attached")
        self.page.wait_for_selector("#examples button[aria-label]")

    def look(self, name: str) -> None:
        """Keeps a screenshot; nothing sticks out to the right, and axe-core finds nothing serious."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.wait_for_timeout(400)  # foldings and colours move for a moment
        self.page.screenshot(path=ARTIFACTS / f"{name}-{self.width}-{self.scheme}.png", full_page=True)
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width, name
        self.page.evaluate(self.axe)
        violations = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [
            f"{name}: {rule['id']} ({rule['impact']}): {node['html'][:200]}"
            for rule in violations
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert grave == []

    def answer(self, contains: str = "") -> str:
        """Waits for an answer whose card holds the text, and returns the card's."""
        self.page.wait_for_selector(CARD)
        self.page.wait_for_function("text => document.querySelector('#answer').innerText.includes(text)", arg=contains)
        return self.page.inner_text("#answer")

    def clear(self) -> None:
        """Takes the picture away."""
        self.page.click("#picture button[aria-label='Remove Image']")
        self.page.wait_for_selector("#answer .fd-empty")

    def tab(self, name: str) -> None:
        """Opens a tab, which on a phone may lie in the menu of those that found no room."""
        tab = self.page.get_by_role("tab", name=name, exact=True)
        if not tab.is_visible():
            self.page.click(".overflow-menu > button")
            tab = self.page.locator(".overflow-dropdown button", has_text=name)
        tab.click()


@pytest.fixture
def visitor(browser, app, axe):
    """On a desktop, light."""
    visitor = Visitor(browser, app, axe)
    yield visitor
    visitor.context.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def window(browser, app, axe, request):
    """On a desktop and a phone, light and dark."""
    visitor = Visitor(browser, app, axe, *request.param)
    yield visitor
    visitor.context.close()


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """A ZIP of six pictures, one of them broken."""
    path = tmp_path_factory.mktemp("zip") / "holiday.zip"
    with zipfile.ZipFile(path, "w") as file:
        for seed in range(5):
            buffer = io.BytesIO()
            photo_like(200 + 40 * seed, 180, seed).save(buffer, "JPEG")
            file.writestr(f"holiday/{seed}.jpg", buffer.getvalue())
        file.writestr("holiday/broken.png", b"nothing")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_control_works_and_axe_finds_nothing_serious(browser, app, axe, archive, tmp_path, width, scheme):
    visitor = Visitor(browser, app, axe, width, scheme)
    page = visitor.page
    assert page.locator("body.dark").count() == (scheme == "dark")
    visitor.look("empty")

    page.click("#examples button[aria-label*='photo china']")
    text = visitor.answer("photo_china.jpg")
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
    visitor.look("answer")

    visitor.clear()
    page.evaluate(COPY)
    page.keyboard.press("Control+V")
    visitor.answer("image.png")
    visitor.clear()
    page.click("#picture button[aria-label='Paste from clipboard']")
    visitor.answer("clipboard")
    visitor.clear()

    page.click("#picture button[aria-label='Capture from camera']")
    page.click("#picture button:has-text('Access Webcam')")
    page.wait_for_function("() => document.querySelector('#picture video')?.videoWidth > 0")
    visitor.look("webcam")
    page.click("#picture button[aria-label='capture photo']")
    assert "No picture yet" not in visitor.answer("Answer for")
    visitor.clear()

    (tmp_path / "letter.jpg").write_bytes(b"Dear all")
    page.click("#picture button[aria-label='Upload file']")
    page.set_input_files("#picture input[type=file]", tmp_path / "letter.jpg")
    page.wait_for_selector("#answer .fd-error")
    visitor.look("refused")

    visitor.tab("Many")
    page.set_input_files("#files input[type=file]", archive)
    page.wait_for_selector("#files a.download-link")
    page.click("#start")
    page.wait_for_selector("#csv")
    assert "Done: 6" in page.inner_text("#batch-state") and page.locator("#gallery figure").count() == 6
    badges = page.locator("#gallery .fd-badge").all_inner_texts()
    assert badges[-1] == "Not checked"  # sorted by score, what could not be read last
    page.click("#table button")
    page.wait_for_selector("#table td")
    for name, start in (("csv", b"\xef\xbb\xbffile,verdict,p_fake"), ("json", b"[")):
        with page.expect_download() as download:
            page.click(f"#{name}")
        assert open(download.value.path(), "rb").read().startswith(start)
    visitor.look("many")

    visitor.tab("Model")
    page.wait_for_selector("#figures .fd-stack")
    visitor.look("model")
    page.click("#model-card button")
    page.wait_for_selector("#card h1")
    visitor.look("model-card")
    visitor.tab("Programs")
    page.wait_for_selector("#programs pre")
    assert app.url in page.inner_text("#programs")
    visitor.look("programs")
    assert visitor.problems == []
    visitor.context.close()


def test_the_tab_model_is_at_most_three_screens(visitor):
    # figures, table and limits are seen at once; card, settings and details are folded
    visitor.tab("Model")
    visitor.page.wait_for_selector("#figures .fd-stack")
    visitor.page.wait_for_timeout(400)
    assert not visitor.page.locator("#card h1").is_visible()
    assert visitor.page.locator("#figures table:visible").count() == 1
    assert visitor.page.evaluate("document.documentElement.scrollHeight") <= 2400


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


def test_a_folder_is_chosen_or_dropped(window, tmp_path):
    # both take the pictures in it, in subfolders too, and leave out other files
    page, folder = window.page, tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.png", "inner/b.png", ".hidden.png"):
        photo_like(64, 64).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    window.tab("Many")
    with page.expect_file_chooser() as chooser:
        page.click("#folder")
    chooser.value.set_files(folder)
    page.wait_for_function("() => document.querySelectorAll('#files tr').length == 2")
    page.click("#files button[aria-label='Clear']")
    page.wait_for_function("() => document.querySelectorAll('#files tr').length == 0")
    box = page.locator("#files").bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    chromium = window.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        chromium.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    page.wait_for_function("() => document.querySelectorAll('#files tr').length == 2")


def test_stop_keeps_what_is_done(window, tmp_path):
    page, path = window.page, tmp_path / "many.zip"
    buffer = io.BytesIO()
    photo_like(1600, 1200).save(buffer, "JPEG")
    with zipfile.ZipFile(path, "w") as file:
        for index in range(150):
            file.writestr(f"{index}.jpg", buffer.getvalue())
    window.tab("Many")
    assert page.locator("#stop").is_disabled()
    page.set_input_files("#files input[type=file]", path)
    page.wait_for_selector("#files a.download-link")
    page.click("#start")
    page.wait_for_selector("#batch-state .fd-progress")
    assert "s left" in page.inner_text("#batch-state") and page.locator("#start").is_disabled()
    page.click("#stop")
    page.wait_for_selector("#csv")
    assert "Stopped after" in page.inner_text("#batch-state")
    assert 0 < page.locator("#gallery figure").count() < 150
    assert page.locator("#start").is_enabled() and page.locator("#stop").is_disabled()
    window.look("stopped")


# --- a small app: one at a time, one may wait -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    app = App(tmp_path_factory.mktemp("small"), FAKEDET_QUEUE="1", FAKEDET_CONCURRENCY="1")
    yield app
    app.stop()


def test_the_first_answer_comes_within_two_seconds(small, photo):
    # the very first request after the start; the network and a decoder are warm already
    started = time.monotonic()
    answer = httpx.post(f"{small.url}/predict", files={"image": photo.read_bytes()}, timeout=60)
    assert answer.status_code == 200 and time.monotonic() - started < 2


def test_an_example_is_answered_at_once(visitor):
    # scored when the app started, so that a click costs only the round trip
    started = time.monotonic()
    visitor.page.click("#examples button[aria-label*='grace']")
    visitor.answer("grace")
    assert time.monotonic() - started < 2


def test_busy_is_shown_in_the_card_and_no_request_is_lost(browser, small, photo, tmp_path):
    # other people's large pictures keep the queue full; the page says so in place of an answer, and works afterwards
    photo_like(4000, 3000).save(tmp_path / "large.jpg")
    visitor, over, ends = Visitor(browser, small), threading.Event(), []

    def caller() -> None:
        client = Client(small.url, verbose=False)
        while not over.is_set():
            try:
                ends.append(client.predict(handle_file(str(tmp_path / "large.jpg")), api_name="/predict")["verdict"])
            except Exception as error:
                ends.append("busy" if "full" in str(error) else repr(error))

    crowd = [threading.Thread(target=caller) for _ in range(8)]
    for thread in crowd:
        thread.start()
    try:
        for _ in range(60):
            visitor.page.set_input_files("#picture input[type=file]", photo)
            visitor.page.wait_for_selector(f"#answer [role=alert], {CARD}")
            if busy := "Very busy" in visitor.page.inner_text("#answer"):
                break
            visitor.page.click("#picture button[aria-label='Remove Image']")
            visitor.page.wait_for_selector("#answer .fd-empty, #answer [role=alert]")
    finally:
        over.set()
        for thread in crowd:
            thread.join()
    assert busy and "please try again" in visitor.page.inner_text("#answer")
    assert set(ends) <= {"real", "fake", "unsure", "busy"} and "busy" in ends
    visitor.clear()
    visitor.page.set_input_files("#picture input[type=file]", photo)
    visitor.answer("hill")
    visitor.context.close()
