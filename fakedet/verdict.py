"""The answer for one image, and the one JSON that every surface gives (schema "1")."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

SCHEMA = "1"
WORDS = {"real": "Likely a photograph", "fake": "Likely AI-generated", "unsure": "Unsure"}


@dataclass(frozen=True)
class Verdict:
    """What the detector says of one image. Fields are added in later versions, never renamed.

    Attributes:
        verdict: "real", "fake" or "unsure": the pixels', unless the file declares where it came from.
        p_fake: Calibrated probability that the image is AI-generated, 0..1.
        logit: Raw z of the network, mean over views, before calibration.
        threshold: P(fake) at and above which a forced binary answer would be "fake".
        unsure_band: (low, high); a p_fake strictly inside is answered "unsure".
        image: Facts of the input: sha256, format, mode, width, height, bytes.
        views: How many crops were scored.
        model: id, revision, sha256, runtime.
        ms: Milliseconds for decode, views, network, provenance (where it was read) and in total.
        notes: Plain sentences that a reader should know.
        file: Name as given, where there is one.
        generator: {family: probability}, the most likely family first: only where the pixels decide that the image is
            AI-generated, and its family is likely enough to be named; else None.
        provenance: What the file says of itself (see `fakedet.provenance`), with `sentences`; or None.
        decided_by: "pixels", "declared_ai" or "declared_camera": who gave the verdict.
        pixel_verdict: What the pixels alone say.
        stability: Where worn copies were scored: `stable`, `first_verdict` (the pixels' before this check) and `copies`
            [{copy, p_fake, verdict}]; else None (not asked for, or unsure already).
        declared: The headline of a declaration that decided, or None.
        families: {family: probability} whatever the answer and however likely, or None.
        signed_map: float32 (H, W), Grad-CAM over the image, positive for "fake", NaN where no view looked; or None.
        picture: The upright RGB image, kept only where a map was asked for.
        origin: (Provenance, Joined) behind `provenance`, or None. None of the last five is part of the JSON.
    """

    verdict: str
    p_fake: float
    logit: float
    threshold: float
    unsure_band: tuple[float, float]
    image: dict
    views: int
    model: dict
    ms: dict
    notes: tuple[str, ...] = ()
    file: str | None = None
    generator: dict | None = None
    provenance: dict | None = None
    decided_by: str = "pixels"
    pixel_verdict: str = ""
    stability: dict | None = None
    declared: str | None = None
    families: dict[str, float] | None = field(default=None, repr=False, compare=False)
    signed_map: np.ndarray | None = field(default=None, repr=False, compare=False)
    picture: Image.Image | None = field(default=None, repr=False, compare=False)
    origin: tuple | None = field(default=None, repr=False, compare=False)

    @property
    def likeness(self) -> str | None:
        """The family of generators in words, "Most like: FLUX (71 %)"; None where none is named."""
        if not self.generator:
            return None
        name, share = next(iter(self.generator.items()))
        return f"Most like: {name} ({min(99, int(100 * share))} %)"

    @property
    def headline(self) -> str:
        """The verdict in words, with how sure: "Likely AI-generated, 93 %", why unsure, or what was declared."""
        if self.declared:
            return self.declared
        if self.verdict == "unsure":
            if self.stability and not self.stability["stable"]:
                return f"{WORDS['unsure']}: a copy of it gets another answer"
            return f"{WORDS['unsure']}: too close to call"
        sure = self.p_fake if self.verdict == "fake" else 1 - self.p_fake
        # never "100 %": no detector earns that
        return f"{WORDS[self.verdict]}, {min(99, int(sure * 100))} %"

    @property
    def heatmap(self) -> np.ndarray | None:
        """(H, W) in 0..1: where the evidence for the answer lies (for "fake" when unsure); None without a map."""
        from fakedet.network.heatmap import evidence

        if self.signed_map is None:
            return None
        return evidence(self.signed_map, self.p_fake >= self.threshold)

    def overlay(self, opacity: float = 0.6) -> Image.Image:
        """The image with its heat map on top.

        Raises:
            ValueError: The verdict was made without `heatmap=True`.
        """
        from fakedet.network.heatmap import overlay

        if self.signed_map is None or self.picture is None:
            raise ValueError("no heat map was computed: call predict(image, heatmap=True)")
        return overlay(self.picture, self.heatmap, opacity)

    def to_dict(self) -> dict:
        """The JSON of schema 1: plain types, rounded where more digits would be noise."""
        row = {"schema": SCHEMA}
        if self.file is not None:
            row["file"] = self.file
        return row | {
            "verdict": self.verdict,
            "p_fake": round(self.p_fake, 6),
            "logit": round(self.logit, 6),
            "threshold": self.threshold,
            "unsure_band": list(self.unsure_band),
            "generator": self.generator and {name: round(share, 4) for name, share in self.generator.items()},
            "provenance": self.provenance,
            "decided_by": self.decided_by,
            "pixel_verdict": self.pixel_verdict,
            "stability": self.stability,
            "notes": list(self.notes),
            "image": dict(self.image),
            "views": self.views,
            "model": dict(self.model),
            "ms": {key: round(value, 2) for key, value in self.ms.items()},
        }


@dataclass(frozen=True)
class Failure:
    """An input that could not be scored.

    Attributes:
        error: The ImageError.
        file: Name as given, where there is one.
    """

    error: Exception
    file: str | None = None

    def to_dict(self) -> dict:
        """{schema, file, error: {code, message}}."""
        row = {"schema": SCHEMA}
        if self.file is not None:
            row["file"] = self.file
        return row | {"error": {"code": getattr(self.error, "code", "internal"), "message": str(self.error)}}
