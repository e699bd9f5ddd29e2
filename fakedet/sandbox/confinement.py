"""Limits that a worker sets on itself: memory, files, core dumps, CPU time. Without effect where the OS has none."""

from __future__ import annotations

import math
import time

try:
    import resource
except ImportError:  # Windows
    resource = None


def confine(memory_mb: int) -> None:
    """Limit this process to `memory_mb` MB of data, no written files and no core dumps."""
    if resource is None:
        return
    for name, limit in (("RLIMIT_DATA", memory_mb * 2**20), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def allow_seconds(seconds: float) -> None:
    """Let the OS end this process after `seconds` more of CPU time, rounded up to whole seconds."""
    if resource is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
