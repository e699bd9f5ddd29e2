"""The tab "Model": how good the checkpoint is, its limits, its settings and its model card."""

from __future__ import annotations

import re

import gradio as gr

from fakedet.detector import Detector
from fakedet.network.families import OTHER
from fakedet.network.settings import Settings

from . import figures
from .render import percent, render

MAX_CARD_CHARS = 100_000


def the_model(detector: Detector) -> None:
    """Builds the tab: figures where they lie beside the checkpoint, limits, and the rest folded away."""
    checkpoint = detector.checkpoint
    tested = figures.to_html(figures.read_reports(checkpoint.folder, checkpoint.sha256))
    if tested:
        gr.HTML(tested, elem_id="figures")
    gr.HTML(render("limits.html", how_often="The figures above show how often." if tested else ""))
    with gr.Accordion("Checkpoint and settings", open=False, elem_id="model"):
        gr.HTML(render("facts.html", rows=model_facts(detector)))
    with gr.Accordion("Model card", open=False, elem_id="model-card"):
        gr.Markdown(model_card(detector), elem_id="card")


def model_facts(detector: Detector) -> list[tuple[str, str]]:
    """The loaded checkpoint as (name, value)."""
    config, facts = detector.config, detector.model_facts
    low, high = config.unsure_band
    return [
        ("Checkpoint", facts["id"]),
        ("Revision", facts["revision"] or "none"),
        ("Network", f"{config.backbone}, then {config.hidden_size} units, then one"),
        ("Sees", f"up to {config.max_views} views of {config.input_size} x {config.input_size} pixels"),
        ("Threshold, unsure band", f"{config.threshold:g}, {low:.3f} to {high:.3f}"),
        ("Names the generator family", named_families(config)),
        ("Runs on", facts["runtime"]),
        ("Weights (SHA-256)", facts["sha256"]),
    ]


def named_families(config: Settings) -> str:
    """The families of generators that the checkpoint names, and the probability from which it does."""
    names = ", ".join(name for name in config.families if name != OTHER)
    return f"{names}; from {percent(config.family_threshold)} on" if names else "no"


def model_card(detector: Detector) -> str:
    """The checkpoint's own card as Markdown that loads nothing: no front matter, images become links, HTML is text."""
    try:
        text = (detector.checkpoint.folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "*This checkpoint comes without a model card.*"
    text = re.sub(r"\A---\n.*?\n---\n|<!--.*?-->", "", text[:MAX_CARD_CHARS], flags=re.DOTALL)  # and no comments
    return re.sub(r"<(?=[/!a-zA-Z])", "&lt;", text.replace("![", "["))
