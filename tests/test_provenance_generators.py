"""Generator records: every tool's own format is read, and ordinary text is no record."""

from __future__ import annotations

import json
import struct

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from provenance_material import (
    A1111,
    DRAW,
    GRAPH,
    JSONS,
    MIDJOURNEY,
    PNG_RECORDS,
    PROMPT,
    comment_exif,
    png,
    save,
    xmp,
)

from fakedet.provenance import read_provenance


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
@pytest.mark.parametrize("tool", PNG_RECORDS)
def test_every_generators_png_record_is_read(tool, kind):
    # A user sees which tool, and the prompt word for word, markup and accents included.
    result = read_provenance(png(PNG_RECORDS[tool], kind)).generator
    assert (result["tool"], result["prompt"].split(" --")[0]) == (tool, PROMPT)
    assert result["seed"] in ("42", "123456789012")


def test_settings_of_a_parameters_text_are_read():
    # Prompt, model, seed and sampler are shown where present.
    result = read_provenance(png({"parameters": A1111 + "Version: v1.10.1"})).generator
    assert result["model"] == "foxModel_v2" and result["sampler"] == "DPM++ 2M Karras" and result["steps"] == "20"
    assert result["negative_prompt"] == "blurry, low quality" and result["container_field"] == "PNG parameters"


def test_comfyui_graph_is_followed_to_the_positive_prompt():
    # The prompt stands in another node than the sampler; the negative one must not be taken for it.
    result = read_provenance(png({"prompt": json.dumps(GRAPH)})).generator
    assert (result["prompt"], result["negative_prompt"]) == (PROMPT, "blurry")
    assert (result["model"], result["sampler"], result["steps"]) == ("foxModel_v2", "euler", "25")


def test_comfyui_graph_with_a_loop_ends():
    # A graph from a stranger may point at itself.
    graph = {"3": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "conditioning": ["3", 0], "seed": 1}}}
    assert read_provenance(png({"prompt": json.dumps(graph)})).generator["seed"] == "1"


@pytest.mark.parametrize("old", [
    {"sd-metadata": json.dumps({"model_weights": "m", "image": {"prompt": [{"prompt": PROMPT}], "seed": 42}})},
    {"Dream": f'"{PROMPT}" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms'},
])  # fmt: skip
def test_older_invokeai_records_are_read(old):
    # Files made in 2022 are still around.
    result = read_provenance(png(old)).generator
    assert (result["tool"], result["prompt"], result["seed"]) == ("InvokeAI", PROMPT, "42")


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_parameters_in_user_comment_are_read(fmt, encoding):
    # Writers disagree on the byte order of UNICODE comments.
    result = read_provenance(save(fmt, exif=comment_exif(A1111, encoding=encoding))).generator
    assert (result["prompt"], result["seed"]) == (PROMPT, "123456789012")
    assert result["container_field"] == "EXIF UserComment"


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("tool", JSONS)
def test_json_records_in_user_comment_are_read(tool, fmt):
    # SwarmUI, Fooocus and others write JSON there when the file is no PNG.
    exif = comment_exif(json.dumps(JSONS[tool]), b"ASCII\0\0\0", "utf-8")
    result = read_provenance(save(fmt, exif=exif)).generator
    assert (result["tool"], result["prompt"], result["seed"]) == (tool, PROMPT, "42")


def test_comfyui_webp_is_not_taken_for_a_camera():
    # Its writer puts the graph into the tags Make and Model.
    exif = Image.Exif()
    exif[0x0110], exif[0x010F] = "prompt:" + json.dumps(GRAPH), "workflow:" + json.dumps({"nodes": []})
    result = read_provenance(save("WEBP", exif=exif))
    assert result.generator["tool"] == "ComfyUI" and result.generator["prompt"] == PROMPT
    assert result.camera is None


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_draw_things_record_in_xmp_is_read(fmt):
    # Draw Things writes XMP only.
    alt = "<rdf:Alt><rdf:li>{}</rdf:li></rdf:Alt>"
    text = json.dumps(DRAW).replace("<", "&lt;")
    packet = xmp('xmp:CreatorTool="Draw Things"', f"<exif:UserComment>{alt.format(text)}</exif:UserComment>")
    if fmt == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        data = save("PNG", pnginfo=info)
    else:
        data = save(fmt, xmp=packet)
    result = read_provenance(data).generator
    assert (result["tool"], result["prompt"], result["container_field"]) == ("Draw Things", PROMPT, "XMP UserComment")


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_midjourney_description_in_exif_is_read(fmt):
    # The same text stands in other containers too.
    exif = Image.Exif()
    exif[0x010E] = MIDJOURNEY
    result = read_provenance(save(fmt, exif=exif)).generator
    assert (result["tool"], result["model"], result["seed"]) == ("Midjourney", "v6.1", "42")


@pytest.mark.parametrize(("text", "tool"), [
    ("Made with Google AI", "Google AI"), ("DALL·E 3", "DALL-E"), ("DALL-E", "DALL-E"), ("Midjourney", "Midjourney"),
    ("Adobe Firefly 3.0", "Adobe Firefly"), ("ComfyUI", "ComfyUI"),
])  # fmt: skip
def test_names_of_generators_are_recognised(text, tool):
    # Hosted services leave no prompt, only their name.
    assert read_provenance(save("JPEG", xmp=xmp(f'photoshop:Credit="{text}"'))).generator["tool"] == tool
    raw = text.encode() + b"\0" * 4
    entry = struct.pack("<HHII", 0x131, 2, len(raw), 26)
    exif = b"II*\0\x08\0\0\0\1\0" + entry + b"\0\0\0\0" + raw
    assert read_provenance(save("WEBP", exif=exif)).generator["tool"] == tool


@pytest.mark.parametrize("text", [
    "Adobe Photoshop 25.0", "Leonardo Rossi", "Gemini Observatory", "GIMP 2.10", "Imagen del día", "Meta Airlines",
    "Stable by Diffuse Light", "Edited with Google AI",
])  # fmt: skip
def test_other_names_are_not_taken_for_generators(text):
    # A photographer, an observatory and an editor are no proof of AI.
    assert read_provenance(save("JPEG", xmp=xmp(f'photoshop:Credit="{text}"'))).generator is None


@pytest.mark.parametrize("texts", [
    {"prompt": "what I was asked to photograph"}, {"parameters": "f/8, 1/250 s, ISO 100"},
    {"Comment": "{}"}, {"prompt": "{"}, {"workflow": "[1, 2]"}, {"Description": "Job ID: 7"}, {"Software": "gnome"},
])  # fmt: skip
def test_ordinary_texts_are_no_record(texts):
    # A key alone proves nothing: the text must be what the tool writes.
    assert read_provenance(png(texts)).generator is None
