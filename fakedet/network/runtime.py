"""Runs the network: views in, one raw logit and one map per view out. Same outputs whatever runs it.

A checkpoint that names generator families gives their raw outputs per view as well, but for views of tiny images.

"onnx" is ONNX Runtime with the graph of `graph.py`; "torch" is PyTorch. "auto" takes PyTorch where there is a GPU, else
the graph, and PyTorch again (saying why in the log) where the graph cannot be had or answers otherwise.
"""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path

import numpy as np
import torch

from . import graph
from .model import FakeDetForImageClassification

RUNTIMES = ("torch", "onnx")
TOLERANCE = 1e-3  # between a graph and torch, on logits and maps
MAX_BYTES = 64 * 2**20  # of a graph file; ours have a hundred thousand
# An idle thread waits awake for the next layer, since waking it takes longer than most layers, but only so many
# microseconds, and not between two calls: beside other work, or in a server, it would else spin its core away.
SPINNING = {"session.intra_op.spin_duration_us": "20", "session.force_spinning_stop": "1"}
VIEWS_AT_ONCE = 32  # of PyTorch: more at once is not faster and takes more memory
PIXELS_AT_ONCE = 4 * 224**2  # of ONNX Runtime: beyond, the maps leave the processor's cache, a view takes twice as long

# ONNX Runtime's builds tell Microsoft of their use from the import on (its Privacy.md), unless this is set first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

log = logging.getLogger("fakedet")


class RuntimeUnavailable(ValueError):
    """A graph cannot be had or must not be used; the message says why in one sentence."""


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, and the quota of a container, which `os.cpu_count` does not see."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(1, count)


class TorchRuntime:
    """PyTorch in channels_last and inference mode, on the given device."""

    name = "torch"

    def __init__(self, model: FakeDetForImageClassification, device: str | torch.device | None = None):
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray | torch.Tensor) -> tuple[np.ndarray, ...]:
        """Raw logits float32 (N,) and signed Grad-CAM maps float32 (N, h, w) for pixels float32 (N, 3, S, S).

        Third come the families' raw outputs, float32 (N, families), where the checkpoint has them for this side.
        """
        parts = []
        for views in torch.as_tensor(pixels).split(VIEWS_AT_ONCE):
            parts.append([found.float().cpu().numpy() for found in self.model.score(views.to(self.device))])
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


class OnnxRuntime:
    """ONNX Runtime on the CPU. Safe to call from several threads: they share the weights and the pool of threads.

    Args:
        checkpoint: From `hub.load_checkpoint`; its graphs are taken from its folder, from the user's cache, or made.
        threads: Per call; by default all CPUs that this process may use.

    Raises:
        RuntimeUnavailable: No graph, or not the same answers as torch.
    """

    name = "onnx"

    def __init__(self, checkpoint, threads: int | None = None):
        try:
            import onnxruntime
        except ImportError:
            raise RuntimeUnavailable("onnxruntime is not installed (pip install onnxruntime)") from None
        self.threads = threads or usable_cpus()
        state = checkpoint.model.state_dict()
        self.weights = {
            key: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value.float().cpu().numpy()))
            for key, value in state.items()
            if not key.endswith("num_batches_tracked")
        }
        files = graph.sides(checkpoint.model.config)
        self.config = checkpoint.model.config
        self.sessions = {side: self._session(checkpoint, name, side) for name, side in files.items()}

    def __call__(self, pixels: np.ndarray | torch.Tensor) -> tuple[np.ndarray, ...]:
        """As `TorchRuntime.__call__`, for the sides that the checkpoint's configuration names."""
        pixels = np.ascontiguousarray(pixels, np.float32)
        side = pixels.shape[-1]
        names = list(graph.outputs(self.config, side))
        count = math.ceil(len(pixels) * side**2 / PIXELS_AT_ONCE)
        parts = [self.sessions[side].run(names, {graph.INPUT: views}) for views in np.array_split(pixels, count)]
        return tuple(parts[0]) if len(parts) == 1 else tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _session(self, checkpoint, name: str, side: int):
        """The checkpoint's own graph, else the one in the cache, else a new one, which is put there."""
        places, why = [checkpoint.folder / name, cached(checkpoint.sha256, side)], "there is none"
        for place in places:
            try:
                if place.is_file():
                    return self._load(place.read_bytes(), checkpoint.sha256, side)
            except (RuntimeUnavailable, OSError) as error:
                why = str(error)
                log.info("%s is not used: %s", place.name, error)
        try:
            made = graph.make_graph(checkpoint.model, checkpoint.sha256, side)
        except Exception as error:  # torch's exporter raises its own types, and ImportError where onnx is missing
            raise RuntimeUnavailable(f"{why}, and none can be made: {error}") from error
        session = self._load(made, checkpoint.sha256, side)
        try:
            graph.write_graph(made, places[1])
        except OSError as error:
            log.info("the graph is not cached: %s", error)
        return session

    def _belongs(self, name: str, side: int) -> bool:
        """Whether the graph for views of this side computes with the weights of this name."""
        if name.startswith("family."):
            return self.config.tells_families(side)
        return name.startswith("tiny.") == self.config.for_tiny_network(side)

    def _options(self, names: list[str]):
        """Settings of a session that takes the weights of these names; it would refuse others."""
        options = session_options(self.threads)
        options.add_external_initializers(names, [self.weights[name] for name in names])
        return options

    def _load(self, data: bytes, weights: str, side: int):
        """A session for a graph that belongs to the weights and answers as torch did when it was made."""
        import onnxruntime

        if len(data) > MAX_BYTES:
            raise RuntimeUnavailable("it is larger than any graph of ours")
        try:
            options = self._options([name for name in self.weights if self._belongs(name, side)])
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            facts = json.loads(session.get_modelmeta().custom_metadata_map[graph.KEY])
        except Exception as error:  # onnxruntime has many types of its own
            raise RuntimeUnavailable(f"it cannot be loaded: {str(error)[:300]}") from None
        if (facts.get("version"), facts.get("weights"), facts.get("side")) != (graph.VERSION, weights, side):
            raise RuntimeUnavailable("it was made for other weights, another input size or another version")
        names = graph.outputs(self.config, side)
        try:
            answers = zip(names, session.run(list(names), {graph.INPUT: graph.check_input(side)}), strict=True)
            off = max(np.abs(found - np.reshape(facts[name], found.shape)).max() for name, found in answers)
        except Exception as error:  # it lacks an output, or what torch said of it
            raise RuntimeUnavailable(f"it cannot be compared with torch: {str(error)[:300]}") from None
        if not off <= TOLERANCE:  # also where it is not a number
            raise RuntimeUnavailable(f"its answers differ from torch's by {off:.2g}")
        return session


def session_options(threads: int):
    """ONNX Runtime's settings of a session: so many threads a call, no word but errors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for key, value in SPINNING.items():
        options.add_session_config_entry(key, value)
    return options


def cached(weights_sha256: str, side: int) -> Path:
    """Where a graph is kept that was made on demand: FAKEDET_CACHE, else the user's cache folder."""
    root = os.environ.get("FAKEDET_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fakedet"
    )
    return Path(root) / f"{weights_sha256}-{side}-v{graph.VERSION}-torch{torch.__version__}.onnx"


def make_runtime(checkpoint, runtime: str = "auto", threads: int | None = None) -> TorchRuntime | OnnxRuntime:
    """The runtime by name; "auto" takes the fastest that is installed and agrees.

    Args:
        checkpoint: From `hub.load_checkpoint`.
        runtime: "auto", or one of `RUNTIMES`.
        threads: CPU threads of one call; FAKEDET_THREADS, else all that this process may use.

    Raises:
        ValueError: No runtime of that name, or a number of threads that is none.
        RuntimeUnavailable: The one that was named (not "auto") cannot be used.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise ValueError(f"no runtime named {runtime!r}; there are: auto, {', '.join(RUNTIMES)}")
    if threads is None and (text := os.environ.get("FAKEDET_THREADS", "").strip()):
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"FAKEDET_THREADS must be a whole number of at least 1, not {text!r}")
        threads = int(text)
    if runtime == "onnx" or (runtime == "auto" and not torch.cuda.is_available()):
        try:
            return OnnxRuntime(checkpoint, threads)
        except RuntimeUnavailable as error:
            if runtime == "onnx":
                raise
            log.warning("torch runs the network, ONNX Runtime does not: %s", error)
    if threads:
        torch.set_num_threads(threads)
    return TorchRuntime(checkpoint.model)
