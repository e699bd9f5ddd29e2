"""The page's look and its standing words: theme, style, what stands there before any picture is given."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")
HEAD = '<meta name="description" content="Tells a camera photograph from an AI-generated image">'
INTRO = """<header class="fd-head"><p class="fd-mark"><svg viewBox="0 0 24 24" aria-hidden="true">
<circle cx="12" cy="12" r="9"/><circle cx="12" cy="12" r="3.4"/><path d="M12 3v5.6M21 12h-5.6M12 21v-5.6M3 12h5.6"/>
</svg>fakedet</p><h1>Photograph or AI-generated?</h1>
<p>Give a picture. You get an answer in words, how sure it is, and what it rests on. It says “unsure” rather than
guess.</p></header>"""
EMPTY = """<div class="fd-card fd-empty"><p class="fd-small">Answer</p><h2>No picture yet</h2>
<p>The answer will stand here after about a second:</p><ol>
<li><b>What it is</b>: likely a photograph, likely AI-generated, or unsure.</li>
<li><b>How sure</b>: two bars, and the mark that a bar must reach for an answer.</li>
<li><b>Why</b>: what the pixels, the file and worn copies of it say.</li></ol></div>"""
BUSY = """<div class="fd-card fd-error" role="alert"><p class="fd-small">No answer yet</p>
<h2>Very busy just now</h2><p>Too many pictures are waiting. Nothing is wrong with yours: please try again in a
moment.</p></div>"""
LIMITS = """<div class="fd-section"><h3>What it cannot tell</h3><ul class="fd-limits">
<li><b>It is a clue, not a proof.</b> It is wrong at times, most often on kinds of pictures it never learned
from: the tab “Model” says how often.</li>
<li><b>It cannot say whether a scene is true.</b> A real photograph can be staged, cropped or shown out of context.</li>
<li><b>Copies lose evidence.</b> Small, screenshotted or heavily compressed copies tell less: use the original.</li>
<li><b>Edited photographs and drawings lie in between.</b> It tells photographs from wholly generated pictures.</li>
</ul></div>"""
HEAT_HELP = """<div class="fd-section"><h3>Where the reasons lie</h3>
<p>Drag the handle: left the picture, right the same with the places marked that spoke most
for the answer. It says where, not why. In a large picture only the crops that were looked at can be marked.</p>
<div class="fd-ramp"><span>weaker</span><i role="img" aria-label="colours from dark blue over red to yellow"></i>
<span>stronger</span></div></div>"""


def theme() -> gr.themes.Base:
    """A quiet theme with the reader's own system fonts: nothing is fetched from anywhere."""
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
