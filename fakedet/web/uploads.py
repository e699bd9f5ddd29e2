"""Gradio inputs that pass on a file as it was uploaded: gradio neither opens nor re-encodes nor renames it.

The pixels are the evidence, so gradio must not save the picture again; and files from strangers are opened by
fakedet.images only. The methods are replaced on the instance because gradio writes a .pyi file beside every module that
subclasses a component, which fails where the package is read-only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr

from .scorer import base_name


@dataclass(frozen=True)
class Upload:
    """A file as it was sent.

    Attributes:
        path: On this machine.
        name: From the sender, without folders; None where there was none.
    """

    path: str
    name: str | None


def raw_image(**options: Any) -> gr.Image:
    """A gr.Image whose events get an `Upload`, or None."""
    component = gr.Image(type="filepath", image_mode=None, **options)

    def preprocess(payload: Any) -> Upload | None:
        if payload is None or not (payload.url or payload.path):
            return None
        if payload.url and payload.url.startswith("data:"):
            return Upload(_from_data_url(payload.url, component.GRADIO_CACHE), base_name(payload.orig_name))
        return Upload(payload.path, base_name(payload.orig_name))

    component.preprocess = preprocess
    return _without_addresses(component)


def raw_files(**options: Any) -> gr.File:
    """A gr.File for several files whose events get a list of `Upload`."""
    component = gr.File(file_count="multiple", **options)

    def preprocess(payload: Any) -> list[Upload]:
        files = [] if payload is None else getattr(payload, "root", [payload])
        return [Upload(file.path, base_name(file.orig_name)) for file in files]

    component.preprocess = preprocess
    return _without_addresses(component)


def sha256_of(path: str) -> str:
    """SHA-256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_addresses(component: Any) -> Any:
    """The component, which then refuses http addresses: gradio would fetch them, so strangers could steer requests."""
    move = component.async_move_resource_to_block_cache

    async def move_or_refuse(address: Any) -> str | None:
        if str(address).lower().startswith(("http://", "https://")):
            raise gr.Error("Send the image itself: addresses are not fetched here.", print_exception=False)
        return await move(address)

    component.async_move_resource_to_block_cache = move_or_refuse
    return component


def _from_data_url(url: str, folder: str) -> str:
    try:
        data = base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        data = b""  # scored as an empty file, which gives the error "empty_input"
    path = Path(folder, uuid4().hex)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)
