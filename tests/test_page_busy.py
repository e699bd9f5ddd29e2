"""An app that scores one picture at a time and lets one wait: the first answer is quick, and "busy" is shown."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from conftest import App, photo_like
from gradio_client import Client, handle_file
from visitor import CARD, Visitor


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    app = App(tmp_path_factory.mktemp("small"), FAKEDET_QUEUE="1", FAKEDET_CONCURRENCY="1")
    yield app
    app.stop()


@pytest.mark.integration
def test_the_first_answer_comes_within_two_seconds(small, photo):
    # the very first request after the start; the network and a decoder are warm already
    started = time.monotonic()
    answer = httpx.post(f"{small.url}/predict", files={"image": photo.read_bytes()}, timeout=60)
    assert answer.status_code == 200 and time.monotonic() - started < 2


@pytest.mark.browser
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
