"""The page's tabs: which controls there are, and what happens when one is used. What they say stands in page.py."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import gradio as gr

from fakedet.detector import Detector
from fakedet.images import ImageError
from fakedet.network.heatmap import display
from fakedet.verdict import Failure, Verdict

from . import answer, batch, batch_view, figures, page, panels
from .api import Scorer, ServerError
from .uploads import Upload, raw_files, raw_image

HEAT = 0.7
# The marked picture lies on top of the plain one, so its CSS opacity mixes the two: no request, no second scoring.
SET_HEAT = "(v) => { document.documentElement.style.setProperty('--fd-heat', v); }"


def one_picture(scorer: Scorer, examples: list[str]) -> None:
    """The main tab: a picture in; the answer, the reasons and the facts out."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            image = raw_image(
                sources=["upload", "clipboard", "webcam"],
                label="Your picture",
                placeholder="Drop a picture here\nor click to choose one; pasting works too",
                height=340,
                buttons=["fullscreen"],
                elem_id="picture",
                alt_text="The picture that was given",
            )
            # not gr.Examples: it would make the input anew, as a plain gr.Image, and its cache outlives the model
            gallery = gr.Dataset(
                components=[gr.Image(type="filepath", render=False)],
                samples=[[path] for path in examples],
                type="index",
                label="No picture at hand? Try one of these",
                visible=bool(examples),
                elem_id="examples",
            )
        with gr.Column(scale=6, min_width=300):
            card = gr.HTML(page.EMPTY, elem_id="answer")
    with gr.Column(visible=False) as reasons:
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                gr.HTML(page.HEAT_HELP)
                heat = gr.Slider(0, 1, HEAT, step=0.05, label="Strength of the marks", elem_id="heat", container=True)
            with gr.Column(scale=7, min_width=300):
                slider = gr.ImageSlider(
                    label="Left plain, right marked",
                    slider_position=50,
                    max_height=460,
                    interactive=False,
                    elem_id="overlay",
                    buttons=["fullscreen"],
                )
        with gr.Accordion("What the file says about itself", open=False, elem_id="provenance"):
            origin = gr.HTML()
        with gr.Accordion("Frequency view", open=False, elem_id="frequency") as frequency:
            waves = gr.HTML(panels.FREQUENCY_WAIT)
        with gr.Accordion("Technical details", open=False, elem_id="details"):
            facts = gr.HTML()
            answer_json = gr.JSON(label="The answer as programs get it", show_indices=False)
    gr.HTML(page.LIMITS)

    checkpoint = scorer.detector.checkpoint
    family_note = figures.family_note(figures.read_reports(checkpoint.folder, checkpoint.sha256))

    def say(result: Verdict | Failure | None) -> list:
        if not isinstance(result, Verdict):
            text = page.EMPTY if result is None else answer.error_card(result)
            return [text, gr.update(visible=False), None, gr.update(open=False), "", "", "", None]
        return [
            answer.verdict_card(result, family_note),
            gr.update(visible=True),
            (display(result.picture), result.overlay(opacity=0.95)),
            gr.update(open=False),
            panels.FREQUENCY_WAIT,
            answer.provenance(result),
            answer.details(result, scorer.detector),
            result.to_dict(),
        ]

    # Scoring the examples once when the app starts makes their answers instant, and warms everything up for the first
    # visitor: the network, and as many decoders as may work at the same time.
    with ThreadPoolExecutor(scorer.running) as threads:
        results = threads.map(lambda path: scorer.score(path, Path(path).name, heatmap=True), examples)
        scored = zip(examples, results, strict=True)
        known = {digest(path): say(result) for path, result in scored if isinstance(result, Verdict)}

    def check(upload: Upload | None) -> list:
        if upload is None:
            return say(None)
        return known.get(digest(upload.path)) or say(scorer.score(upload.path, upload.name, heatmap=True))

    checked = image.change(
        check,
        image,
        [card, reasons, slider, frequency, waves, origin, facts, answer_json],
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_id="score",
        show_progress="minimal",
        show_progress_on=card,
    )
    busy_instead(checked, card)
    gallery.click(lambda index: examples[index], gallery, image, api_visibility="private", queue=False)

    def look(upload: Upload | None) -> str:
        try:
            return "" if upload is None else panels.frequency(scorer.load(upload.path).image)
        except (ImageError, ServerError, ValueError) as error:
            return panels.sentence(str(error))

    frequency.expand(look, image, waves, api_visibility="private", concurrency_id="score", show_progress="minimal")
    heat.input(None, heat, None, js=SET_HEAT, api_visibility="private", queue=False)


def digest(path: str) -> str:
    """SHA-256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def busy_instead(event: gr.events.Dependency, card: gr.HTML) -> None:
    """Where an event got no place in the queue, the card says so; gradio alone would only show a toast for seconds."""
    event.failure(None, None, card, js=f"() => {json.dumps(page.BUSY)}", api_visibility="private", queue=False)


def many_pictures(scorer: Scorer, most: int) -> None:
    """Files, a folder or ZIP archives in; progress, a gallery, a table and downloads out."""
    gr.HTML(panels.many_intro(most))
    files = raw_files(
        file_types=["image", ".heic", ".heif", ".avif", ".zip"],
        label="Pictures, a folder of them, or a ZIP",
        height=180,
        elem_id="files",
    )
    with gr.Row(elem_classes="fd-buttons"):
        start = gr.Button("Check all", variant="primary", elem_id="start")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
        folder = gr.Button("Choose a folder", elem_id="folder")
    state = gr.HTML(elem_id="batch-state")
    with gr.Row(visible=False, elem_classes="fd-buttons") as downloads:
        as_csv = gr.DownloadButton("Download as CSV", elem_id="csv")
        as_json = gr.DownloadButton("Download as JSON", elem_id="json")
    cards = gr.HTML(elem_id="gallery")
    with gr.Accordion("The same as a table", open=False, visible=False, elem_id="table") as fold:
        table = gr.HTML()
    halts: dict[str | None, threading.Event] = {}  # by visitor: set when "Stop" is pressed

    def begin(request: gr.Request) -> list:
        halts[request.session_hash] = threading.Event()
        return [panels.WAITING, gr.update(interactive=False), gr.update(interactive=True)]

    def check(uploads: list[Upload], request: gr.Request) -> Iterator[list]:
        halt = halts.setdefault(request.session_hash, threading.Event())
        running = [gr.update(interactive=False), gr.update(interactive=True)]
        hide, show, same = gr.update(visible=False), gr.update(visible=True), gr.update()
        sent, found = 0.0, None
        try:
            for found in batch.run(scorer, [(u.path, u.name or "image") for u in uploads], most, halt=halt):
                if time.monotonic() - sent > 2:  # the gallery grows; sending it each time would be most of the work
                    sent = time.monotonic()
                    yield [batch_view.summary(found), *running, hide, same, same, batch_view.gallery(found), hide, ""]
        finally:
            halts.pop(request.session_hash, None)
        ready = [batch_view.summary(found, done=True), gr.update(interactive=True), gr.update(interactive=False)]
        if not found.items:
            yield [*ready, hide, same, same, "", hide, ""]
            return
        place = Path(files.GRADIO_CACHE, uuid4().hex)
        place.mkdir(parents=True)
        yield [
            *ready,
            show,
            *batch.write_files(found, place),
            batch_view.gallery(found),
            show,
            batch_view.as_table(found),
        ]

    def end(request: gr.Request) -> dict:
        if request.session_hash in halts:
            halts[request.session_hash].set()
        return gr.update(interactive=False)

    def again() -> list:
        return [gr.update(interactive=True), gr.update(interactive=False)]

    begun = start.click(begin, None, [state, start, stop], api_visibility="private", queue=False)
    run = begun.then(
        check,
        files,
        [state, start, stop, downloads, as_csv, as_json, cards, fold, table],
        api_visibility="private",
        concurrency_id="batch",
        concurrency_limit=1,
        show_progress="hidden",
    )
    busy_instead(run, state)
    run.failure(again, None, [start, stop], api_visibility="private", queue=False)
    stop.click(end, None, stop, api_visibility="private", queue=False)
    folder.click(None, None, None, js="() => window.fakedetFolder()", api_visibility="private", queue=False)


def the_model(detector: Detector) -> None:
    """What answers, its figures where they lie beside it, and its own card."""
    if tested := figures.to_html(figures.read_reports(detector.checkpoint.folder, detector.checkpoint.sha256)):
        gr.HTML(tested, elem_id="figures")
    gr.HTML(panels.model_facts(detector), elem_id="model")
    gr.Markdown(panels.model_card(detector), elem_id="card")
