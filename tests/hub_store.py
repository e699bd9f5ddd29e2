"""State of the Hub's stand-in: repositories in memory, and the faults that it simulates."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

TOKEN = "hf_" + "standinstandinstandinstandin12345"
LARGE = (".safetensors", ".onnx", ".pt2", ".bin", ".parquet", ".arrow", ".png", ".jpg", ".zip")
KINDS = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}


@dataclass(frozen=True)
class Blob:
    """Content of one file; a `large` one is sent by LFS and identified by its sha256."""

    data: bytes
    large: bool

    @property
    def oid(self) -> str:
        """The id that git gives the content."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.oid


@dataclass
class Repo:
    """A repository: commits in order, each with its complete tree."""

    kind: str
    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    sdk: str | None = None

    def commit(self, files: dict[str, Blob], message: str, branch: str = "main") -> str:
        """Adds a commit with these files to a branch, and returns its sha."""
        facts = f"{self.kind}{self.id}{len(self.commits)}{message}{time.time_ns()}"
        sha = hashlib.sha1(facts.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        """The commit of a branch, tag or sha; None if there is none."""
        revision = revision.removeprefix("refs/heads/")
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return sha if sha in self.commits else None

    @property
    def files(self) -> dict[str, Blob]:
        """The tree at main."""
        return self.commits[self.branches["main"]]


@dataclass
class Fault:
    """A fault of requests "METHOD /path" that match `pattern`, for the first `times` of them (None: all).

    `kind` is a status ("500"), "gated", "cut" (half of the body is sent, then the connection is reset), "stall" (half
    of the body, then silence), "late" (an answer after `seconds`) or "wrong" (one byte of the body is changed).
    """

    pattern: str
    kind: str
    times: int | None = None
    seconds: float = 30.0
    met: int = 0
