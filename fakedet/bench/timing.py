"""Interleaved timing: everything that is compared runs in turn, and ratios are taken within a turn.

Whatever else the machine does then affects all functions alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

WARM_UP_S = 0.02  # PyTorch's OpenMP threads spin for some milliseconds after their work


def time_interleaved(
    functions: dict[str, Callable[[], object]], seconds: float, min_turns: int = 3, warm_up: bool = False
) -> dict[str, list[float]]:
    """Milliseconds of each function per turn; every turn runs all of them, after one turn that does not count.

    Args:
        functions: {name: function}.
        seconds: For all turns together.
        min_turns: Run at least this many turns.
        warm_up: Call each function for `WARM_UP_S` before it is timed, since the spinning threads of the previous one
            would still occupy its cores.
    """
    timings: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(next(iter(timings.values()))) < min_turns:
        for name, function in functions.items():
            until = time.perf_counter() + WARM_UP_S * warm_up
            while time.perf_counter() < until:
                function()
            start = time.perf_counter()
            function()
            timings[name].append(1000 * (time.perf_counter() - start))
    return timings


def timing_rows(part: str, timings: dict[str, list[float]], reference: str) -> list[dict]:
    """One row per function: median milliseconds, turns, and the ratios to the function named `reference`."""
    return [
        {"part": part, "what": name, "ms": round(statistics.median(values), 2), "turns": len(values)}
        | ratio_summary(value / own for value, own in zip(values, timings[reference], strict=True))
        for name, values in timings.items()
    ]


def ratio_summary(ratios: Iterable[float]) -> dict[str, list[float]]:
    """{times_ours: [minimum, median, maximum]} of the ratios of all turns."""
    ratios = sorted(ratios)
    return {"times_ours": [round(value, 2) for value in (ratios[0], statistics.median(ratios), ratios[-1])]}
