"""Runs the network with ONNX Runtime and numpy, on the CPU, with the graph of `graph_export.py`. Needs no torch."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
from pathlib import Path

import numpy as np

from . import graph
from .graph import RuntimeUnavailable

TOLERANCE = 1e-3  # maximum difference between a graph and torch, of logits and maps; relative to values above 1
# Waking a thread takes longer than most layers, so an idle one spins, but only for 20 microseconds and not between two
# calls: otherwise it would occupy a core that other work needs.
SPINNING = {"session.intra_op.spin_duration_us": "20", "session.force_spinning_stop": "1"}
PIXELS_AT_ONCE = 2 * 224**2  # two threads are as fast with 2 to 6 views at once, and each view takes 23 MB

# ONNX Runtime's builds send telemetry to Microsoft from the import on (see its Privacy.md) unless this is set first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

log = logging.getLogger("fakedet")


def usable_cpus() -> int:
    """CPUs that this process may use, by its affinity and its container's quota, which `os.cpu_count` ignores."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(1, count)


class OnnxRuntime:
    """ONNX Runtime on the CPU. Thread-safe: callers share the weights and the thread pool.

    Args:
        checkpoint: From `hub.load_checkpoint`; its graphs come from its folder or the user's cache, or are exported.
        threads: Per call; by default all CPUs that this process may use.
        lazy: Load the graph of a view size other than `input_size` when the first such view comes.

    Raises:
        RuntimeUnavailable: There is no graph that agrees with torch.
    """

    name = "onnx"

    def __init__(self, checkpoint, threads: int | None = None, lazy: bool = False):
        try:
            import onnxruntime
        except ImportError:
            raise RuntimeUnavailable("onnxruntime is not installed (pip install onnxruntime)") from None
        self.threads = threads or usable_cpus()
        self.config = checkpoint.settings
        self.sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._checkpoint, self._lock = checkpoint, threading.Lock()
        for side in graph.sides(self.config).values():
            if not lazy or side == self.config.input_size:
                self._session_for(side)

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        """Raw logits float32 (N,) and signed Grad-CAM maps float32 (N, h, w) for pixels float32 (N, 3, S, S).

        Raw family outputs, float32 (N, F), come third where the checkpoint has them for this view size. S is a view
        size of the checkpoint's settings.
        """
        pixels = np.ascontiguousarray(pixels, np.float32)
        side = pixels.shape[-1]
        names = list(graph.outputs(self.config, side))
        count = math.ceil(len(pixels) * side**2 / PIXELS_AT_ONCE)
        session = self._session_for(side)
        parts = [session.run(names, {graph.INPUT: views}) for views in np.array_split(pixels, count)]
        return tuple(parts[0]) if len(parts) == 1 else tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _session_for(self, side: int):
        """The session for views of this size, loaded when first asked for."""
        with self._lock:
            if side not in self.sessions:
                name = next(name for name, own in graph.sides(self.config).items() if own == side)
                self.sessions[side] = self._session(self._checkpoint, name, side)
            return self.sessions[side]

    def _session(self, checkpoint, name: str, side: int):
        """A session of the checkpoint's own graph, else the cached one, else a new one, which is then cached."""
        cache, reason = graph.cache_path(checkpoint.sha256, side), "there is no graph"
        for path in (checkpoint.folder / name, cache):
            try:
                if path.is_file():
                    return self._load(path.read_bytes(), checkpoint.sha256, side)
            except (RuntimeUnavailable, OSError) as error:
                reason = str(error)
                log.info("%s is not used: %s", path.name, error)
        model = checkpoint.model  # its errors are the checkpoint's own
        try:
            from .graph_export import make_graph

            data = make_graph(model, checkpoint.sha256, side)
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

    def _options(self, side: int):
        """Settings of a session for views of this size, with exactly the weights that it needs."""
        from onnxruntime import OrtValue

        stored = self._checkpoint.weights
        names = [name for name in stored if not name.endswith("num_batches_tracked") and self._is_used(name, side)]
        options = session_options(self.threads)
        values = [OrtValue.ortvalue_from_numpy(stored[name]) for name in names]  # shares the memory of the array
        options.add_external_initializers(names, values)
        return options

    def _load(self, data: bytes, weights: str, side: int):
        """A session of a graph.

        Raises:
            RuntimeUnavailable: The graph was made for other weights, or its outputs differ from torch's.
        """
        import onnxruntime

        if len(data) > graph.MAX_BYTES:
            raise RuntimeUnavailable("it is too large for a graph of fakedet")
        options = self._options(side)
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            facts = json.loads(session.get_modelmeta().custom_metadata_map[graph.KEY])
        except Exception as error:  # onnxruntime has many types of its own
            raise RuntimeUnavailable(f"it cannot be loaded: {str(error)[:300]}") from None
        if (facts.get("version"), facts.get("weights"), facts.get("side")) != (graph.VERSION, weights, side):
            raise RuntimeUnavailable("it was made for other weights, another input size or another version")
        checked = graph.checked_path(data, onnxruntime.__version__)
        if not checked.is_file():  # comparing takes some 30 of the 490 ms to a first answer
            self._compare(session, facts, side)
            with contextlib.suppress(OSError):
                checked.parent.mkdir(parents=True, exist_ok=True)
                checked.touch()
        return session

    def _compare(self, session, facts: dict, side: int) -> None:
        """Compares a graph's outputs with torch's, for one of the views for which the graph holds them.

        Raises:
            RuntimeUnavailable: They differ, or are missing.
        """
        names = graph.outputs(self.config, side)
        try:
            view = graph.check_input(side, views=1)  # it reads all weights, as three views do
            outputs = zip(names, session.run(list(names), {graph.INPUT: view}), strict=True)
            difference = max(relative_difference(values[0], facts[name][: values[0].size]) for name, values in outputs)
        except Exception as error:  # an output, or torch's values of it, are missing
            raise RuntimeUnavailable(f"it cannot be compared with torch: {str(error)[:300]}") from None
        if not difference <= TOLERANCE:  # true for NaN, too
            raise RuntimeUnavailable(f"its outputs differ from torch's by {difference:.2g}")


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
