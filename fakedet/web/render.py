"""Renders the templates. Autoescape is on for all of them, and none may mark a value as safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

# Characters that mean something to HTML or Markdown, each as a numeric reference: one pass, so that none is escaped
# twice.
_MARKDOWN_ENTITIES = {ord(c): f"&#{ord(c)};" for c in "&<>\"'\\`*_{}[]()#+-.!|~$:@"}


def escape_markdown(text: Any) -> Markup:
    """Escapes a text for HTML, and for Markdown in case the result is put into a Markdown component."""
    # the translation is the escaping that these two rules ask for
    return Markup(str(text).translate(_MARKDOWN_ENTITIES))  # noqa: S704  # nosec B704


def percent(share: float, digits: int = 0) -> str:
    """A share of 0..1 as percent with a space before the sign: 0.931 gives "93 %"."""
    return f"{100 * share:.{digits}f} %"


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"escape_markdown": escape_markdown, "percent": percent}


def render(template: str, **values: Any) -> str:
    """The text of a template with these values.

    Args:
        template: File name in templates/.
        values: Plain data; strings are escaped where the template puts them.

    Raises:
        jinja2.UndefinedError: The template uses a value that was not given.
    """
    return _environment.get_template(template).render(values)
