"""How many reports are taken in an hour: from one client, and from all together."""

from __future__ import annotations

import time
from collections import deque

WINDOW_SECONDS = 3600


class ReportRate:
    """A sliding window over the reports of the last hour. Addresses stay in memory, and no longer than that.

    Args:
        per_client: Reports from one client.
        total: Reports from all clients together; it also bounds the memory.
    """

    def __init__(self, per_client: int, total: int):
        self.per_client, self.total = per_client, total
        self._taken: deque[tuple[float, str]] = deque()

    def admit(self, client: str) -> bool:
        """Counts a report of a client and returns True, or returns False where it is one too many."""
        now = time.monotonic()
        while self._taken and self._taken[0][0] < now - WINDOW_SECONDS:
            self._taken.popleft()
        own = sum(other == client for _, other in self._taken)
        if own >= self.per_client or len(self._taken) >= self.total:
            return False
        self._taken.append((now, client))
        return True
