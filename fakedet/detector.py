"""The detector: the one place where a score becomes a verdict."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from fakedet.hub import Checkpoint, load_checkpoint
from fakedet.images import CorruptImage, ImageError, Limits, LoadedImage, open_image
from fakedet.network import families
from fakedet.network.heatmap import assemble
from fakedet.network.runtime import make_runtime
from fakedet.network.views import Views, make_views
from fakedet.provenance import join, read_provenance
from fakedet.stability import degraded_copies, flips, unstable_note
from fakedet.verdict import Failure, Verdict

__all__ = ["Detector", "Failure", "Verdict"]

TINY_SIDE = 64
PROVENANCE_MS = 500


@dataclass(frozen=True)
class ViewOutputs:
    """What the network said of one image's views: raw logits (V,), maps (V, h, w), milliseconds, families (V, F)."""

    logits: np.ndarray
    maps: np.ndarray
    ms: float
    families: np.ndarray | None = None


@dataclass
class PreparedImage:
    """An image on its way: loaded and cut, not yet scored."""

    loaded: LoadedImage
    views: Views
    file: str | None
    ms: dict


class Detector:
    """Answers, for an image, whether a camera took it or a generator made it.

    Thread-safe: the network is only read.

    Args:
        checkpoint: From `hub.load_checkpoint`.
        runtime: "auto" or a name from `runtime.RUNTIMES`.
        limits: What an input may be at most.
        provenance: Read what the file says of itself, and let a declaration decide by the table in
            `provenance.rules`. Off, the verdict is the pixels' alone (as every reported figure is).
        threads: CPU threads of the network; by default FAKEDET_THREADS, else all that this process may use.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: str = "auto",
        limits: Limits | None = None,
        provenance: bool = True,
        threads: int | None = None,
    ):
        self.checkpoint = checkpoint
        self.provenance = provenance
        self.config = checkpoint.model.config
        self.limits = limits or Limits()
        self.runtime = make_runtime(checkpoint, runtime, threads)
        self.model_facts = {
            "id": checkpoint.id,
            "revision": checkpoint.revision,
            "sha256": checkpoint.sha256,
            "runtime": self.runtime.name,
        }

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        revision: str | None = None,
        runtime: str = "auto",
        limits: Limits | None = None,
        provenance: bool = True,
        threads: int | None = None,
    ) -> Detector:
        """Loads a checkpoint: a Hub id ("owner/name" or "owner/name@revision"), a folder, or the bundled one (None).

        Raises:
            hub.ModelError: The checkpoint cannot be had or used.
            ValueError: No such runtime, or it cannot be used.
        """
        return cls(load_checkpoint(model, revision), runtime, limits, provenance, threads)

    def predict(self, image, heatmap: bool = False, stability: bool = False) -> Verdict:
        """Scores one image.

        Args:
            image: Path, bytes, open binary file, PIL image, array H x W [x C], or a `LoadedImage` that is read already.
            heatmap: Keep the Grad-CAM map and the image, for `Verdict.overlay()`.
            stability: Where the pixels decide, score worn copies too, and answer "unsure" if one turns the answer round
                (see `fakedet.stability`). `p_fake` and `logit` stay those of the image itself.

        Raises:
            ImageError: The input cannot be scored; the message says why in one sentence.
        """
        return self.predict_prepared([self._prepare(image)], heatmap, stability)[0]

    def predict_many(
        self, images: Iterable, batch_size: int = 32, heatmap: bool = False, stability: bool = False
    ) -> Iterator[Verdict | Failure]:
        """Scores images in batches of views, in order; an input that cannot be scored gives a Failure in its place.

        Args:
            images: Anything `predict` takes.
            batch_size: Images per pass through the network, at least 1.
            heatmap, stability: As in `predict`.
        """
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        source = iter(images)
        while chunk := list(islice(source, batch_size)):
            jobs: list[PreparedImage | Failure] = []
            for image in chunk:
                try:
                    jobs.append(self._prepare(image))
                except ImageError as error:
                    jobs.append(Failure(error, name_of(image)))
            verdicts = iter(
                self.predict_prepared([job for job in jobs if isinstance(job, PreparedImage)], heatmap, stability)
            )
            for job in jobs:
                yield job if isinstance(job, Failure) else next(verdicts)

    def calibrate(self, logit: float, tiny: bool = False) -> float:
        """P(fake), 0..1, for a raw aggregated logit of an image whose short side is (or not) below `tiny_side`."""
        temperature, bias, _ = self.config.calibration(tiny)
        z = logit / temperature + bias
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))

    def classify(self, p_fake: float, tiny: bool = False) -> str:
        """ "real", "fake" or "unsure" for a calibrated probability."""
        low, high = self.config.calibration(tiny)[2]
        if low < p_fake < high:
            return "unsure"
        return "fake" if p_fake >= self.config.threshold else "real"

    def _prepare(self, image) -> PreparedImage:
        started = time.perf_counter()
        loaded = image if isinstance(image, LoadedImage) else open_image(image, self.limits)
        decoded = time.perf_counter()
        try:
            views = make_views(loaded.image, self.config)
        except ValueError as error:
            raise CorruptImage(f"This image cannot be scored: {error}.") from None
        cut = time.perf_counter()
        decode_ms = 1000 * (decoded - started) if loaded.ms is None else loaded.ms
        ms = {"decode": decode_ms, "views": 1000 * (cut - decoded)}
        return PreparedImage(loaded, views, name_of(image), ms)

    def predict_prepared(self, jobs: list[PreparedImage], heatmap: bool, stability: bool = False) -> list[Verdict]:
        """The verdicts on images that are loaded and cut; for callers that do this elsewhere."""
        if not jobs:
            return []
        scored = self._run([job.views.pixels for job in jobs])
        scores = [self._aggregate(seen.logits) for seen in scored]
        checks = self._recheck(jobs, scores) if stability else [None] * len(jobs)
        return [
            self._verdict(job, logit, seen, heatmap, check)
            for job, logit, seen, check in zip(jobs, scores, scored, checks, strict=True)
        ]

    def _run(self, sets: list) -> list[ViewOutputs]:
        """What the network says of each set of views; those of one side go together."""
        results: list = [None] * len(sets)
        sides = [views.shape[-1] for views in sets]
        for side in sorted(set(sides)):
            places = [place for place, own in enumerate(sides) if own == side]
            started, at = time.perf_counter(), 0
            logits, maps, *more = self.runtime(np.concatenate([sets[place] for place in places]))
            share = 1000 * (time.perf_counter() - started) / len(places)
            for place in places:
                end = at + len(sets[place])
                results[place] = ViewOutputs(logits[at:end], maps[at:end], share, *(rows[at:end] for rows in more))
                at = end
        return results

    def _aggregate(self, logits: np.ndarray) -> float:
        logit = float(logits.max() if self.config.aggregate == "max" else logits.mean())
        if not math.isfinite(logit):
            raise RuntimeError("the network gave a value that is not finite: the checkpoint is broken")
        return logit

    def _is_tiny(self, job: PreparedImage) -> bool:
        return min(job.loaded.image.size) < self.config.tiny_side

    def _recheck(self, jobs: list[PreparedImage], scores: list[float]) -> list[dict | None]:
        """What worn copies of the decided images say, scored together; None for the undecided."""
        started, checks = time.perf_counter(), [None] * len(jobs)
        places, pixels = [], []
        for index, (job, logit) in enumerate(zip(jobs, scores, strict=True)):
            tiny = self._is_tiny(job)
            if self.classify(self.calibrate(logit, tiny), tiny) == "unsure":
                continue  # nothing to turn round
            for name, views in degraded_copies(job.loaded.image, self.config).items():
                places.append((index, name))
                pixels.append(views)
        if not pixels:
            return checks
        for (index, name), seen in zip(places, self._run(pixels), strict=True):
            tiny = self._is_tiny(jobs[index])
            first = self.classify(self.calibrate(scores[index], tiny), tiny)
            p_fake = self.calibrate(self._aggregate(seen.logits), tiny)
            other = self.classify(p_fake, tiny)
            turned = flips(first, p_fake, self.config.threshold, other, self.config.stability_flip)
            check = checks[index] = checks[index] or {"stable": True, "first_verdict": first, "copies": []}
            check["copies"].append({"copy": name, "p_fake": round(p_fake, 6), "verdict": other})
            check["stable"] &= not turned
        share = 1000 * (time.perf_counter() - started) / len({index for index, _ in places})
        for index, _ in places:
            jobs[index].ms["stability"] = share
        return checks

    def _verdict(
        self, job: PreparedImage, logit: float, seen: ViewOutputs, heatmap: bool, stability: dict | None
    ) -> Verdict:
        image, views, tiny = job.loaded.image, job.views, self._is_tiny(job)
        p_fake = self.calibrate(logit, tiny)
        notes = list(job.loaded.notes)
        if min(image.size) < TINY_SIDE:
            notes.append(f"The image is tiny ({image.width} x {image.height} pixels): there is little to judge by.")
        ms = job.ms | {"network": seen.ms}
        verdict, found, joined = self.classify(p_fake, tiny), None, None
        if stability and not stability["stable"]:
            verdict = "unsure"
            notes.append(unstable_note(stability, self.config.threshold))
        if self.provenance and (job.loaded.provenance or job.loaded.data is not None):
            found = job.loaded.provenance or read_provenance(job.loaded.data, budget_ms=PROVENANCE_MS, image=image)
            joined = join(verdict, p_fake, found)
            ms["provenance"] = found.ms
        likely = None if seen.families is None or tiny else families.probabilities(seen.families, self.config)
        answer, decided_by = (joined.verdict, joined.decided_by) if joined else (verdict, "pixels")
        # where the file itself declares what made it, that says more than a likeness
        called = answer == verdict == "fake" and decided_by == "pixels"
        return Verdict(
            verdict=answer,
            pixel_verdict=verdict,
            decided_by=decided_by,
            declared=joined.headline if joined and joined.decided_by != "pixels" else None,
            provenance=found.to_dict() | {"sentences": list(joined.sentences)} if joined else None,
            p_fake=p_fake,
            logit=logit,
            threshold=self.config.threshold,
            unsure_band=self.config.calibration(tiny)[2],
            image=job.loaded.facts,
            views=len(views.boxes),
            model=self.model_facts,
            ms=ms | {"total": sum(ms.values())},
            notes=tuple(notes),
            stability=stability,
            file=job.file,
            generator=likely if called and families.named(likely, self.config.family_threshold) else None,
            families=likely,
            signed_map=assemble(seen.maps, views.boxes, views.mirrored, image.size) if heatmap else None,
            picture=image if heatmap else None,
            origin=(found, joined) if joined else None,
        )


def name_of(image) -> str | None:
    """The name of an input as its owner gave it; None for bytes, arrays and PIL images."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
