"""The page's tabs: which controls there are, and what happens when one is used. What they say stands in page.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import gradio as gr

from . import batch, page, panels
from .api import Scorer, ServerError
from .detector import Detector
from .heatmap import display
from .images import ImageError
from .uploads import Upload, raw_files, raw_image
from .verdict import Failure

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
        with gr.Column(scale=6, min_width=300):
            card = gr.HTML(page.EMPTY, elem_id="answer")
            bars = gr.Label(label="How sure", show_heading=False, visible=False, elem_id="bars")
    if examples:
        gr.Examples(
            [[path] for path in examples],
            inputs=image,
            label="Or try one of these",
            cache_examples=False,
            api_visibility="private",
        )
    with gr.Column(visible=False) as reasons:
        gr.HTML(page.HEAT_HELP)
        slider = gr.ImageSlider(
            label="Left plain, right marked",
            slider_position=50,
            max_height=520,
            interactive=False,
            elem_id="overlay",
            buttons=["fullscreen"],
        )
        heat = gr.Slider(0, 1, HEAT, step=0.05, label="Strength of the marks", elem_id="heat", container=True)
        with gr.Accordion("Frequency view", open=False, elem_id="frequency") as frequency:
            waves = gr.HTML(panels.FREQUENCY_WAIT)
        with gr.Accordion("What the file says about itself", open=False, elem_id="provenance"):
            origin = gr.HTML()
        with gr.Accordion("Technical details", open=False, elem_id="details"):
            facts = gr.HTML()
            answer_json = gr.JSON(label="The answer as programs get it", show_indices=False)
    gr.HTML(page.LIMITS)

    def check(upload: Upload | None) -> list:
        nothing = [gr.update(visible=False), gr.update(visible=False), None, gr.update(open=False), "", "", "", None]
        if upload is None:
            return [page.EMPTY, *nothing]
        result = scorer.score(upload.path, upload.name, heatmap=True)
        if isinstance(result, Failure):
            return [page.error_card(result), *nothing]
        return [
            page.verdict_card(result),
            gr.update(
                value=page.bars(result),
                visible=True,
                label="How sure" if result.decided_by == "pixels" else "What the pixels alone say",
            ),
            gr.update(visible=True),
            (display(result.picture), result.overlay(opacity=0.95)),
            gr.update(open=False),
            panels.FREQUENCY_WAIT,
            page.provenance(result),
            page.details(result, scorer.detector),
            result.to_dict(),
        ]

    image.change(
        check,
        image,
        [card, bars, reasons, slider, frequency, waves, origin, facts, answer_json],
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_id="score",
        show_progress="minimal",
        show_progress_on=card,
    )

    def look(upload: Upload | None) -> str:
        try:
            return "" if upload is None else panels.frequency(scorer.load(upload.path).image)
        except (ImageError, ServerError, ValueError) as error:
            return panels.sentence(str(error))

    frequency.expand(look, image, waves, api_visibility="private", concurrency_id="score", show_progress="minimal")
    heat.input(None, heat, None, js=SET_HEAT, api_visibility="private", queue=False)


def many_pictures(scorer: Scorer, most: int) -> None:
    """Files or ZIP archives in; progress, a gallery, a table and downloads out."""
    gr.HTML(panels.many_intro(most))
    files = raw_files(
        file_types=["image", ".zip"],
        label="Pictures, or a ZIP of a folder",
        height=180,
        elem_id="files",
    )
    with gr.Row():
        start = gr.Button("Check all", variant="primary", elem_id="start")
        stop = gr.Button("Stop", elem_id="stop")
    state = gr.HTML(elem_id="batch-state")
    with gr.Row(visible=False) as downloads:
        as_csv = gr.DownloadButton("Download as CSV", elem_id="csv")
        as_json = gr.DownloadButton("Download as JSON", elem_id="json")
    cards = gr.HTML(elem_id="gallery")
    with gr.Accordion("The same as a table", open=False, visible=False, elem_id="table") as fold:
        table = gr.HTML()

    def check(uploads: list[Upload]) -> Iterator[list]:
        folder = Path(files.GRADIO_CACHE, uuid4().hex)
        folder.mkdir(parents=True)
        hidden = [gr.update(visible=False), gr.update(), gr.update()]
        shown, found = 0.0, None
        for found in batch.run(scorer, [(u.path, u.name or "image") for u in uploads], most):
            if time.monotonic() - shown > 2:  # the gallery grows; sending it for each picture would be most of the work
                shown = time.monotonic()
                yield [batch.summary(found), *hidden, batch.gallery(found), gr.update(visible=False), ""]
        if found.total == 0:
            yield [batch.summary(found, done=True), *hidden, "", gr.update(visible=False), ""]
            return
        csv_path, json_path = batch.write_files(found, folder)
        yield [
            batch.summary(found, done=True),
            gr.update(visible=True),
            csv_path,
            json_path,
            batch.gallery(found),
            gr.update(visible=True),
            batch.as_table(found),
        ]

    run = start.click(
        check,
        files,
        [state, downloads, as_csv, as_json, cards, fold, table],
        api_visibility="private",
        concurrency_id="batch",
        concurrency_limit=1,
        show_progress="hidden",
    )
    stop.click(None, cancels=[run], api_visibility="private")


def the_model(detector: Detector) -> None:
    """What answers, and its own card."""
    gr.HTML(panels.model_facts(detector))
    gr.Markdown(panels.model_card(detector), elem_id="card")


def endpoints(scorer: Scorer, most: int) -> None:
    """`/predict` and `/predict_batch` for gradio_client and MCP: stable names, the same JSON as everywhere."""
    with gr.Column(visible=False):
        image = raw_image(label="image")
        images = raw_files(label="images")
        answer, answers = gr.JSON(label="answer"), gr.JSON(label="answers")
        one, many = gr.Button("one"), gr.Button("many")

    def predict(image: Upload | None) -> dict:
        """Tells whether an image is a camera photograph or AI-generated.

        Args:
            image: The image file: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC.

        Returns:
            The Verdict JSON: verdict ("real", "fake" or "unsure"), p_fake (0 to 1) and more, or an error with a code.
        """
        if image is None:
            return Failure(ServerError(400, "missing_field", "No image was sent.")).to_dict()
        return scorer.score(image.path, image.name).to_dict()

    def predict_batch(images: list[Upload]) -> list[dict]:
        """Tells for each of several images, or ZIP archives of images, whether it is a photograph or AI-generated.

        Args:
            images: The files.

        Returns:
            A list of Verdict JSON objects in the order of the input; an image that cannot be read is an error object.
        """
        paths = [(file.path, file.name or "image") for file in images]
        found = None
        for found in batch.run(scorer, paths, most, thumbs=False):
            pass
        return [item.result.to_dict() for item in found.items]

    one.click(predict, image, answer, api_name="predict", concurrency_id="score")
    many.click(predict_batch, images, answers, api_name="predict_batch", concurrency_id="batch", concurrency_limit=1)
