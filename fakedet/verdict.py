"""The verdict on one image, and its JSON, the same on every surface (schema "1")."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from fakedet.network import heatmap, kinds

SCHEMA = "1"
HEADLINES = {"real": "Likely a photograph", "fake": "Likely AI-generated", "unsure": "Unsure"}


@dataclass(frozen=True)
class Verdict:
    """The detector's answer for one image. Later versions add fields and rename none.

    Attributes:
        verdict: "real", "fake" or "unsure"; `decided_by` tells whether the pixels or the file's metadata gave it.
        p_fake: Calibrated probability that the image is AI-generated, 0..1, from the pixels alone.
        logit: Raw z of the network, aggregated over the views, before calibration.
        threshold: P(fake) from which a forced binary answer is "fake".
        unsure_band: (low, high); a p_fake strictly inside is answered "unsure".
        image: Facts of the input: sha256, format, mode, width, height, bytes.
        views: Number of views scored.
        model: id, revision, sha256, runtime.
        ms: Milliseconds for decode, views, network, stability and provenance (where done), and in total.
        notes: Plain sentences for the reader.
        file: Name as given, where there is one.
        generator: {family: probability}, the most likely first, if the pixels decide "fake" and the first is likely
            enough to be named; else None.
        provenance: The file's metadata (see `fakedet.provenance`), with `sentences`; or None.
        decided_by: "pixels", "declared_ai" or "declared_camera".
        pixel_verdict: The verdict of the pixels alone.
        stability: {stable, first_verdict, copies: [{copy, p_fake, verdict}]} where degraded copies were scored;
            `first_verdict` is the pixels' before that. None where it was not requested or the answer was "unsure".
        kind: "photo" (photo-like, whoever made it), "graphic" or "drawing", where the checkpoint tells kinds; else
            None. The pixels' answer for the last two is "unsure".
        p_photo: P(photo-like), 0..1, or None.
        declared: The headline of a declaration that decided, or None.
        families: {family: probability} whatever the answer, or None.
        signed_map: float32 (H, W), Grad-CAM over the image, positive for "fake", NaN outside all views; or None.
        picture: The upright RGB image, kept only with a map.
        origin: (Provenance, Joined) behind `provenance`, or None.
        view_logits: The raw logit of each view that was scored.

    `declared`, `families`, `signed_map`, `picture`, `origin` and `view_logits` are not part of the JSON.
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
    kind: str | None = None
    p_photo: float | None = None
    declared: str | None = None
    families: dict[str, float] | None = field(default=None, repr=False, compare=False)
    signed_map: np.ndarray | None = field(default=None, repr=False, compare=False)
    picture: Image.Image | None = field(default=None, repr=False, compare=False)
    origin: tuple | None = field(default=None, repr=False, compare=False)
    view_logits: tuple[float, ...] = field(default=(), repr=False, compare=False)

    @property
    def likeness(self) -> str | None:
        """The generator family as text, "Most like: FLUX (71 %)"; None where none is named."""
        if not self.generator:
            return None
        name, share = next(iter(self.generator.items()))
        return f"Most like: {name} ({min(99, int(100 * share))} %)"

    @property
    def headline(self) -> str:
        """The verdict as text: "Likely AI-generated, 93 %", why it is unsure, or the declaration that decided."""
        if self.declared:
            return self.declared
        if self.verdict == "unsure":
            if self.kind in kinds.HEADLINES:
                return f"{HEADLINES['unsure']}: {kinds.HEADLINES[self.kind]}"
            if self.stability and not self.stability["stable"]:
                return f"{HEADLINES['unsure']}: a degraded copy gets another answer"
            return f"{HEADLINES['unsure']}: too close to call"
        confidence = self.p_fake if self.verdict == "fake" else 1 - self.p_fake
        # at most 99 %: no detector is certain
        return f"{HEADLINES[self.verdict]}, {min(99, int(confidence * 100))} %"

    @property
    def heatmap(self) -> np.ndarray | None:
        """(H, W) in 0..1, evidence for "fake" if `p_fake` reaches the threshold, else for "real"; None without map."""
        if self.signed_map is None:
            return None
        return heatmap.evidence(self.signed_map, self.p_fake >= self.threshold)

    def overlay(self, opacity: float = 0.6) -> Image.Image:
        """The image under its heat map.

        Args:
            opacity: Of the strongest place, 0..1.

        Raises:
            ValueError: The verdict was made without `heatmap=True`.
        """
        if self.signed_map is None or self.picture is None:
            raise ValueError("there is no heat map: call predict(image, heatmap=True)")
        return heatmap.overlay(self.picture, self.heatmap, opacity)

    def to_dict(self) -> dict:
        """The JSON of schema 1: plain types, rounded to the digits that carry information."""
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
            "kind": self.kind,
            "p_photo": None if self.p_photo is None else round(self.p_photo, 6),
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
