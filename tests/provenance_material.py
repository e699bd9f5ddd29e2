"""Files with metadata that the tests of `fakedet.provenance` share."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

PROMPT = "a <b>red</b> fox, *golden* hour, é"
A1111 = (
    f"{PROMPT}\nNegative prompt: blurry, low quality\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, "
    'Seed: 123456789012, Size: 512x512, Model hash: abcdef, Model: foxModel_v2, Lora hashes: "a: 1, b: 2", '
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 42, "steps": 25, "sampler_name": "euler", "positive": ["6", 0], "negative": ["7", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "foxModel_v2"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
}  # fmt: skip
NAI = {"prompt": PROMPT, "uc": "blurry", "seed": 42, "sampler": "k_euler", "steps": 28}
SWARM = {"sui_image_params": {"prompt": PROMPT, "model": "foxModel_v2", "seed": 42, "sampler": "euler", "steps": 20}}
FOOOCUS = {
    "prompt": PROMPT, "negative_prompt": "blurry", "base_model": "foxModel_v2", "seed": "42", "sampler": "dpmpp",
    "steps": 30, "metadata_scheme": "fooocus", "version": "Fooocus v2.5.0",
}  # fmt: skip
INVOKE = {
    "positive_prompt": PROMPT, "negative_prompt": "blurry", "seed": 42, "scheduler": "euler", "steps": 30,
    "model": {"name": "foxModel_v2"}, "app_version": "4.2.0",
}  # fmt: skip
DRAW = {"c": PROMPT, "uc": "blurry", "seed": 42, "sampler": "DPM++", "steps": 20, "model": "foxModel_v2"}
MIDJOURNEY = f"{PROMPT} --ar 3:2 --seed 42 --v 6.1 Job ID: 01234567-89ab-cdef-0123-456789abcdef"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" {attributes}>{body}'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def picture(width=96, height=64, seed=0):
    """A smooth colour picture: compresses like a photo, and differs by seed."""
    small = np.random.default_rng(seed).integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def save(fmt, image=None, **options):
    out = io.BytesIO()
    (image or picture()).save(out, fmt, **options)
    return out.getvalue()


def png(texts, kind="tEXt"):
    info = PngInfo()
    for key, value in texts.items():
        if kind == "iTXt":
            info.add_itxt(key, value)
        else:
            info.add_text(key, value.encode("utf-8"), zip=kind == "zTXt")
    return save("PNG", pnginfo=info)


def comment_exif(text, code=b"UNICODE\0", encoding="utf-16-be"):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = code + text.encode(encoding)
    return exif.tobytes()


def xmp(attributes="", body=""):
    return XMP.format(attributes=attributes, body=body).encode()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(name, body):
    """A PNG with one more chunk in front of its pixels."""
    data = save("PNG")
    return data[:33] + chunk(name, body) + data[33:]


def jpeg_with(*segments):
    return (
        b"\xff\xd8"
        + b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(b) + 2) + b for m, b in segments)
        + (save("JPEG")[2:])
    )


JSONS = {"SwarmUI": SWARM, "Fooocus": FOOOCUS, "NovelAI": NAI, "Draw Things": DRAW, "InvokeAI": INVOKE}
PNG_RECORDS = {
    "Stable Diffusion web UI (AUTOMATIC1111)": {"parameters": A1111 + "Version: v1.10.1"},
    "Stable Diffusion web UI Forge": {"parameters": A1111 + "Version: f2.0.1v1.10.1-previous-224"},
    "ComfyUI": {"prompt": json.dumps(GRAPH), "workflow": json.dumps({"nodes": []})},
    "InvokeAI": {"invokeai_metadata": json.dumps(INVOKE)},
    "NovelAI": {"Software": "NovelAI", "Description": PROMPT, "Comment": json.dumps(NAI)},
    "Fooocus": {"fooocus_scheme": "fooocus", "parameters": json.dumps(FOOOCUS)},
    "SwarmUI": {"parameters": json.dumps(SWARM)},
    "Midjourney": {"Description": MIDJOURNEY, "Author": "someone"},
    "Easy Diffusion": {"prompt": PROMPT, "seed": "42", "use_stable_diffusion_model": "foxModel_v2"},
}


def camera_exif(**detail):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Maker", "Model 5", "Adobe Photoshop 25.0"
    exif.get_ifd(0x8769).update({
        0x829A: IFDRational(1, 250), 0x829D: IFDRational(28, 10), 0x8827: 200, 0x920A: IFDRational(50),
        0xA434: "50mm F1.8", 0x927C: b"MakerNote data" * 4, 0x9003: "2024:05:06 07:08:09",
    } | detail)  # fmt: skip
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)})
    return exif


def thumbnail_exif(preview):
    """Big-endian EXIF with a preview in its second directory, as cameras write it."""
    raw = save("JPEG", preview)
    first = struct.pack(">H", 1) + struct.pack(">HHI4s", 0x10F, 2, 4, b"Cam\0") + struct.pack(">I", 26)
    second = struct.pack(">H", 2) + struct.pack(">HHII", 0x201, 4, 1, 56) + struct.pack(">HHII", 0x202, 4, 1, len(raw))
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + first + second + b"\0\0\0\0" + raw
