"""Under an answer: a button that copies it as text, and one that downloads it as a report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import gradio as gr

from fakedet.images import ImageError
from fakedet.verdict import Verdict

from . import page, panels
from .errors import ServerError
from .report import html_report
from .scorer import Scorer
from .uploads import Upload, sha256_of

GONE = "The picture is no longer here: give it again, then the report can be made."
COPIED = panels.sentence("The summary is copied: paste it where you need it.")
NOT_COPIED = panels.sentence("This browser lets no page copy. The report holds the same text.")
COPY = f"(text) => window.fakedetCopy(text, {json.dumps(COPIED)}, {json.dumps(NOT_COPIED)})"
SAVE = "() => window.fakedetSave()"


def share_buttons(scorer: Scorer, image: gr.Image, kept: gr.State) -> gr.Textbox:
    """Builds the buttons.

    Args:
        scorer: Reads the picture again for the report.
        image: The input; its event value is an `Upload`.
        kept: The verdict that is shown, without its picture.

    Returns:
        The hidden text that the first button copies.
    """
    with gr.Row(elem_classes="fd-buttons"):
        copy = gr.Button("Copy summary", size="md", elem_id="copy-summary")
        make = gr.Button("Download report", size="md", elem_id="make-report")
    text = gr.Textbox(label="Summary", visible=False)
    file = gr.DownloadButton("Report", visible="hidden", elem_id="report-file")
    state = gr.HTML(elem_id="share-state")
    copy.click(None, text, state, js=COPY, api_visibility="private", queue=False)
    made = make.click(
        make_report(scorer, image.GRADIO_CACHE),
        [image, kept],
        [file, state],
        api_visibility="private",
        concurrency_id="score",
        show_progress="minimal",
        show_progress_on=state,
    )
    page.show_busy(made, state)
    image.change(None, None, state, js="() => ''", api_visibility="private", queue=False)
    made.success(None, None, None, js=SAVE, api_visibility="private", queue=False)
    return text


def make_report(scorer: Scorer, folder: str) -> Callable[[Upload | None, Verdict | None], list]:
    """The handler that writes the report; gradio deletes it with the uploads.

    Args:
        folder: Where gradio keeps its files.
    """

    def make(upload: Upload | None, verdict: Verdict | None) -> list:
        if upload is None or verdict is None:
            return [None, panels.sentence(GONE)]
        try:
            # the answer on the page may be that of another picture than the one that is being given
            if sha256_of(upload.path) != verdict.image["sha256"]:
                return [None, panels.sentence(GONE)]
            whole = dataclasses.replace(verdict, picture=scorer.load(upload.path).image)
        except (ImageError, ServerError, OSError):
            return [None, panels.sentence(GONE)]
        path = Path(folder, uuid4().hex, f"fakedet-report-{verdict.image['sha256'][:8]}.html")
        try:
            path.parent.mkdir(parents=True)
            path.write_text(html_report(whole, scorer.detector), encoding="utf-8", errors="replace")
        except OSError:  # a full disk
            return [None, panels.sentence("The report could not be written here.")]
        return [str(path), panels.sentence("The report is in your downloads.")]

    return make
