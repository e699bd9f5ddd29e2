"""MCP tools answer in JSON: gradio would send the `repr` of a dict, which other programs cannot parse."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import gradio as gr


def mcp_installed() -> bool:
    """Whether the page can serve MCP (pip install mcp)."""
    return importlib.util.find_spec("mcp") is not None


def answer_in_json(demo: gr.Blocks) -> None:
    """Makes the tools of a page that was mounted with `mcp_server=True` return each output as one JSON text."""
    server: Any = demo.mcp_server_obj
    if server is None:
        return

    def as_json(data: list[Any], root_url: str) -> list[Any]:
        return [server.types.TextContent(type="text", text=json.dumps(output)) for output in data]

    server.postprocess_output_data = as_json
