"""ComfyUI's node graphs: the "prompt" that it executed, and the "workflow" that its editor saves."""

from __future__ import annotations

from typing import Any

MAX_NODES, MAX_HOPS = 5000, 12


def read_graph(graph: Any) -> dict[str, Any] | None:
    """Read prompt, model, seed and sampler from a ComfyUI graph.

    Args:
        graph: A parsed "prompt" ({node id: {class_type, inputs}}) or "workflow" ({nodes: [...]}).

    Returns:
        The settings (possibly empty), or None where this is no such graph.
    """
    if not isinstance(graph, dict):
        return None
    if isinstance(graph.get("nodes"), list):
        return _workflow(graph["nodes"][:MAX_NODES])
    nodes = {
        str(key): node
        for key, node in list(graph.items())[:MAX_NODES]
        if isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    }
    if not nodes:
        return None
    settings: dict[str, Any] = {}
    for node in nodes.values():
        inputs = node["inputs"]
        for key, names in {
            "model": ("ckpt_name", "unet_name", "model_name"), "seed": ("seed", "noise_seed"),
            "sampler": ("sampler_name",), "steps": ("steps",),
        }.items():  # fmt: skip
            value = next((inputs[name] for name in names if isinstance(inputs.get(name), str | int)), None)
            settings.setdefault(key, value)
            settings[key] = value if settings[key] is None else settings[key]
        for key, name in (("prompt", "positive"), ("negative_prompt", "negative")):
            if isinstance(inputs.get(name), list):
                settings[key] = settings.get(key) or _follow(nodes, inputs[name])
    texts = [v for node in nodes.values() for k, v in node["inputs"].items() if k.startswith("text") and _text(v)]
    if not settings.get("prompt") and texts:
        settings["prompt"] = max(texts, key=len)
    return settings


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _follow(nodes: dict[str, Any], link: Any) -> str | None:
    """Follow a [node id, output] link back to a node that holds text, over at most `MAX_HOPS` nodes."""
    for _ in range(MAX_HOPS):
        node = nodes.get(str(link[0])) if isinstance(link, list) and link else None
        if node is None:
            return None
        inputs = node["inputs"]
        names = [k for k in ("text", "text_g", "string", "prompt", "value", "t5xxl", "clip_l") if k in inputs]
        for name in names:
            if _text(inputs[name]):
                return inputs[name]
        names += [k for k in ("conditioning", "conditioning_1", "positive") if k in inputs]
        link = next((inputs[k] for k in names if isinstance(inputs[k], list)), None)
    return None


def _workflow(nodes: list[Any]) -> dict[str, Any] | None:
    """Read an editor's workflow; its values have no names, so only texts, checkpoints and seeds are recognised."""
    nodes = [n for n in nodes if isinstance(n, dict) and isinstance(n.get("type"), str)]
    if not nodes:
        return None
    settings: dict[str, Any] = {}
    for node in nodes:
        values = node.get("widgets_values")
        first = values[0] if isinstance(values, list) and values else None
        if "TextEncode" in node["type"] and _text(first):
            settings.setdefault("prompt", first)
        elif ("Checkpoint" in node["type"] or "UNETLoader" in node["type"]) and _text(first):
            settings.setdefault("model", first)
        elif node["type"].startswith("KSampler") and isinstance(first, int):
            settings.setdefault("seed", first)
    return settings
