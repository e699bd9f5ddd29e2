"""Builds the verdict on one image. The steps run in order, since each may change the answer of the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fakedet.images import LoadedImage
from fakedet.network import families, kinds
from fakedet.network.heatmap import assemble
from fakedet.network.settings import Settings
from fakedet.network.views import Views
from fakedet.provenance import join, read_provenance
from fakedet.stability import unstable_note
from fakedet.verdict import Verdict

NOTE_SIDE = 64  # pixels; images with a shorter side get a note
PROVENANCE_MS = 500


@dataclass(frozen=True)
class ViewOutputs:
    """Outputs of the network for the views of one image.

    Attributes:
        logits: Raw logits (V,).
        maps: Signed Grad-CAM maps (V, h, w).
        ms: Milliseconds.
        family: Raw family outputs (V, F), where the checkpoint has them for this image.
        kind: Raw kind outputs (V, K), likewise.
    """

    logits: np.ndarray
    maps: np.ndarray
    ms: float
    family: np.ndarray | None = None
    kind: np.ndarray | None = None

    def extended(self, more: ViewOutputs) -> ViewOutputs:
        """These outputs, followed by those of further views of the same image."""
        names = ("logits", "maps", "family", "kind")
        arrays = {
            name: np.concatenate([getattr(self, name), getattr(more, name)])
            for name in names
            if getattr(self, name) is not None
        }
        return ViewOutputs(ms=self.ms + more.ms, **arrays)


@dataclass
class PreparedImage:
    """An image that is decoded and cut into views, not yet scored.

    Attributes:
        loaded: The decoded image.
        views: Its views.
        file: Name as given, where there is one.
        ms: Milliseconds of each step so far.
    """

    loaded: LoadedImage
    views: Views
    file: str | None
    ms: dict[str, float]


class VerdictBuilder:
    """Collects what is known of one image and builds its `Verdict`.

    Call, as far as wanted and in this order: `apply_recheck`, `apply_kind`, `apply_provenance`, `name_generator`,
    `add_heatmap`, and then `build`.

    Args:
        image: The image.
        outputs: Of the network for its views.
        logit: Aggregated raw logit.
        config: Of the checkpoint.
    """

    def __init__(self, image: PreparedImage, outputs: ViewOutputs, logit: float, config: Settings):
        self.image, self.outputs, self.config, self.logit = image, outputs, config, logit
        self.tiny = config.is_tiny(image.loaded.image.size)
        self.calibration = config.calibration(self.tiny)
        self.p_fake = self.calibration.p_fake(logit)
        self.pixel_verdict = self.verdict = self.calibration.classify(self.p_fake)
        self.decided_by = "pixels"
        self.notes = list(image.loaded.notes)
        self.ms = image.ms | {"network": outputs.ms}
        self.optional: dict[str, Any] = {}
        width, height = image.loaded.image.size
        if min(width, height) < NOTE_SIDE:
            self.notes.append(f"The image is tiny ({width} x {height} pixels): it holds little evidence.")

        if kept := image.views.kept:
            size = f"{kept[2] - kept[0]} x {kept[3] - kept[1]} of {width} x {height} pixels"
            self.notes.append(f"Borders of one colour were cut off before scoring: {size} remained.")

    def apply_recheck(self, stability: dict | None) -> None:
        """Makes the answer of the pixels "unsure" where a degraded copy changes it (see `stability.recheck`)."""
        self.optional["stability"] = stability
        if stability and not stability["stable"]:
            self.pixel_verdict = self.verdict = "unsure"
            self.notes.append(unstable_note(stability, self.calibration, self.config))

    def apply_kind(self) -> None:
        """Makes the answer of the pixels "unsure" where the picture is no photograph: the question does not fit it."""
        if self.outputs.kind is None or self.tiny:
            return
        kind, p_photo = kinds.kind_of(self.outputs.kind, self.config)
        self.optional |= {"kind": kind, "p_photo": p_photo}
        if kind != kinds.PHOTO:
            self.pixel_verdict = self.verdict = "unsure"
            self.notes.append(kinds.NOTES[kind])

    def apply_provenance(self) -> None:
        """Reads the file's metadata, where there are any, and lets a declaration decide (see `provenance.rules`)."""
        loaded = self.image.loaded
        if not loaded.provenance and loaded.data is None:
            return
        record = loaded.provenance or read_provenance(loaded.data, budget_ms=PROVENANCE_MS, image=loaded.image)
        joined = join(self.pixel_verdict, self.p_fake, record)
        self.verdict, self.decided_by = joined.verdict, joined.decided_by
        self.ms["provenance"] = record.ms
        self.optional["provenance"] = record.to_dict() | {"sentences": list(joined.sentences)}
        self.optional["declared"] = joined.headline if joined.decided_by != "pixels" else None
        self.optional["origin"] = (record, joined)

    def name_generator(self) -> None:
        """Adds the generator families; names one only if the pixels decide "fake" and it is likely enough.

        Where the file declares its generator, the declaration is better evidence than a similarity.
        """
        if self.outputs.family is None or self.tiny:
            return
        likely = families.probabilities(self.outputs.family, self.config)
        self.optional["families"] = likely
        called_fake = self.verdict == self.pixel_verdict == "fake" and self.decided_by == "pixels"
        if called_fake and families.confident_family(likely, self.config.family_threshold):
            self.optional["generator"] = likely

    def add_heatmap(self) -> None:
        """Keeps the image and its assembled Grad-CAM map, for `Verdict.overlay`."""
        picture, views = self.image.loaded.image, self.image.views
        self.optional["signed_map"] = assemble(self.outputs.maps, views.boxes, views.mirrored, picture.size)
        self.optional["picture"] = picture

    def build(self, model_facts: dict) -> Verdict:
        """The verdict.

        Args:
            model_facts: id, revision, sha256 and runtime of the checkpoint.
        """
        return Verdict(
            verdict=self.verdict,
            pixel_verdict=self.pixel_verdict,
            decided_by=self.decided_by,
            p_fake=self.p_fake,
            logit=self.logit,
            threshold=self.calibration.threshold,
            unsure_band=self.calibration.unsure_band,
            image=self.image.loaded.facts,
            views=len(self.outputs.logits),
            model=model_facts,
            ms=self.ms | {"total": sum(self.ms.values())},
            notes=tuple(self.notes),
            file=self.image.file,
            view_logits=tuple(map(float, self.outputs.logits)),
            **self.optional,
        )
