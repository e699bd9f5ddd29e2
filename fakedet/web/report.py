"""An answer as one HTML file that can be passed on: picture, marked picture, evidence and limits.

The file holds its pictures and its style. It has no script, its content security policy forbids every request, and
texts that a stranger wrote are shown as text.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from datetime import datetime
from pathlib import Path

from PIL import Image

from fakedet.detector import Detector
from fakedet.network.heatmap import display
from fakedet.verdict import Verdict

from . import answer
from .render import render
from .scorer import base_name
from .summary import date, summary

CSS = Path(__file__).with_name("page.css")
JPEG_QUALITY = 90


def html_report(verdict: Verdict, detector: Detector, when: datetime | None = None) -> str:
    """The report of one answer.

    Args:
        verdict: Made with `heatmap=True`; it holds the picture.
        detector: That made it.
        when: Time of the answer; by default now.

    Returns:
        A whole HTML document of a few hundred kilobytes. The pictures in it are at most 768 pixels long and carry no
        metadata; of the file's name only the last part is shown.

    Raises:
        ValueError: The verdict was made without `heatmap=True`.
    """
    verdict = dataclasses.replace(verdict, file=base_name(verdict.file))
    marked = verdict.overlay()
    parts = [
        render("report_head.html", headline=verdict.headline, file=verdict.file),
        f"<style>\n{CSS.read_text(encoding='utf-8')}</style>\n",
        render("report_top.html", made=date(when)),
        answer.verdict_card(verdict),
        render("report_pictures.html", picture=as_base64(display(verdict.picture)), marked=as_base64(marked)),
        render("report_heading.html", text="What the file says about itself"),
        answer.provenance(verdict),
        render("report_heading.html", text="How to read this report"),
        render("limits.html", how_often=""),
        render("report_heading.html", text="Technical details"),
        answer.details(verdict, detector),
        render("report_end.html", summary=summary(verdict, when)),
    ]
    return "".join(parts)


def as_base64(image: Image.Image) -> str:
    """A picture as base64 of a JPEG; it gets no metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
