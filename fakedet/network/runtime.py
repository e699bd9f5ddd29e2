"""Chooses what runs the network: views in, one raw logit and one map per view out, the same with every runtime.

A checkpoint with generator families also gives their raw outputs per view, except for views of tiny images.

"onnx" is ONNX Runtime, "torch" is PyTorch. "auto" takes PyTorch on a GPU and ONNX Runtime otherwise; if no usable graph
can be loaded or made, it logs the reason and takes PyTorch. torch is imported only where PyTorch is taken, a graph is
exported, or the machine may have a GPU.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys

from .graph import RuntimeUnavailable
from .onnx_runtime import OnnxRuntime, usable_cpus

__all__ = ["RUNTIMES", "OnnxRuntime", "RuntimeUnavailable", "gpu_available", "make_runtime", "usable_cpus"]

RUNTIMES = ("torch", "onnx")
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows Subsystem for Linux

log = logging.getLogger("fakedet")


def make_runtime(checkpoint, runtime: str = "auto", threads: int | None = None, lazy: bool = False):
    """Creates a runtime by name; "auto" takes the fastest that is installed and agrees with torch.

    Args:
        checkpoint: From `hub.load_checkpoint`.
        runtime: "auto", or one of `RUNTIMES`.
        threads: CPU threads of one call; by default FAKEDET_THREADS, else all that this process may use.
        lazy: As for `OnnxRuntime`.

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
    if runtime == "onnx" or (runtime == "auto" and not gpu_available()):
        try:
            return OnnxRuntime(checkpoint, threads, lazy)
        except RuntimeUnavailable as error:
            if runtime == "onnx":
                raise
            log.warning("PyTorch is used, since ONNX Runtime cannot be: %s", error)
    return _torch_runtime(checkpoint, threads)


def gpu_available() -> bool:
    """Whether PyTorch can use a GPU here. It is asked, and imported, only on a machine that may have one."""
    if importlib.util.find_spec("torch") is None or not ("torch" in sys.modules or _has_gpu_device()):
        return False
    import torch

    return torch.cuda.is_available()


def _has_gpu_device() -> bool:
    """Whether the system has the device or the tool of a GPU driver, and the environment does not hide all GPUs."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(map(os.path.exists, GPU_DEVICES)) or shutil.which("nvidia-smi") is not None


def _torch_runtime(checkpoint, threads: int | None):
    """The torch runtime on `threads` CPU threads; None leaves their number.

    Raises:
        RuntimeUnavailable: PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise RuntimeUnavailable("PyTorch is not installed (pip install 'fakedet[torch]')")
    import torch

    from .torch_runtime import TorchRuntime

    if threads:
        torch.set_num_threads(threads)
    return TorchRuntime(checkpoint.model)
