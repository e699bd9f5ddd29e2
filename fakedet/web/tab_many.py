"""The tab "Many": files, a folder or ZIP archives in; progress, a gallery, a table and downloads out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from uuid import uuid4

import gradio as gr

from . import batch, batch_view, page
from .render import render
from .scorer import Scorer
from .uploads import Upload, raw_files

GALLERY_SECONDS = 2  # between two versions of the growing gallery: sending it after each picture would cost the most


@dataclass(frozen=True)
class Outputs:
    """The components that show a batch, in the order of the updates."""

    state: gr.HTML
    start: gr.Button
    stop: gr.Button
    downloads: gr.Row
    csv: gr.DownloadButton
    json: gr.DownloadButton
    gallery: gr.HTML
    fold: gr.Accordion
    table: gr.HTML

    def as_list(self) -> list:
        """The components in their order."""
        return [getattr(self, field.name) for field in fields(self)]


def many_pictures(scorer: Scorer, max_files: int) -> None:
    """Builds the tab.

    Args:
        scorer: Computes the verdicts.
        max_files: Pictures in one batch.
    """
    gr.HTML(render("many_intro.html", max_files=max_files))
    files = raw_files(
        file_types=["image", ".heic", ".heif", ".avif", ".zip"],
        label="Pictures, a folder of them, or a ZIP",
        height=180,
        elem_id="files",
    )
    outputs = _outputs()
    handlers = BatchHandlers(scorer, max_files, files.GRADIO_CACHE)
    begun = outputs.start.click(
        handlers.begin,
        None,
        [outputs.state, outputs.start, outputs.stop],
        api_visibility="private",
        queue=False,
    )
    run = begun.then(
        handlers.check,
        files,
        outputs.as_list(),
        api_visibility="private",
        concurrency_id="batch",
        concurrency_limit=1,
        show_progress="hidden",
    )
    page.show_busy(run, outputs.state)
    run.failure(
        lambda: list(idle_buttons()), None, [outputs.start, outputs.stop], api_visibility="private", queue=False
    )
    outputs.stop.click(handlers.end, None, outputs.stop, api_visibility="private", queue=False)


def _outputs() -> Outputs:
    with gr.Row(elem_classes="fd-buttons"):
        start = gr.Button("Check all", variant="primary", elem_id="start")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
        folder = gr.Button("Choose a folder", elem_id="folder")
    state = gr.HTML(elem_id="batch-state")
    with gr.Row(visible=False, elem_classes="fd-buttons") as downloads:
        csv = gr.DownloadButton("Download as CSV", elem_id="csv")
        json = gr.DownloadButton("Download as JSON", elem_id="json")
    gallery = gr.HTML(elem_id="gallery")
    with gr.Accordion("The same as a table", open=False, visible=False, elem_id="table") as fold:
        table = gr.HTML()
    folder.click(None, None, None, js="() => window.fakedetFolder()", api_visibility="private", queue=False)
    return Outputs(state, start, stop, downloads, csv, json, gallery, fold, table)


@dataclass
class BatchHandlers:
    """The events of the tab.

    Attributes:
        scorer: Computes the verdicts.
        max_files: Pictures in one batch.
        folder: Where downloads lie; gradio deletes them with the uploads.
        halts: By visitor; set when "Stop" is pressed.
    """

    scorer: Scorer
    max_files: int
    folder: str
    halts: dict[str | None, threading.Event] = field(default_factory=dict)

    def begin(self, request: gr.Request) -> list:
        """Outside the queue, so that the buttons react at once."""
        self.halts[request.session_hash] = threading.Event()
        return [page.WAITING, *running_buttons()]

    def check(self, uploads: list[Upload], request: gr.Request) -> Iterator[list]:
        """Scores the files; yields the updates of `Outputs` while it runs and when it is done."""
        halt = self.halts.setdefault(request.session_hash, threading.Event())
        paths = [(upload.path, upload.name or "image") for upload in uploads]
        shown_at = 0.0
        try:
            for state in batch.run(self.scorer, paths, self.max_files, halt=halt):
                if time.monotonic() - shown_at > GALLERY_SECONDS:
                    shown_at = time.monotonic()
                    yield progress_updates(state)
        finally:
            self.halts.pop(request.session_hash, None)
        yield self.final_updates(state)

    def final_updates(self, done: batch.Batch) -> list:
        """The updates of `Outputs` for a finished batch; writes the files to download."""
        ready = [batch_view.summary(done, done=True), *idle_buttons()]
        hide, show, same = gr.update(visible=False), gr.update(visible=True), gr.update()
        if not done.items:
            return [*ready, hide, same, same, "", hide, ""]
        folder = Path(self.folder, uuid4().hex)
        folder.mkdir(parents=True)
        downloads = batch.write_files(done, folder)
        return [*ready, show, *downloads, batch_view.gallery(done), show, batch_view.as_table(done)]

    def end(self, request: gr.Request) -> dict:
        """Stops the visitor's batch after the picture that is being scored."""
        if request.session_hash in self.halts:
            self.halts[request.session_hash].set()
        return gr.update(interactive=False)


def progress_updates(state: batch.Batch) -> list:
    """The updates of `Outputs` while a batch runs."""
    hide, same = gr.update(visible=False), gr.update()
    summary = batch_view.summary(state)
    return [summary, *running_buttons(), hide, same, same, batch_view.gallery(state), hide, ""]


def running_buttons() -> tuple[dict, dict]:
    """Updates of "Check all" and "Stop" while a batch runs."""
    return gr.update(interactive=False), gr.update(interactive=True)


def idle_buttons() -> tuple[dict, dict]:
    """Updates of "Check all" and "Stop" while none runs."""
    return gr.update(interactive=True), gr.update(interactive=False)
