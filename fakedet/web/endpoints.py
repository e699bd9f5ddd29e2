"""`/predict` and `/predict_batch` for gradio_client and MCP, on hidden controls."""

from __future__ import annotations

import gradio as gr

from fakedet.verdict import Failure

from . import batch
from .errors import ServerError
from .scorer import Scorer
from .uploads import Upload, raw_files, raw_image


def endpoints(scorer: Scorer, max_files: int) -> None:
    """Adds the two endpoints to the page; their names are stable, their JSON is the same as on every surface."""
    with gr.Column(visible=False):
        image = raw_image(label="image")
        images = raw_files(label="images")
        answer, answers = gr.JSON(label="answer"), gr.JSON(label="answers")
        one, many = gr.Button("one"), gr.Button("many")

    def predict(image: Upload | None) -> dict:
        """Tells whether an image is a camera photograph or AI-generated.

        Args:
            image: The image file (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC); over MCP as a data URL,
                data:image/jpeg;base64,... Addresses are not fetched.

        Returns:
            The Verdict JSON: verdict ("real", "fake" or "unsure"), p_fake (0 to 1) and more, or an error with a code.
        """
        if image is None:
            return Failure(ServerError(400, "missing_field", "No image was sent.")).to_dict()
        return scorer.score(image.path, image.name).to_dict()

    def predict_batch(images: list[Upload]) -> list[dict]:
        """Tells for each of several images, or ZIP archives of images, whether it is a photograph or AI-generated.

        Args:
            images: The files; over MCP as data URLs.

        Returns:
            A list of Verdict JSON objects in the order of the input; an image that cannot be read is an error object.
        """
        paths = [(file.path, file.name or "image") for file in images]
        *_, done = batch.run(scorer, paths, max_files, thumbs=False)
        return [item.result.to_dict() for item in done.items]

    one.click(predict, image, answer, api_name="predict", concurrency_id="score")
    many.click(predict_batch, images, answers, api_name="predict_batch", concurrency_id="batch", concurrency_limit=1)
