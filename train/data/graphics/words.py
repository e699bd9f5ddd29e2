"""Random words, names, numbers and colours for the graphics."""

from __future__ import annotations

from colorsys import hls_to_rgb
from random import Random

SYLLABLES = "an ber cal dor el fin gar hol ist jun kel lor mas nor os pal quin ros sel tor ul ven wil yor zen".split()
SHORT = "a the of to in is for and on at by we it as or no new all".split()
UNITS = ("%", " km", " °C", " kg", " $", " €", " ms", " GB", "")
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "Liberation Sans", "Liberation Serif", "Liberation Mono")


def word(rng: Random) -> str:
    """One invented word of one to three syllables."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3)))


def name(rng: Random) -> str:
    """An invented name of a person or place."""
    return word(rng).capitalize() + (f" {word(rng).capitalize()}" if rng.random() < 0.6 else "")


def sentence(rng: Random, least: int = 4, most: int = 14) -> str:
    """An invented sentence of `least` to `most` words."""
    words = [rng.choice(SHORT) if rng.random() < 0.3 else word(rng) for _ in range(rng.randint(least, most))]
    return " ".join(words).capitalize() + rng.choice("....?!")


def paragraph(rng: Random, sentences: int = 4) -> str:
    """Invented sentences."""
    return " ".join(sentence(rng) for _ in range(sentences))


def number(rng: Random) -> str:
    """A number with a unit."""
    value = rng.choice((f"{rng.randint(0, 99)}", f"{rng.uniform(0, 100):.1f}", f"{rng.randint(1000, 99999):,}"))
    return value + rng.choice(UNITS)


def colour(rng: Random, light: tuple[float, float] = (0.2, 0.8), strong: tuple[float, float] = (0.1, 0.95)) -> str:
    """A colour as #rrggbb, its lightness and saturation (0..1) within the given ranges."""
    parts = hls_to_rgb(rng.random(), rng.uniform(*light), rng.uniform(*strong))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def theme(rng: Random) -> dict[str, str]:
    """Colours and font of one page: `back`, `text`, `soft`, `accent`, `second`, `font`."""
    dark = rng.random() < 0.4
    back = colour(rng, (0.03, 0.16), (0, 0.4)) if dark else rng.choice(("#ffffff", colour(rng, (0.92, 0.99), (0, 0.5))))
    text = colour(rng, (0.8, 0.98), (0, 0.3)) if dark else colour(rng, (0.02, 0.25), (0, 0.5))
    soft = colour(rng, (0.15, 0.3), (0, 0.4)) if dark else colour(rng, (0.84, 0.95), (0, 0.4))
    own = {"accent": colour(rng, (0.35, 0.6), (0.4, 1)), "second": colour(rng, (0.35, 0.65), (0.3, 1))}
    return {"back": back, "text": text, "soft": soft, "font": rng.choice(FONTS), **own}
