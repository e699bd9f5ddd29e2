"""Benchmark of a fresh process up to its first verdict: time and peak memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from .baselines import SIDE
from .images import synthetic_jpeg
from .timing import timing_rows

PROGRAMS = {
    "import of ONNX Runtime, Pillow and numpy alone": "import onnxruntime, PIL.Image, numpy",
    "fakedet in the transformers pipeline": (
        "import fakedet; from transformers import pipeline; "
        "pipeline('image-classification', model=str(fakedet.__path__[0]) + '/pretrained', device='cpu')(PATH)"
    ),
    "fakedet": "from fakedet import Detector; Detector.from_pretrained().predict(PATH)",
    f"EfficientNet-B0 at {SIDE}, eager": (
        "import timm, torch, numpy as np; from PIL import Image; m = timm.create_model('efficientnet_b0').eval(); "
        "x = np.asarray(Image.open(PATH).convert('RGB').resize((224, 224)), np.float32); "
        "m(torch.from_numpy(x).permute(2, 0, 1)[None])"
    ),
    f"ViT-B/16 pipeline at {SIDE}": (
        "import transformers as tf; c = tf.ViTConfig(num_labels=2); "
        "p = tf.pipeline('image-classification', model=tf.ViTForImageClassification(c), "
        "image_processor=tf.ViTImageProcessor(), device='cpu'); p(PATH)"
    ),
}
# Prints the peak memory in kB; getrusage would count this process's memory from before the new program began.
PRINT_PEAK = "print(*[line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')])"


def bench_startup(folder: Path, turns: int) -> list[dict]:
    """Times new processes.

    Args:
        folder: Where the image is written.
        turns: How often each program runs.

    Returns:
        Rows of `timing_rows` with `peak_mb`, 0 where the system has no /proc.
    """
    path = folder / "start.jpg"
    path.write_bytes(synthetic_jpeg(640, 480))
    print_peak = PRINT_PEAK if Path("/proc/self/status").exists() else "print(0)"
    timings: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    peaks_mb = {}
    for _ in range(turns):
        for name, program in PROGRAMS.items():
            code = f"{program.replace('PATH', repr(str(path)))}; {print_peak}"
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
            timings[name].append(1000 * (time.perf_counter() - start))
            peaks_mb[name] = int(done.stdout.split()[-1]) / 1024
    rows = timing_rows("fresh process to first answer", timings, "fakedet")
    return [row | {"peak_mb": round(peaks_mb[row["what"]])} for row in rows]
