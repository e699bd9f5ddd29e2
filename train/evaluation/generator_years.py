"""The year in which a generator came out, by its name, so that a report shows how detection fares with newer ones.

The years are those in which a model or its first version was published or offered, by its maker's announcement.
"""

from __future__ import annotations

import re

# Patterns of names in lower case; where several match, the newest counts. GANs count as of 2021 and before.
FIRST = 2021
PATTERNS = {
    FIRST: r"stylegan|progan|pix2pix|\bgan\b|r3gan",
    2022: r"dall-?e-?2|\bsd-?[12]|stable.diffusion|dreambooth|midjourney|imagic",
    2023: r"gigagan|deepfloyd|\bif-xl|sd-?xl|xl_|turbo|dall-?e-?3|midjourney-v[56]|pixart|kandinsky|playground|segmind"
    r"|lcm|dreamshaper|bing-image",
    2024: r"sd-?3|diffusion-3|flux|imagen-?3|hunyuandit|hunyuan-dit|kolors|auraflow|lumina|cogview|meissonic|omnigen"
    r"|sana|cascade|grok|aurora|iclight|playground-v2\.5|ideogram|leonardo-phoenix",
    2025: r"gpt-?image|gpt-4o|gemini|nano.?banana|imagen-?4|flux[.-]?2|kontext|krea|qwen|hidream|z-image|seedream"
    r"|chroma|\bwan|cogview4|bria-3|f-lite|omnigen2|cosmos|midjourney-v7|lumina-image-2|janus-pro|minimax-image|sana1\.5"
    r"|ideogram-v3|hunyuan-image-3|mai-image|flex\.[12]|grok-imagine|\buno\b|\buso\b",
    2026: r"gpt-image-2|gemini-3\.1|nano-banana-2|seedream-5|ideogram-?4|krea2|kling-o3",
}
STATED = re.compile(r"20[12]\d")


def generator_year(name: str) -> int | None:
    """The year of a generator; `FIRST` for that and all before; the newest where a name gives several; else None."""
    name = name.lower()
    years = [year for year, pattern in PATTERNS.items() if re.search(pattern, name)]
    years += [max(FIRST, int(year)) for year in STATED.findall(name)]
    return max(years, default=None)


def year_words(year: int | None) -> str:
    """A year of `generator_year` in words."""
    return "year not known" if year is None else f"to {FIRST}" if year == FIRST else str(year)
