"""Timing of things that are compared: in turns, ratios within a turn. See bench.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

WARM = 0.02  # seconds; OpenMP's threads, which PyTorch has, spin for some milliseconds


def in_turns(runs: dict[str, Callable], seconds: float, least: int = 3, warm: bool = False) -> dict[str, list[float]]:
    """Milliseconds of each function per turn; every turn runs all of them, after one that does not count.

    Args:
        runs: name -> function.
        seconds: For all turns together; `least` turns are made in any case.
        warm: Call each function uncounted for `WARM` seconds before it counts: the threads of the one before it go
            on spinning for a while, and would take its cores.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(next(iter(taken.values()))) < least:
        for name, run in runs.items():
            until = time.perf_counter() + WARM * warm
            while time.perf_counter() < until:
                run()
            start = time.perf_counter()
            run()
            taken[name].append(1000 * (time.perf_counter() - start))
    return taken


def rows_of(part: str, taken: dict[str, list[float]], ours: str) -> list[dict]:
    """One row for each: median milliseconds, and how many times ours it takes (min, median, max of the turns)."""
    return [
        {"part": part, "what": name, "ms": round(statistics.median(values), 2), "turns": len(values)}
        | spread(value / own for value, own in zip(values, taken[ours], strict=True))
        for name, values in taken.items()
    ]


def spread(ratios: Iterable[float]) -> dict:
    """Smallest, middle and largest of the turns' ratios."""
    ratios = sorted(ratios)
    return {"times_ours": [round(value, 2) for value in (ratios[0], statistics.median(ratios), ratios[-1])]}
