"""The page's theme, style and script, and the HTML that does not depend on a picture."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from .render import render

CSS = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")
HEAD = '<meta name="description" content="Tells a camera photograph from an AI-generated image">'
INTRO, EMPTY, BUSY = render("intro.html"), render("empty.html"), render("busy.html")
WAITING, HEAT_HELP = render("waiting.html"), render("heat_help.html")


def theme() -> gr.themes.Base:
    """A plain theme with the reader's system fonts: nothing is fetched from another host."""
    return gr.themes.Base(
        primary_hue="teal",
        secondary_hue="slate",
        neutral_hue="slate",
        radius_size="lg",
        font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    ).set(
        body_background_fill="#f4f6f8",
        body_background_fill_dark="#0e141b",
        body_text_color="#17212b",
        body_text_color_dark="#e8edf2",
        background_fill_primary_dark="#161f29",
        block_background_fill="white",
        block_background_fill_dark="#161f29",
        block_shadow="none",
        block_label_background_fill_dark="#1d2833",
        input_background_fill_dark="#1d2833",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        block_border_width="1px",
        button_secondary_background_fill="#e6ebf0",
        button_secondary_background_fill_dark="#2a3744",
        block_border_color="*neutral_200",
        block_border_color_dark="#2b3947",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        slider_color="*primary_700",
        slider_color_dark="*primary_500",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
    )


def show_busy(event: gr.events.Dependency, card: gr.HTML) -> None:
    """Puts "busy" into the card when the queue refuses an event; gradio alone would show a toast for seconds."""
    event.failure(None, None, card, js=f"() => {json.dumps(BUSY)}", api_visibility="private", queue=False)
