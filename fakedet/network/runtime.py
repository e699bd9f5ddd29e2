"""Runs the network: views in, one raw logit and one map per view out, the same with every runtime.

A checkpoint with generator families also gives their raw outputs per view, except for views of tiny images.

"onnx" is ONNX Runtime with the graph of `graph.py`; "torch" is PyTorch. "auto" takes PyTorch on a GPU and ONNX Runtime
otherwise; if no usable graph can be loaded or made, it logs the reason and takes PyTorch.
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
TOLERANCE = 1e-3  # maximum difference between a graph and torch, of logits and maps; relative to values above 1
MAX_BYTES = 64 * 2**20  # of a graph file; ours have about 100 kB
# Waking a thread takes longer than most layers, so an idle one spins, but only for 20 microseconds and not between two
# calls: otherwise it would occupy a core that other work needs.
SPINNING = {"session.intra_op.spin_duration_us": "20", "session.force_spinning_stop": "1"}
VIEWS_AT_ONCE = 32  # PyTorch: a larger batch is not faster and takes more memory
PIXELS_AT_ONCE = 4 * 224**2  # ONNX Runtime: a larger batch exceeds the processor's cache and takes twice as long

# ONNX Runtime's builds send telemetry to Microsoft from the import on (see its Privacy.md) unless this is set first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

log = logging.getLogger("fakedet")


class RuntimeUnavailable(ValueError):
    """No usable graph; the message gives the reason."""


def usable_cpus() -> int:
    """CPUs that this process may use, by its affinity and its container's quota, which `os.cpu_count` ignores."""
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

        Raw family outputs, float32 (N, F), come third where the checkpoint has them for this view size.
        """
        parts = []
        for views in torch.as_tensor(pixels).split(VIEWS_AT_ONCE):
            parts.append([output.float().cpu().numpy() for output in self.model.score(views.to(self.device))])
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


class OnnxRuntime:
    """ONNX Runtime on the CPU. Thread-safe: callers share the weights and the thread pool.

    Args:
        checkpoint: From `hub.load_checkpoint`; its graphs come from its folder or the user's cache, or are exported.
        threads: Per call; by default all CPUs that this process may use.

    Raises:
        RuntimeUnavailable: There is no graph that agrees with torch.
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
        """As `TorchRuntime.__call__`, for the view sizes of the checkpoint's configuration."""
        pixels = np.ascontiguousarray(pixels, np.float32)
        side = pixels.shape[-1]
        names = list(graph.outputs(self.config, side))
        count = math.ceil(len(pixels) * side**2 / PIXELS_AT_ONCE)
        parts = [self.sessions[side].run(names, {graph.INPUT: views}) for views in np.array_split(pixels, count)]
        return tuple(parts[0]) if len(parts) == 1 else tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _session(self, checkpoint, name: str, side: int):
        """A session of the checkpoint's own graph, else the cached one, else a new one, which is then cached."""
        cache, reason = cache_path(checkpoint.sha256, side), "there is no graph"
        for path in (checkpoint.folder / name, cache):
            try:
                if path.is_file():
                    return self._load(path.read_bytes(), checkpoint.sha256, side)
            except (RuntimeUnavailable, OSError) as error:
                reason = str(error)
                log.info("%s is not used: %s", path.name, error)
        try:
            data = graph.make_graph(checkpoint.model, checkpoint.sha256, side)
        except Exception as error:  # torch's exporter raises its own types, and ImportError where onnx is missing
            raise RuntimeUnavailable(f"{reason}, and none can be made: {error}") from error
        session = self._load(data, checkpoint.sha256, side)
        try:
            graph.write_graph(data, cache)
        except OSError as error:
            log.info("the graph is not cached: %s", error)
        return session

    def _is_used(self, name: str, side: int) -> bool:
        """Whether the graph for views of this size uses the weights of this name."""
        if name.startswith("family."):
            return self.config.tells_families(side)
        return name.startswith("tiny.") == self.config.for_tiny_network(side)

    def _options(self, names: list[str]):
        """Settings of a session that needs exactly the weights of these names."""
        options = session_options(self.threads)
        options.add_external_initializers(names, [self.weights[name] for name in names])
        return options

    def _load(self, data: bytes, weights: str, side: int):
        """A session of a graph.

        Raises:
            RuntimeUnavailable: The graph was made for other weights, or its outputs differ from torch's.
        """
        import onnxruntime

        if len(data) > MAX_BYTES:
            raise RuntimeUnavailable("it is too large for a graph of fakedet")
        try:
            options = self._options([name for name in self.weights if self._is_used(name, side)])
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            facts = json.loads(session.get_modelmeta().custom_metadata_map[graph.KEY])
        except Exception as error:  # onnxruntime has many types of its own
            raise RuntimeUnavailable(f"it cannot be loaded: {str(error)[:300]}") from None
        if (facts.get("version"), facts.get("weights"), facts.get("side")) != (graph.VERSION, weights, side):
            raise RuntimeUnavailable("it was made for other weights, another input size or another version")
        names = graph.outputs(self.config, side)
        try:
            outputs = zip(names, session.run(list(names), {graph.INPUT: graph.check_input(side)}), strict=True)
            difference = max(relative_difference(values, facts[name]) for name, values in outputs)
        except Exception as error:  # an output, or torch's values of it, are missing
            raise RuntimeUnavailable(f"it cannot be compared with torch: {str(error)[:300]}") from None
        if not difference <= TOLERANCE:  # true for NaN, too
            raise RuntimeUnavailable(f"its outputs differ from torch's by {difference:.2g}")
        return session


def relative_difference(values: np.ndarray, expected: list[float]) -> float:
    """Largest difference from the expected values; over their largest magnitude where that is above 1."""
    reference = np.reshape(expected, values.shape)
    return float(np.abs(values - reference).max() / max(1.0, np.abs(reference).max()))


def session_options(threads: int):
    """Settings of an ONNX Runtime session: threads per call, and only errors in the log."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for key, value in SPINNING.items():
        options.add_session_config_entry(key, value)
    return options


def cache_path(weights_sha256: str, side: int) -> Path:
    """File of a graph that was exported on demand, in FAKEDET_CACHE or the user's cache folder."""
    root = os.environ.get("FAKEDET_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fakedet"
    )
    return Path(root) / f"{weights_sha256}-{side}-v{graph.VERSION}-torch{torch.__version__}.onnx"


def make_runtime(checkpoint, runtime: str = "auto", threads: int | None = None) -> TorchRuntime | OnnxRuntime:
    """Creates a runtime by name; "auto" takes the fastest that is installed and agrees with torch.

    Args:
        checkpoint: From `hub.load_checkpoint`.
        runtime: "auto", or one of `RUNTIMES`.
        threads: CPU threads of one call; by default FAKEDET_THREADS, else all that this process may use.

    Raises:
        ValueError: There is no runtime of that name, or FAKEDET_THREADS is not a whole number above 0.
        RuntimeUnavailable: The runtime that was named (not "auto") cannot be used.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise ValueError(f"there is no runtime {runtime!r}; choose from auto, {', '.join(RUNTIMES)}")
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
            log.warning("PyTorch is used, since ONNX Runtime cannot be: %s", error)
    if threads:
        torch.set_num_threads(threads)
    return TorchRuntime(checkpoint.model)
