"""Small panels of the page: the model line, the frequency view, the page for programs, the privacy note."""

from __future__ import annotations

import base64
import io

from PIL import Image

from . import spectrum
from .render import render
from .served import ServedModel

FREQUENCY_WAIT = render("quiet.html", text="Computing ...")


def model_line(served: ServedModel) -> str:
    """Which model answers and why; a warning where it is not the one that was asked for."""
    return render("model_line.html", fallback=served.fallback, why=served.why)


def privacy(minutes: float, feedback: bool = False) -> str:
    """The note at the foot of the page.

    Args:
        minutes: How long an uploaded picture is kept.
        feedback: Whether the page asks for reports of wrong answers.
    """
    return render("privacy.html", minutes=f"{minutes:g}", feedback=feedback)


def sentence(text: str) -> str:
    """One plain sentence."""
    return render("quiet.html", text=text)


def frequency(image: Image.Image) -> str:
    """The log spectrum and its radial profile, with how to read them.

    Args:
        image: RGB, at least `spectrum.MIN_SIDE` pixels a side.

    Raises:
        ValueError: The picture is too small.
    """
    power = spectrum.power(image)
    buffer = io.BytesIO()
    spectrum.picture(power).save(buffer, "PNG")
    return render(
        "frequency.html",
        chart=spectrum.chart(spectrum.radial_profile(power)),
        spectrum=base64.b64encode(buffer.getvalue()).decode(),
    )


def programs(mcp: bool, address: str) -> str:
    """Markdown on how programs ask; every way gives the same JSON.

    Args:
        mcp: Whether the MCP endpoint is up.
        address: Of this app, without a slash at the end.
    """
    return render("programs.md", mcp=mcp, address=address)
