"""Which family a generator's name belongs to, and how well a checkpoint names families.

A generator that its data set only guesses ("(?)", "(inferred)", "-like", "unknown") is used neither in fits nor in
figures.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from fakedet.network.families import OTHER

GUESSED = re.compile(r"\?|inferred|unknown|-like\b|^$")
# Tried in order on the lower-case name without spaces, "_" and "-"; a name that matches none is "other".
PATTERNS = {
    OTHER: re.compile(r"dalle?mini|craiyon|latentdiffusion|latentconsistency|stablecascade"),
    "GAN": re.compile(r"(style|big|pro|cycle|star|giga|pg)gan|gan\d?$|thispersondoesnotexist|tpdne"),
    "SDXL": re.compile(r"sdxl|(stablediffusion|sd)xl|realvisxl|ponyxl|juggernautxl"),
    "SD3": re.compile(r"(stablediffusion|\bsd)v?3"),
    "SD 1.x/2": re.compile(r"(stablediffusion|\bsd)v?[12]|stablediffusionbeta|realisticvision|dreamlike|openjourney"),
    "FLUX": re.compile(r"flux"),
    "GPT image": re.compile(r"gpt(4o|image|5)|\b4oimage|chatgpt"),
    "DALL-E": re.compile(r"dalle[23]?\b|dall·e"),
    "Midjourney": re.compile(r"midjourney|niji|\bmjv?\d"),
    "Gemini": re.compile(r"gemini|nanobanana"),
}
# Names without a version, which leave the family open.
UNCLEAR = re.compile(r"^(stablediffusion|sd|diffusion|ai|fake)(controlnet|webui)?$")


def family_of(generator: str | None) -> str | None:
    """The family of a generator, "other" for one without a family of its own; None where the name leaves it open.

    >>> family_of("sd1.4-diffusiondb"), family_of("dalle-mini"), family_of("midjourney-v7(?)")
    ('SD 1.x/2', 'other', None)
    """
    name = (generator or "").strip().lower()
    if GUESSED.search(name):
        return None
    plain = re.sub(r"[\s_-]", "", name)
    if UNCLEAR.match(plain):
        return None
    return next((family for family, pattern in PATTERNS.items() if pattern.search(plain)), OTHER)


def true_families(generators, families: list[str]) -> np.ndarray:
    """The correct answer of a checkpoint with these families for each generator (N,); None where it is unknown."""
    names = [family_of(name if isinstance(name, str) else None) for name in generators]
    return np.array([family if family in (*families, None) else OTHER for family in names], object)


def family_figures(scores: pd.DataFrame, families: list[str]) -> dict | None:
    """How well families are named.

    Args:
        scores: Columns label, generator, and the detector's family (the most likely one) and family_named (the one
            shown, "" for none).
        families: Of the checkpoint.

    Returns:
        None where no family is known, else: `n`: AI-generated images of known family; `accuracy`: share whose most
        likely family is right; `balanced_accuracy`: its mean over the true families; `n_named`, `coverage`: number and
        share of `n` with a name; `accuracy_named`: share of right names, None without names; `n_real`, `n_real_named`:
        photographs, and those with a name, which is always wrong; `confusion`: a row per true family with family, n,
        n_named, n_named_right and most_likely {family: count}.
    """
    reals = scores[scores["label"] == 0]
    fakes = scores[scores["label"] == 1]
    fakes = fakes.assign(truth=true_families(fakes["generator"], families)).dropna(subset="truth")
    if fakes.empty:
        return None
    right, named = fakes["family"] == fakes["truth"], fakes["family_named"] != ""
    confusion = []
    for family in families:
        own = fakes["truth"] == family
        if own.any():
            counts = fakes["family"][own].value_counts()
            confusion.append({
                "family": family, "n": int(own.sum()), "n_named": int((own & named).sum()),
                "n_named_right": int((own & named & right).sum()),
                "most_likely": {other: int(counts.get(other, 0)) for other in families},
            })  # fmt: skip
    return {
        "n": len(fakes),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(right.groupby(fakes["truth"]).mean().mean()),
        "n_named": int(named.sum()),
        "coverage": float(named.mean()),
        "accuracy_named": float(right[named].mean()) if named.any() else None,
        "n_real": len(reals),
        "n_real_named": int((reals["family_named"] != "").sum()),
        "confusion": confusion,
    }
