"""ComfyUI's node graphs: the "prompt" it ran, and the "workflow" its editor saves."""

from __future__ import annotations

from typing import Any

NODES, HOPS = 5000, 12


def read_graph(graph: Any) -> dict[str, Any] | None:
    """Read prompt, model, seed and sampler out of a ComfyUI graph.

    Args:
        graph: A parsed "prompt" ({node id: {class_type, inputs}}) or "workflow" ({nodes: [...]}).

    Returns:
        The settings found (possibly none of them), or None where this is no such graph.
    """
    if not isinstance(graph, dict):
        return None
    if isinstance(graph.get("nodes"), list):
        return _workflow(graph["nodes"][:NODES])
    nodes = {
        str(key): node
        for key, node in list(graph.items())[:NODES]
        if isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    }
    if not nodes:
        return None
    found: dict[str, Any] = {}
    for node in nodes.values():
        inputs = node["inputs"]
        for key, names in {
            "model": ("ckpt_name", "unet_name", "model_name"), "seed": ("seed", "noise_seed"),
            "sampler": ("sampler_name",), "steps": ("steps",),
        }.items():  # fmt: skip
            value = next((inputs[name] for name in names if isinstance(inputs.get(name), str | int)), None)
            found.setdefault(key, value)
            found[key] = value if found[key] is None else found[key]
        for key, name in (("prompt", "positive"), ("negative_prompt", "negative")):
            if isinstance(inputs.get(name), list):
                found[key] = found.get(key) or _follow(nodes, inputs[name])
    texts = [v for node in nodes.values() for k, v in node["inputs"].items() if k.startswith("text") and _text(v)]
    if not found.get("prompt") and texts:
        found["prompt"] = max(texts, key=len)
    return found


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _follow(nodes: dict[str, Any], link: Any) -> str | None:
    """Walk a [node id, output] link backwards until a node holds text; loops end after `HOPS` nodes."""
    for _ in range(HOPS):
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
    """Read an editor's workflow, whose values stand without names: texts and checkpoints can be told apart."""
    nodes = [n for n in nodes if isinstance(n, dict) and isinstance(n.get("type"), str)]
    if not nodes:
        return None
    found: dict[str, Any] = {}
    for node in nodes:
        values = node.get("widgets_values")
        first = values[0] if isinstance(values, list) and values else None
        if "TextEncode" in node["type"] and _text(first):
            found.setdefault("prompt", first)
        elif ("Checkpoint" in node["type"] or "UNETLoader" in node["type"]) and _text(first):
            found.setdefault("model", first)
        elif node["type"].startswith("KSampler") and isinstance(first, int):
            found.setdefault("seed", first)
    return found
