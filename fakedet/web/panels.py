"""The page's further panels as HTML and Markdown: frequencies, the model, what programs need, the privacy note."""

from __future__ import annotations

import base64
import io
import re
from html import escape

from PIL import Image

from fakedet.detector import Detector
from fakedet.network.families import OTHER

from . import spectrum
from .answer import table

WAITING = '<div class="fd-card" role="status"><p class="fd-small">Waiting for its turn</p><h2>Starting</h2></div>'
FREQUENCY_WAIT = '<p class="fd-quiet">Working ...</p>'


def source_line(detector: Detector, why: str) -> str:
    """Which model answers and why; a warning where it is not the one that was asked for."""
    asked_for_other = why != detector.checkpoint.note
    return f'<div class="fd-source{" fd-warn" if asked_for_other else ""}">Model: {escape(why)}</div>'


def model_facts(detector: Detector) -> str:
    """The loaded checkpoint in a table."""
    config, facts = detector.config, detector.model_facts
    return '<div class="fd-section"><h3>What answers now</h3></div>' + table(
        [
            ("Checkpoint", facts["id"]),
            ("Revision", facts["revision"] or "none"),
            ("Network", f"{config.backbone}, then {config.hidden_size} units, then one"),
            ("Sees", f"up to {config.max_views} crops of {config.input_size} x {config.input_size} pixels"),
            (
                "Threshold, unsure band",
                f"{config.threshold:g}, {config.unsure_band[0]:.3f} to {config.unsure_band[1]:.3f}",
            ),
            ("Names the generator family", families(config)),
            ("Runs on", facts["runtime"]),
            ("Weights (SHA-256)", facts["sha256"]),
        ]
    )


def families(config) -> str:
    """Which families of generators the checkpoint names, and from when."""
    names = ", ".join(name for name in config.families if name != OTHER)
    return f"{names}; from {config.family_threshold:.0%} on".replace("%", " %") if names else "no"


def model_card(detector: Detector) -> str:
    """The checkpoint's own card as Markdown that loads nothing: no front matter, images become links, HTML is text."""
    try:
        text = (detector.checkpoint.folder / "README.md").read_text(encoding="utf-8", errors="replace")[:100_000]
    except OSError:
        return "*This checkpoint comes without a model card.*"
    text = re.sub(r"\A---\n.*?\n---\n|<!--.*?-->", "", text, flags=re.DOTALL)  # front matter, and comments
    return re.sub(r"<(?=[/!a-zA-Z])", "&lt;", text.replace("![", "["))


def privacy(minutes: float) -> str:
    """The note at the foot of the page."""
    return (
        '<div class="fd-foot"><p><b>Your pictures</b> go to this server and nowhere else. They lie in a temporary '
        f"folder for about {minutes:g} minutes, so that this page can show them, and are then deleted. Nothing is "
        "kept, counted or learned from, and this page talks to no other host.</p></div>"
    )


def sentence(text: str) -> str:
    """One plain sentence."""
    return f'<p class="fd-quiet">{escape(text)}</p>'


def frequency(image: Image.Image) -> str:
    """The log spectrum and its radial profile, with how to read them."""
    power = spectrum.power(image)
    profile = spectrum.radial_profile(power)
    buffer = io.BytesIO()
    spectrum.picture(power).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        '<div class="fd-section"><p>How much coarse and fine structure the picture holds (the line). Nine in ten '
        "photographs lie in the grey band, but so do nearly as many AI-generated pictures, and resizing or compressing "
        "moves the line as well. It is for the curious: <b>the answer does not use it</b>.</p></div>"
        '<div class="fd-waves">'
        f"{spectrum.chart(profile)}"
        f'<figure><img src="data:image/png;base64,{data}" alt="Log spectrum of the picture">'
        "<figcaption>Spectrum: coarse structure in the middle, fine structure outside. A regular grid of bright dots "
        "often comes from a generator or from JPEG blocks.</figcaption></figure></div>"
    )


def many_intro(most: int) -> str:
    """What the second tab does."""
    return (
        f'<div class="fd-section"><p>Up to {most} pictures at a time, as files, a folder or a ZIP. The most likely '
        "AI-generated come first. A file that cannot be read is told in its row and stops nothing.</p></div>"
    )


def programs(mcp: bool, address: str) -> str:
    """Markdown on how programs ask; all answers are the same JSON."""
    text = """
## REST
One image gives one JSON object, several give a list. Errors have a code and an HTTP status.

```bash
curl -F image=@photo.jpg ADDRESS/predict
curl -F image=@one.jpg -F image=@two.png ADDRESS/predict
curl ADDRESS/health
curl ADDRESS/model
```
The description for tools is at `ADDRESS/openapi.json`.

## Python
```python
from gradio_client import Client, handle_file

client = Client("ADDRESS")
answer = client.predict(handle_file("photo.jpg"), api_name="/predict")
answers = client.predict([handle_file("a.jpg"), handle_file("b.jpg")], api_name="/predict_batch")
```

## JavaScript
```js
const form = new FormData();
form.append("image", file);
const answer = await (await fetch("ADDRESS/predict", { method: "POST", body: form })).json();
```

## The answer
`verdict` is "real", "fake" or "unsure"; `p_fake` is the probability, from 0 to 1, that the image is AI-generated.
`pixel_verdict` is what the pixels alone say, and `decided_by` whether they or a declaration in the file decided.
`stability` tells what compressed and smaller copies of the image would get: where one gets the other answer, the
verdict is "unsure". `generator` gives the probability of each family of generators, the most likely first; it is null
unless the pixels decide for "fake" and one family is likely enough. `schema` is "1": fields may be added, none will be
renamed. An image that cannot be scored gives
`{"schema": "1", "file": ..., "error": {"code": ..., "message": ...}}`.
"""
    if mcp:
        text += (
            "\n## MCP\nThe tools `predict` and `predict_batch` are at `ADDRESS/gradio_api/mcp/`, which is all that an "
            "agent needs. They take images as data URLs (`data:image/jpeg;base64,...`) and answer the same JSON.\n"
        )
    return text.replace("ADDRESS", address)
