"""Records that image generators write into their files: tool, prompt, model, seed and sampler.

Every reader takes one named field of a container (see `containers`), never raw bytes. The formats are those that the
tools document or write: AUTOMATIC1111 and Forge ("parameters" text), ComfyUI (node graphs), InvokeAI,
NovelAI, Fooocus, SwarmUI, Draw Things, Easy Diffusion, Midjourney; and the names that hosted services leave in
Software, CreatorTool and Credit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .comfy import read_graph
from .record import MAX_EXCERPT_CHARS, MAX_PROMPT_CHARS, clean

MAX_JSON_CHARS = 1 << 20
_SETTING = re.compile(r'\s*([A-Za-z][\w \-/]{0,40}):\s*("(?:\\.|[^"\\]){0,2000}"|[^,\n]{0,300})(?:,|$)')
_JOB = re.compile(r"Job ID:\s*[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.I)
_DREAM = re.compile(r'"([^"]{0,4000})"(.{0,400})', re.S)

# Tools that only generate. Names that also mean people, places or cameras (Imagen, Leonardo, Gemini) are left out or
# need their suffix.
TOOLS = {
    "Midjourney": r"\bmidjourney\b",
    "DALL-E": r"\bdall[-·•\s]?e\b",
    "OpenAI": r"\bopenai\b|\bchatgpt\b|\bgpt-image\b",
    "Google AI": r"\bmade with google ai\b|\bgenerated (?:with|by) google ai\b|\bgoogle ai studio\b|\bnano banana\b",
    "Adobe Firefly": r"\badobe firefly\b|^firefly\b",
    "Stable Diffusion": r"\bstable[ -]?diffusion\b|\bsdxl\b|\bdreamstudio\b|\bstability ai\b",
    "ComfyUI": r"\bcomfyui\b",
    "InvokeAI": r"\binvoke ?ai\b",
    "NovelAI": r"\bnovelai\b",
    "Fooocus": r"\bfooocus\b",
    "SwarmUI": r"\bswarmui\b",
    "Draw Things": r"^draw things\b",
    "Easy Diffusion": r"\beasy diffusion\b",
    "FLUX": r"\bflux\.[12]\b|\bblack forest labs\b",
    "Microsoft Designer": r"\bbing image creator\b|\bmicrosoft designer\b",
    "Meta AI": r"\bimagined with (?:meta )?ai\b|\bmeta ai\b",
    "Ideogram": r"\bideogram\.ai\b|^ideogram\b",
    "Leonardo.Ai": r"\bleonardo\.ai\b",
    "Recraft": r"^recraft\b",
    "an AI tool (not named)": r"\b(?:made|generated|created) (?:with|by|using) (?:generative )?ai\b",
}
_TOOLS = {name: re.compile(pattern, re.I) for name, pattern in TOOLS.items()}
NAME_FIELDS = (
    "PNG Software", "PNG Source", "PNG generator", "EXIF Software", "XMP CreatorTool", "XMP Software", "XMP Credit",
    "IPTC Credit", "IPTC OriginatingProgram",
)  # fmt: skip
TEXT_FIELDS = (
    "PNG parameters", "PNG generation_data", "PNG Comment", "EXIF UserComment", "XMP UserComment",
    "EXIF ImageDescription", "EXIF XPComment", "XMP description", "PNG Description", "PNG comment", "JPEG comment",
)  # fmt: skip


def find_generator(fields: dict[str, str]) -> dict[str, Any] | None:
    """Return the record of an image generator.

    Args:
        fields: Texts by place, as `fakedet.provenance` gathers them: "PNG parameters", "EXIF UserComment",
            "XMP CreatorTool", "IPTC Credit" and the like.

    Returns:
        {tool, container_field, prompt, negative_prompt, model, seed, sampler, steps, raw_excerpt}, each value text or
        None, or None where no field is a generator's record. A full record takes precedence over a name.
    """
    named = next(_named(fields), None)
    for place, record in _records(fields):
        keys = ("prompt", "negative_prompt", "model", "seed", "sampler", "steps")
        caps = (MAX_PROMPT_CHARS, MAX_PROMPT_CHARS, 200, 40, 80, 20)
        tool = record.get("tool") or (named[0] if named else None) or "unknown generator"
        return (
            {"tool": clean(tool, 80), "container_field": place}
            | {key: clean(record.get(key), cap) for key, cap in zip(keys, caps, strict=True)}
            | {"raw_excerpt": clean(fields[place][: MAX_EXCERPT_CHARS + 100], MAX_EXCERPT_CHARS)}
        )
    if named:
        empty = dict.fromkeys(("prompt", "negative_prompt", "model", "seed", "sampler", "steps"))
        return {"tool": named[0], "container_field": named[1], **empty, "raw_excerpt": clean(fields[named[1]])}
    return None


def _named(fields: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (tool, place) for fields that name a generator."""
    for place in NAME_FIELDS:
        text = fields.get(place, "")[:300].strip()
        for tool, pattern in _TOOLS.items():
            if pattern.search(text):
                yield tool, place


def _records(fields: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, record) for fields that hold a generator's own record, the most reliable first."""
    readers = {"PNG invokeai_metadata": _invoke, "PNG sd-metadata": _invoke_old, "PNG Dream": _dream}
    for place in (
        "PNG prompt",
        "PNG workflow",
        "EXIF Model",
        "EXIF Make",
    ):  # ComfyUI's WebP writer uses the EXIF fields
        text = fields.get(place, "")
        if place.startswith("EXIF"):
            name, _, text = text.partition(":")
            if name not in ("prompt", "workflow"):
                continue
        record = read_graph(_json(text))
        if record:
            yield place, {"tool": "ComfyUI"} | record
    for place, reader in readers.items():
        record = reader(fields[place]) if place in fields else None
        if record:
            yield place, record
    for place in TEXT_FIELDS:
        text = fields.get(place)
        record = text and (_from_json(_json(text)) or _a1111(text) or _midjourney(text))
        if record:
            yield place, record
    if "PNG prompt" in fields and {"PNG seed", "PNG use_stable_diffusion_model"} & set(fields):
        names = {"model": "use_stable_diffusion_model", "seed": "seed", "sampler": "sampler_name"}
        yield "PNG prompt", {
            "tool": "Easy Diffusion", "prompt": fields["PNG prompt"],
            "negative_prompt": fields.get("PNG negative_prompt"),
            **{key: fields.get(f"PNG {name}") for key, name in names.items()},
        }  # fmt: skip


def _json(text: str) -> Any:
    """Parse a JSON object; None for anything else, and for texts too long or nested too deep."""
    text = text.strip().strip("\0")
    if not text.startswith("{") or len(text) > MAX_JSON_CHARS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _from_json(record: Any) -> dict[str, Any] | None:
    """Recognise a record by its own keys."""
    if not isinstance(record, dict):
        return None
    get = record.get
    swarm = get("sui_image_params")
    if isinstance(swarm, dict):
        return _pick(swarm, "SwarmUI", negative_prompt="negativeprompt")
    if isinstance(get("prompt"), dict) or "nodes" in record or isinstance(get("workflow"), dict):
        inner = get("prompt") if isinstance(get("prompt"), dict) else get("workflow") or record
        graph = read_graph(inner)
        return {"tool": "ComfyUI"} | graph if graph else None
    if "c" in record and {"uc", "sampler", "seed"} & set(record):
        return _pick(record, "Draw Things", prompt="c", negative_prompt="uc")
    if "metadata_scheme" in record or str(get("version", ""))[:7] == "Fooocus":
        return _pick(record, "Fooocus", model="base_model")
    if "use_stable_diffusion_model" in record:
        return _pick(record, "Easy Diffusion", model="use_stable_diffusion_model", sampler="sampler_name")
    if "positive_prompt" in record:
        return _invoke(json.dumps(record))
    if "prompt" in record and "uc" in record and {"sampler", "steps", "signed_hash", "request_type"} & set(record):
        return _pick(record, "NovelAI", negative_prompt="uc")
    lower = {str(key).lower(): value for key, value in record.items()}
    if "prompt" in lower and len({"seed", "steps", "sampler", "cfg_scale", "samplername", "model"} & set(lower)) >= 2:
        return _pick(lower, None)
    return None


def _pick(record: dict[str, Any], tool: str | None, **names: str) -> dict[str, Any]:
    keys = ("prompt", "negative_prompt", "model", "seed", "sampler", "steps")
    return {"tool": tool} | {key: record.get(names.get(key, key)) for key in keys}


def _a1111(text: str) -> dict[str, Any] | None:
    """Read the "parameters" text of AUTOMATIC1111's web UI, which Forge, Civitai and others write as well."""
    head, _, tail = text.rpartition("Steps: ")
    if not tail[:1].isdigit():
        return None
    settings = {key.strip(): value.strip().strip('"') for key, value in _SETTING.findall("Steps: " + tail[:20_000])}
    if not {"Sampler", "Seed", "CFG scale"} & set(settings):
        return None
    prompt, _, negative = head.partition("Negative prompt:")
    version = settings.get("Version", "")
    tool = "Stable Diffusion web UI (AUTOMATIC1111)"
    if re.match(r"f\d", version) or "forge" in version.lower():
        tool = "Stable Diffusion web UI Forge"
    for name in ("Fooocus", "ComfyUI", "SwarmUI", "SD.Next"):
        if name.lower() in (version + settings.get("App", "")).lower():
            tool = name
    return {
        "tool": tool, "prompt": prompt, "negative_prompt": negative, "model": settings.get("Model"),
        "seed": settings.get("Seed"), "sampler": settings.get("Sampler"), "steps": settings.get("Steps"),
    }  # fmt: skip


def _midjourney(text: str) -> dict[str, Any] | None:
    job = _JOB.search(text[:20_000])
    if not job:
        return None
    prompt = text[: job.start()]
    model = re.search(r"--(v|niji)\s+([\d.]+)", prompt)
    seed = re.search(r"--seed\s+(\d+)", prompt)
    return {
        "tool": "Midjourney", "prompt": prompt, "seed": seed and seed[1],
        "model": model and ("niji " if model[1] == "niji" else "v") + model[2],
    }  # fmt: skip


def _invoke(text: str) -> dict[str, Any] | None:
    record = _json(text)
    if not isinstance(record, dict) or not {"positive_prompt", "app_version", "generation_mode"} & set(record):
        return None
    model = record.get("model")
    if isinstance(model, dict):
        model = model.get("name") or model.get("model_name")
    return _pick(record, "InvokeAI", prompt="positive_prompt", sampler="scheduler") | {"model": model}


def _invoke_old(text: str) -> dict[str, Any] | None:
    record = _json(text)
    image = record.get("image") if isinstance(record, dict) else None
    if not isinstance(image, dict):
        return None
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        prompt = prompt[0].get("prompt") if prompt and isinstance(prompt[0], dict) else None
    return _pick(image, "InvokeAI") | {"prompt": prompt, "model": record.get("model_weights")}


def _dream(text: str) -> dict[str, Any] | None:
    """Read InvokeAI's first format: a prompt in quotes, then switches as on a command line."""
    match = _DREAM.match(text[:8000])
    switches = dict(re.findall(r"-([sSA])\s?(\w{1,40})", match[2])) if match else {}
    if not {"s", "S"} <= set(switches):
        return None
    return {"tool": "InvokeAI", "prompt": match[1], "seed": switches["S"], "sampler": switches.get("A")}
