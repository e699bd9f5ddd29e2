"""The tab "One picture": a picture in; the verdict, the evidence and the facts out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import gradio as gr

from fakedet.images import ImageError
from fakedet.network.heatmap import display
from fakedet.verdict import Failure, Verdict

from . import answer, figures, page, panels, share
from .errors import ServerError
from .feedback import form
from .feedback.service import Feedback
from .render import render
from .scorer import Scorer
from .summary import summary
from .uploads import Upload, raw_image, sha256_of

HEAT = 0.7
# The marked picture lies on top of the plain one, so its CSS opacity mixes the two: no request, no second scoring.
SET_HEAT = "(v) => { document.documentElement.style.setProperty('--fd-heat', v); }"


@dataclass(frozen=True)
class Outputs:
    """The components that show a result, in the order of `result_updates`."""

    card: gr.HTML
    below: gr.Column
    summary: gr.Textbox
    kept: gr.State
    evidence: gr.Column
    slider: gr.ImageSlider
    frequency: gr.Accordion
    spectrum: gr.HTML
    provenance: gr.HTML
    facts: gr.HTML
    answer_json: gr.JSON

    def as_list(self) -> list:
        """The components in their order."""
        return [getattr(self, field.name) for field in fields(self)]


def one_picture(scorer: Scorer, examples: list[str], keep_seconds: float, feedback: Feedback | None = None) -> None:
    """Builds the tab.

    Args:
        scorer: Computes the verdicts.
        examples: Paths of pictures to try; scored at once, so that a click on one is answered without delay.
        keep_seconds: How long an answer is kept for reports.
        feedback: Takes reports of wrong answers; None: the page does not ask for them.
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            image, gallery = _inputs(examples)
        with gr.Column(scale=6, min_width=300):
            card = gr.HTML(page.EMPTY, elem_id="answer")
            kept = gr.State(None, time_to_live=keep_seconds)
            with gr.Column(visible=False) as below:
                text = share.share_buttons(scorer, image, kept)
                if feedback is not None:
                    form.feedback_form(feedback, image, kept)
    outputs = _outputs(card, below, text, kept)
    gr.HTML(render("limits.html", how_often="The tab “Model” shows how often."))
    check = make_check(scorer, examples)
    checked = image.change(
        check,
        image,
        outputs.as_list(),
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_id="score",
        show_progress="minimal",
        show_progress_on=card,
    )
    page.show_busy(checked, card)
    gallery.click(lambda index: examples[index], gallery, image, api_visibility="private", queue=False)

    def frequency_view(upload: Upload | None) -> str:
        try:
            return "" if upload is None else panels.frequency(scorer.load(upload.path).image)
        except (ImageError, ServerError, ValueError) as error:
            return panels.sentence(str(error))

    outputs.frequency.expand(
        frequency_view,
        image,
        outputs.spectrum,
        api_visibility="private",
        concurrency_id="score",
        show_progress="minimal",
    )


def _inputs(examples: list[str]) -> tuple[gr.Image, gr.Dataset]:
    image = raw_image(
        sources=["upload", "clipboard", "webcam"],
        label="Your picture",
        placeholder="Drop a picture here\nor click to choose one; pasting works too",
        height=340,
        buttons=["fullscreen"],
        elem_id="picture",
        alt_text="The picture that was given",
    )
    # not gr.Examples: it would replace the input by a plain gr.Image, and its cache outlives the model
    gallery = gr.Dataset(
        components=[gr.Image(type="filepath", render=False)],
        samples=[[path] for path in examples],
        type="index",
        label="No picture at hand? Try one of these",
        visible=bool(examples),
        elem_id="examples",
    )
    return image, gallery


def _outputs(*above: gr.blocks.Block) -> Outputs:
    with gr.Column(visible=False) as evidence:
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
            provenance = gr.HTML()
        with gr.Accordion("Frequency view", open=False, elem_id="frequency") as frequency:
            spectrum = gr.HTML(panels.FREQUENCY_WAIT)
        with gr.Accordion("Technical details", open=False, elem_id="details"):
            facts = gr.HTML()
            answer_json = gr.JSON(label="The answer as programs get it", show_indices=False)
    heat.input(None, heat, None, js=SET_HEAT, api_visibility="private", queue=False)
    return Outputs(*above, evidence, slider, frequency, spectrum, provenance, facts, answer_json)


def make_check(scorer: Scorer, examples: list[str]) -> Callable[[Upload | None], list]:
    """The handler that turns an upload into updates of the `Outputs`.

    Scoring the examples here makes their answers instant, and warms everything up for the first visitor: the network,
    and as many decoders as may work at the same time.
    """
    checkpoint = scorer.detector.checkpoint
    family_note = figures.family_note(figures.read_reports(checkpoint.folder, checkpoint.sha256))

    def updates(result: Verdict | Failure | None) -> list:
        return result_updates(result, scorer, family_note)

    with ThreadPoolExecutor(scorer.running) as threads:
        results = list(threads.map(lambda path: scorer.score(path, Path(path).name, heatmap=True), examples))
    known = {
        sha256_of(path): result for path, result in zip(examples, results, strict=True) if isinstance(result, Verdict)
    }

    def check(upload: Upload | None) -> list:
        if upload is None:
            return updates(None)
        return updates(known.get(sha256_of(upload.path)) or scorer.score(upload.path, upload.name, heatmap=True))

    return check


def result_updates(result: Verdict | Failure | None, scorer: Scorer, family_note: str) -> list:
    """The values of the `Outputs` for a result; None stands for no picture."""
    if not isinstance(result, Verdict):
        card = page.EMPTY if result is None else answer.failure_card(result)
        hide = gr.update(visible=False)
        return [card, hide, "", None, hide, None, gr.update(open=False), "", "", "", None]
    return [
        answer.verdict_card(result, family_note),
        gr.update(visible=True),
        summary(result),
        dataclasses.replace(result, picture=None),  # it can be read again, and would be megabytes a visitor
        gr.update(visible=True),
        (display(result.picture), result.overlay(opacity=0.95)),
        gr.update(open=False),
        panels.FREQUENCY_WAIT,
        answer.provenance(result),
        answer.details(result, scorer.detector),
        result.to_dict(),
    ]
