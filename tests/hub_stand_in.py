"""A stand-in for the Hugging Face Hub on loopback, which the real client talks to through HF_ENDPOINT.

It keeps repositories in memory and answers the routes by which huggingface_hub, transformers and datasets create a
repository, upload to it, list, tag and download it. `Hub.fault` makes it fail as a network does.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import threading

from hub_routes import Routes
from hub_store import LARGE, TOKEN, Blob, Fault, Repo

__all__ = ["TOKEN", "Hub"]


class Hub:
    """The server and its state; use it as a context manager."""

    def __init__(self):
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        handler = type("Handler", (Routes,), {"hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # large files come from another host, as on the real Hub
        self.store = f"http://localhost:{self.server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server and its open connections."""
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):  # also those kept alive, as if the host were gone
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def environment(self, home, token: bool = True) -> dict[str, str]:
        """Variables for a process that talks to this Hub, with a cache of its own in `home`."""
        variables = {"HF_TOKEN": TOKEN} if token else {}
        return variables | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def add(self, id: str, files: dict[str, bytes] | None = None, kind: str = "models", **facts) -> Repo:
        """Adds a commit with these files to a repository, which is made if it does not exist."""
        repo = self.repos.setdefault((kind, id), Repo(kind, id, **facts))
        repo.commit({name: Blob(data, name.endswith(LARGE)) for name, data in (files or {}).items()}, "start")
        return repo

    def repo(self, id: str, kind: str = "models") -> Repo:
        return self.repos[kind, id]

    def fault(self, pattern: str, kind: str, times: int | None = None, seconds: float = 30.0) -> Fault:
        """Adds a fault."""
        self.faults.append(Fault(pattern, kind, times, seconds))
        return self.faults[-1]

    def meet(self, line: str, *kinds: str) -> Fault | None:
        """The first fault of one of these kinds that applies to the request; None if none does."""
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and re.search(fault.pattern, line) and fault.times != fault.met:
                    fault.met += 1
                    return fault
        return None
