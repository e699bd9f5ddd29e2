"""What the page says: verdicts, reasons, limits and facts as HTML for people. No scoring, no event handling here.

Everything that a stranger wrote (file names, model cards, metadata) goes through `escape` before it becomes HTML.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from .detector import Detector
from .verdict import Failure, Verdict

CSS = Path(__file__).with_name("page.css")
HEAD = '<meta name="description" content="Tells a camera photograph from an AI-generated image">'
NAMES = {"fake": "AI-generated", "real": "Photograph", "unsure": "Unsure", "error": "Not checked"}
EXPLAIN = {
    "fake": "The pixels look more like the work of an image generator than like a camera's.",
    "real": "The pixels look like a camera's. That speaks against an image generator; it does not prove that the "
    "scene is true or that nothing was retouched.",
    "unsure": "The signs point both ways. Take this as no answer, and look for where the picture comes from.",
}
INTRO = """<div class="fd-head"><h1>Photograph or AI-generated?</h1>
<p>Give a picture. You get an answer in words, how sure it is, and where in the picture the reasons lie.</p></div>"""
EMPTY = """<div class="fd-card"><p class="fd-small">Answer</p><h2>No picture yet</h2>
<p>The answer will stand here, in words, with how sure it is. It takes about a second.</p></div>"""
LIMITS = """<div class="fd-section"><h3>What it cannot tell</h3><ul>
<li><b>It is a clue, not a proof.</b> It is wrong at times, most often on kinds of pictures it never learned
from: the tab “Model” says how often.</li>
<li><b>It cannot say whether a scene is true.</b> A real photograph can be staged, cropped or shown out of context.</li>
<li><b>Copies lose evidence.</b> Small, screenshotted or heavily compressed copies tell less: use the original.</li>
<li><b>Edited photographs and drawings lie in between.</b> It tells photographs from wholly generated pictures.</li>
</ul></div>"""
HEAT_HELP = """<div class="fd-section"><h3>Where the reasons lie</h3>
<p>Drag the handle: on one side the picture, on the other the same picture with the places marked that spoke most
for the answer. It says where, not why. In a large picture only the crops that were looked at can be marked.</p>
<div class="fd-ramp"><span>weaker</span><i role="img" aria-label="colours from dark blue over red to yellow"></i>
<span>stronger</span></div></div>"""
# Width and height of common screens in pixels; either orientation counts.
SCREENS = frozenset(
    (int(a), int(b))
    for a, b in (
        size.split("x")
        for size in "1280x720 1280x800 1366x768 1440x900 1536x864 1600x900 1680x1050 1920x1080 1920x1200 2560x1440 "
        "2560x1600 2880x1800 3024x1964 3440x1440 3456x2234 3840x2160 1334x750 1792x828 2208x1242 2340x1080 2400x1080 "
        "2436x1125 2532x1170 2556x1179 2622x1206 2688x1242 2778x1284 2796x1290 2868x1320 3088x1440 3120x1440 3200x1440 "
        "2048x1536 2160x1620 2224x1668 2360x1640 2388x1668 2732x2048".split()
    )
)


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
        body_background_fill="white",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        stat_background_fill="*primary_700",
        stat_background_fill_dark="*primary_600",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
    )


def percent(verdict: Verdict) -> int:
    """Whole percent for the pixels' answer, as in `Verdict.headline`: at most 99, and for "unsure" that of "fake"."""
    if verdict.pixel_verdict == "unsure":
        return round(100 * verdict.p_fake)
    sure = verdict.p_fake if verdict.pixel_verdict == "fake" else 1 - verdict.p_fake
    return min(99, int(100 * sure))


def bars(verdict: Verdict) -> dict[str, float]:
    """The confidence bars, in the same whole percents as the headline."""
    share = percent(verdict) / 100
    first, second = (
        ("Photograph", "AI-generated") if verdict.pixel_verdict == "real" else ("AI-generated", "Photograph")
    )
    return {first: share, second: round(1 - share, 2)}


def hints(verdict: Verdict) -> list[str]:
    """What a reader should know of this picture: the verdict's own notes, and what its size and format suggest."""
    facts, found = verdict.image, list(verdict.notes)
    size, pixels = (facts["width"], facts["height"]), facts["width"] * facts["height"]
    if facts["format"] in ("JPEG", "WEBP") and facts["bytes"] and pixels > 4096 and 8 * facts["bytes"] / pixels < 0.6:
        found.append("The file is heavily compressed, which wipes out fine traces: an original would tell more.")
    if facts["format"] == "PNG" and (size in SCREENS or size[::-1] in SCREENS):
        found.append("Its size is that of a screen. A screenshot tells of the screen too: use the original if you can.")
    return found


def verdict_card(verdict: Verdict) -> str:
    """The answer: in words, why, and what to know about it."""
    share, why = percent(verdict), escape(EXPLAIN[verdict.verdict])
    if verdict.decided_by != "pixels":  # the file's own declaration, not the score, gave the answer
        first, second, *_ = (*verdict.provenance["sentences"], "")
        why, odds = escape(first), escape(second)
    elif verdict.verdict == "unsure":
        odds = "Between the two it does not decide."
    else:
        kind = "AI-generated" if verdict.verdict == "fake" else "photographs"
        odds = f"Of 100 pictures that score like this one, about {share} are {kind}, if yours is of a kind it learned."
    notes = "".join(f"<li>{escape(note)}</li>" for note in hints(verdict))
    return (
        f'<div class="fd-card fd-{verdict.verdict}" role="status"><p class="fd-small">Answer{_for(verdict.file)}</p>'
        f"<h2>{escape(verdict.headline)}</h2><p>{why}</p>"
        f'<p class="fd-quiet">{odds}</p>' + (f"<ul>{notes}</ul>" if notes else "") + "</div>"
    )


def provenance(verdict: Verdict) -> str:
    """What the file says about itself; every text in it is a stranger's and is shown as text."""
    if verdict.origin is None:
        return "<p>Nothing could be read: there is no file.</p>"
    found, joined = verdict.origin
    return found.to_html(joined)


def error_card(failure: Failure) -> str:
    """The one sentence that says why there is no answer."""
    return (
        f'<div class="fd-card fd-error" role="alert"><p class="fd-small">No answer{_for(failure.file)}</p>'
        f"<h2>This file cannot be checked</h2><p>{escape(str(failure.error))}</p></div>"
    )


def _for(name: str | None) -> str:
    return f" for {escape(name)}" if name else ""


def table(rows: Iterable[tuple[str, Any]]) -> str:
    """Two columns: what, and its value."""
    row = '<tr><th scope="row">{}</th><td>{}</td></tr>'
    cells = "".join(row.format(escape(name), escape(str(value))) for name, value in rows)
    return f'<table class="fd-table"><tbody>{cells}</tbody></table>'


def details(verdict: Verdict, detector: Detector) -> str:
    """Technical facts of one answer."""
    facts, model, ms, config = verdict.image, verdict.model, verdict.ms, detector.config
    low, high = verdict.unsure_band
    tiny = min(facts["width"], facts["height"]) < config.tiny_side
    temperature, bias, _ = config.calibration(tiny)
    return table(
        [
            ("Probability of AI-generated", f"{verdict.p_fake:.4f}"),
            ("Raw score (logit)", f"{verdict.logit:+.4f}"),
            ("Calibration", f"temperature {temperature:.4g}, bias {bias:.4g}"),
            ("Threshold", f"{verdict.threshold:g}"),
            ("Answered as unsure", f"between {low:.2f} and {high:.2f}" if high > low else "never (no band is set)"),
            ("Views scored", f"{verdict.views}, {config.input_size} x {config.input_size} pixels each"),
            ("Time", ", ".join(f"{name} {value:.0f} ms" for name, value in ms.items())),
            ("Model", f"{model['id']}, revision {model['revision'] or 'none'}, {model['runtime']}"),
            ("Weights (SHA-256)", model["sha256"]),
            ("Picture", f"{facts['width']} x {facts['height']} pixels, {facts['format']}, stored as {facts['mode']}"),
            ("File", f"{facts['bytes']:,} bytes, SHA-256 {facts['sha256']}" if facts["bytes"] else "none"),
        ]
    )
