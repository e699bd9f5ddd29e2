"""The detector: images in, verdicts out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from fakedet.hub import Checkpoint, load_checkpoint
from fakedet.images import CorruptImage, ImageError, Limits, LoadedImage, open_image
from fakedet.network import graph
from fakedet.network.runtime import make_runtime
from fakedet.network.settings import Calibration
from fakedet.network.views import make_views
from fakedet.stability import recheck
from fakedet.verdict import Failure, Verdict
from fakedet.verdict_builder import PROVENANCE_MS, PreparedImage, VerdictBuilder, ViewOutputs

OPTIONAL = {graph.FAMILY, graph.KIND}  # outputs that not every checkpoint has

__all__ = ["PROVENANCE_MS", "Detector", "Failure", "PreparedImage", "Verdict", "ViewOutputs"]


class Detector:
    """Decides whether a camera took an image or a generator made it.

    Thread-safe: the network is only read.

    Args:
        checkpoint: From `hub.load_checkpoint`.
        runtime: "auto" or a name from `runtime.RUNTIMES`.
        limits: Maximum size of an input.
        provenance: Read the file's metadata and let a declaration decide by the table in `provenance.rules`. If False,
            the pixels alone give the verdict (as in every reported figure).
        threads: CPU threads of the network; by default FAKEDET_THREADS, else all that this process may use.
        lazy: Load what only tiny images need when the first of them comes: a process that scores one image starts
            faster, but an error of that part comes later.
        early_exit: Score all views of an image only where the first ones leave a doubt (`Settings.early_exit_views`).
            Not applied where a heat map or stability is asked for: both need all views.

    Raises:
        ValueError: No such runtime, or it cannot be used.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: str = "auto",
        limits: Limits | None = None,
        provenance: bool = True,
        threads: int | None = None,
        lazy: bool = False,
        early_exit: bool = False,
    ):
        self.checkpoint = checkpoint
        self.early_exit = early_exit and checkpoint.settings.early_exit_views > 0
        self.provenance = provenance
        self.config = checkpoint.settings
        self.limits = limits or Limits()
        self.runtime = make_runtime(checkpoint, runtime, threads, lazy)
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
        lazy: bool = False,
        early_exit: bool = False,
    ) -> Detector:
        """Loads a checkpoint: a Hub id ("owner/name" or "owner/name@revision"), a folder, or the bundled one (None).

        Raises:
            hub.ModelError: The checkpoint cannot be loaded or used.
            ValueError: No such runtime, or it cannot be used.
        """
        return cls(load_checkpoint(model, revision), runtime, limits, provenance, threads, lazy, early_exit)

    def predict(self, image, heatmap: bool = False, stability: bool = False) -> Verdict:
        """Scores one image.

        Args:
            image: Path, bytes, open binary file, PIL image, array H x W [x C], or a `LoadedImage`.
            heatmap: Keep the Grad-CAM map and the image, for `Verdict.overlay()`.
            stability: Score degraded copies too, unless the answer is "unsure" already, and answer "unsure" if one
                changes the answer (see `fakedet.stability`). `p_fake` and `logit` stay those of the image itself.

        Raises:
            ImageError: The input cannot be scored; the message says why in one sentence.
        """
        return self.predict_prepared([self._prepare(image)], heatmap, stability)[0]

    def predict_many(
        self, images: Iterable, batch_size: int = 32, heatmap: bool = False, stability: bool = False
    ) -> Iterator[Verdict | Failure]:
        """Scores images in batches, in order; an input that cannot be scored gives a Failure in its place.

        Args:
            images: Anything `predict` takes.
            batch_size: Images per pass through the network, at least 1.
            heatmap, stability: As in `predict`.

        Raises:
            ValueError: `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        source = iter(images)
        while batch := list(islice(source, batch_size)):
            prepared = [self._prepare_or_fail(image) for image in batch]
            usable = [item for item in prepared if isinstance(item, PreparedImage)]
            verdicts = iter(self.predict_prepared(usable, heatmap, stability))
            for item in prepared:
                yield item if isinstance(item, Failure) else next(verdicts)

    def predict_prepared(
        self, images: list[PreparedImage], heatmap: bool = False, stability: bool = False
    ) -> list[Verdict]:
        """Scores images that are already decoded and cut, in one batch; arguments as in `predict`."""
        if not images:
            return []
        first_alone = self.early_exit and not (heatmap or stability)
        outputs = self._run_early(images) if first_alone else self._run([image.views.pixels for image in images])
        logits = [self._aggregate(own) for own in outputs]
        checks = self._recheck(images, logits) if stability else [None] * len(images)
        verdicts = []
        for image, own, logit, check in zip(images, outputs, logits, checks, strict=True):
            builder = VerdictBuilder(image, own, logit, self.config)
            builder.apply_recheck(check)
            builder.apply_kind()
            if self.provenance:
                builder.apply_provenance()
            builder.name_generator()
            if heatmap:
                builder.add_heatmap()
            verdicts.append(builder.build(self.model_facts))
        return verdicts

    def calibrate(self, logit: float, tiny: bool = False) -> float:
        """P(fake), 0..1, for the raw aggregated logit of an image; `tiny` if its short side is below `tiny_side`."""
        return self.config.calibration(tiny).p_fake(logit)

    def classify(self, p_fake: float, tiny: bool = False) -> str:
        """ "real", "fake" or "unsure" for a calibrated probability, 0..1."""
        return self.config.calibration(tiny).classify(p_fake)

    def _calibration(self, image: PreparedImage) -> Calibration:
        return self.config.calibration(self.config.is_tiny(image.loaded.image.size))

    def _prepare(self, image) -> PreparedImage:
        """Decodes an image and cuts its views.

        Raises:
            ImageError: It cannot be decoded or cut.
        """
        started = time.perf_counter()
        loaded = image if isinstance(image, LoadedImage) else open_image(image, self.limits)
        decoded = time.perf_counter()
        try:
            views = make_views(loaded.image, self.config)
        except ValueError as error:
            raise CorruptImage(f"This image cannot be scored: {error}.") from None
        decode_ms = 1000 * (decoded - started) if loaded.ms is None else loaded.ms
        ms = {"decode": decode_ms, "views": 1000 * (time.perf_counter() - decoded)}
        return PreparedImage(loaded, views, _file_name(image), ms)

    def _prepare_or_fail(self, image) -> PreparedImage | Failure:
        try:
            return self._prepare(image)
        except ImageError as error:
            return Failure(error, _file_name(image))

    def _run(self, view_sets: list[np.ndarray]) -> list[ViewOutputs]:
        """Runs the network once per view size and splits its outputs by view set.

        Args:
            view_sets: Each float32 (V, 3, S, S); V and S may differ.
        """
        outputs: list = [None] * len(view_sets)
        sides = [views.shape[-1] for views in view_sets]
        for side in sorted(set(sides)):
            indices = [index for index, own in enumerate(sides) if own == side]
            started, start = time.perf_counter(), 0
            names = OPTIONAL & set(own := graph.outputs(self.config, side))
            arrays = dict(zip(own, self.runtime(np.concatenate([view_sets[index] for index in indices])), strict=True))
            ms = 1000 * (time.perf_counter() - started) / len(indices)
            for index in indices:
                end = start + len(view_sets[index])
                optional = {name: arrays[name][start:end] for name in names}
                outputs[index] = ViewOutputs(arrays["logit"][start:end], arrays["cam"][start:end], ms, **optional)
                start = end
        return outputs

    def _run_early(self, images: list[PreparedImage]) -> list[ViewOutputs]:
        """Runs the network on the first views of the images, and on the others of those that they leave in doubt."""
        first, (low, high) = self.config.early_exit_views, self.config.early_exit_band
        sets = [image.views.pixels for image in images]
        tiny = [self.config.is_tiny(image.loaded.image.size) for image in images]  # the band is not made for those
        outputs = self._run([views if own else views[:first] for views, own in zip(sets, tiny, strict=True)])
        cut = [i for i, own in enumerate(outputs) if len(own.logits) < len(sets[i])]
        doubtful = [i for i in cut if low < self.calibrate(self._aggregate(outputs[i])) < high]
        for i, others in zip(doubtful, self._run([sets[i][first:] for i in doubtful]), strict=True):
            outputs[i] = outputs[i].extended(others)
        return outputs

    def _aggregate(self, outputs: ViewOutputs) -> float:
        """The raw logit of an image from those of its views.

        Raises:
            RuntimeError: It is not finite.
        """
        logit = float(outputs.logits.max() if self.config.aggregate == "max" else outputs.logits.mean())
        if not math.isfinite(logit):
            raise RuntimeError("The network output is not finite: the checkpoint is broken.")
        return logit

    def _recheck(self, images: list[PreparedImage], logits: list[float]) -> list[dict | None]:
        """`stability.recheck` of prepared images; its time is shared among those that were checked."""

        def score(view_sets: list[np.ndarray]) -> list[float]:
            return [self._aggregate(outputs) for outputs in self._run(view_sets)]

        started = time.perf_counter()
        calibrations = [self._calibration(image) for image in images]
        checks = recheck([image.loaded.image for image in images], logits, calibrations, self.config, score)
        checked = [image for image, check in zip(images, checks, strict=True) if check]
        ms = 1000 * (time.perf_counter() - started)
        for image in checked:
            image.ms["stability"] = ms / len(checked)
        return checks


def _file_name(image) -> str | None:
    """The path of an input as given; None for bytes, arrays and PIL images."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
