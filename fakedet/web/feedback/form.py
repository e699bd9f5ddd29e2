"""The folded form "This answer is wrong" below an answer."""

from __future__ import annotations

import json
import os

import gradio as gr

from fakedet.verdict import Verdict

from ..panels import sentence
from ..render import render
from ..uploads import Upload
from .service import MAX_HOW_CHARS, Feedback, Report, ReportRefused

CHOICES = [
    ("A photograph", "real"),
    ("AI-generated", "fake"),
    ("Neither: screenshot, drawing, rendering", "graphic"),
]
EMPTY = [None, "", False]  # values of the fields


def feedback_form(feedback: Feedback, image: gr.Image, kept: gr.State) -> None:
    """Builds the form.

    Args:
        feedback: Takes the reports.
        image: The input; its event value is an `Upload`.
        kept: The verdict that is shown, without its picture.
    """
    with gr.Accordion("This answer is wrong", open=False, elem_id="feedback"):
        gr.HTML(render("feedback_intro.html"))
        truth = gr.Radio(CHOICES, label="What is it in truth?", elem_id="feedback-truth")
        how = gr.Textbox(
            label="How do you know?",
            placeholder="I took it with my phone; I made it with ...; the source is ...",
            max_length=MAX_HOW_CHARS,
            lines=2,
            elem_id="feedback-how",
        )
        keep = gr.Checkbox(
            label="You may keep the picture, to train and test the detector. It is mine to give.",
            elem_id="feedback-keep",
        )
        send = gr.Button("Send the report", size="md", elem_id="feedback-send")
        state = gr.HTML(elem_id="feedback-state")

    async def take(
        truth: str | None,
        how: str,
        keep: bool,
        upload: Upload | None,
        verdict: Verdict | None,
        request: gr.Request,
    ) -> list:
        path = upload.path if upload else None
        report = Report(truth, how or "", bool(keep), path, verdict, client_of(request))
        try:
            return [sentence(await feedback.take(report)), *EMPTY]
        except ReportRefused as error:
            return [sentence(str(error)), *[gr.update()] * len(EMPTY)]

    # outside the queue: reports take no place in it from those who wait for an answer
    send.click(take, [truth, how, keep, image, kept], [state, truth, how, keep], api_visibility="private", queue=False)
    cleared = f"() => {json.dumps(['', *EMPTY])}"
    image.change(None, None, [state, truth, how, keep], js=cleared, api_visibility="private", queue=False)


def client_of(request: gr.Request) -> str:
    """The address that a request came from; on a Space the one that the Hub's proxy saw."""
    seen = request.headers.get("x-forwarded-for", "") if "SPACE_ID" in os.environ else ""
    return seen.rsplit(",", 1)[-1].strip() or (request.client.host if request.client else "")
