"""The tab "Many": an archive, a folder, and stopping, on a desktop and a phone, light and dark."""

from __future__ import annotations

import io
import zipfile

import pytest
from conftest import photo_like


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


@pytest.mark.browser
def test_an_archive_gives_gallery_table_and_downloads(window, archive):
    page = window.page
    window.tab("Many")
    page.set_input_files("#files input[type=file]", archive)
    page.wait_for_selector("#files a.download-link")
    page.click("#start")
    page.wait_for_selector("#csv")
    assert "Done: 6" in page.inner_text("#batch-state") and page.locator("#gallery figure").count() == 6
    badges = page.locator("#gallery .fd-badge").all_inner_texts()
    assert badges[-1] == "Not checked"  # sorted by score, failures last
    page.click("#table button")
    page.wait_for_selector("#table td")
    for name, start in (("csv", b"\xef\xbb\xbffile,verdict,p_fake"), ("json", b"[")):
        with page.expect_download() as download:
            page.click(f"#{name}")
        assert open(download.value.path(), "rb").read().startswith(start)
    window.look("many")


@pytest.mark.browser
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


@pytest.mark.browser
def test_a_folder_chosen_before_the_tab_is_drawn_is_not_lost(window, tmp_path):
    # gradio draws the box of the files later than the button beside it
    page = window.page
    photo_like(64, 64).save(tmp_path / "a.png")
    assert page.locator("#files").count() == 0
    with page.expect_file_chooser() as chooser:
        page.evaluate("window.fakedetFolder()")
    chooser.value.set_files(tmp_path)
    window.tab("Many")
    page.wait_for_function("() => document.querySelectorAll('#files tr').length == 1")


@pytest.mark.browser
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
