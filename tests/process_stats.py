"""Memory and CPU time of processes, from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not (Linux)."""
    pids = [pid]
    for task in pids:
        for thread in Path(f"/proc/{task}/task").glob("*/children"):
            try:
                pids += map(int, thread.read_text().split())
            except OSError:  # ended meanwhile
                continue
    return pids


class Memory:
    """Peak memory of a process and its children, in MB, since the last call (Linux)."""

    def __init__(self, pid: int):
        self.pid = pid
        self.idle = self.peak()

    def peak(self) -> float:
        """Return the sum of all peaks, and reset them."""
        total = 0
        for pid in family(self.pid):
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except (OSError, StopIteration):  # ended meanwhile
                continue
        return total / 1024


def resident() -> int:
    """Return the resident memory in MB (Linux; 0 elsewhere)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 2**20
    except OSError:
        return 0


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used (Linux; 0 elsewhere)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
