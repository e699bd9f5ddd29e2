"""Read pictures out of clones of git repositories, and clone what is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

GIT = shutil.which("git")
CLONE = ("clone", "--quiet", "--filter=blob:none", "--no-checkout", "--no-tags")
# What git itself runs to complete a partial clone, here for all wanted blobs in one request.
FETCH = ("-c", "fetch.negotiationAlgorithm=noop", "fetch", "origin", "--quiet", "--no-tags", "--no-write-fetch-head",
         "--no-auto-maintenance", "--recurse-submodules=no", "--filter=blob:none", "--stdin")  # fmt: skip
HISTORY = ("log", "--all", "--full-history", "-m", "--root", "--format=", "--raw", "--no-abbrev", "--no-renames", "-z",
           "--stdin")  # fmt: skip
STALLED = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")  # bytes a second, seconds
LOCAL_VARIABLES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
                   "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"}  # fmt: skip


def find_git_dir(mirror: Path, repo: str) -> Path | None:
    """Find the git directory of a repository's clone.

    Args:
        mirror: Folder of clones.
        repo: OWNER/NAME; its clone is OWNER+NAME/repo or OWNER+NAME, bare or with a work tree.

    Returns:
        The folder that holds HEAD and objects; None where there is no clone.
    """
    folder = mirror / repo.replace("/", "+")
    places = (folder / "repo", folder / "repo" / ".git", folder, folder / ".git")
    return next((p for p in places if (p / "HEAD").is_file() and (p / "objects").is_dir()), None)


def clone(git_base: str, repo: str, mirror: Path) -> str:
    """Clone a repository into MIRROR/OWNER+NAME/repo: history and trees, no file contents.

    Returns:
        An empty string, or git's reason why there is no clone.
    """
    folder = mirror / repo.replace("/", "+") / "repo"
    partial = folder.with_name("repo.partial")  # a stopped run leaves no half clone under the final name
    for stale in (partial, folder):  # `folder` was no clone, or it would have been used
        shutil.rmtree(stale, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    done = _git(*STALLED, *CLONE, "--", f"{git_base.rstrip('/')}/{repo}", str(partial), online=True)
    if done.returncode:
        shutil.rmtree(partial.parent, ignore_errors=True)
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"git ended with {done.returncode}"
    partial.rename(folder)
    return ""


def _environment(online: bool) -> dict[str, str]:
    """Environment of a git process; offline, a partial clone cannot fetch a missing object by itself."""
    env = {k: v for k, v in os.environ.items() if k not in LOCAL_VARIABLES} | {"GIT_TERMINAL_PROMPT": "0"}
    return env if online else env | {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}


def _git(*command: str, online: bool, lines: Iterable[str] = ()) -> subprocess.CompletedProcess:
    text = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    return subprocess.run([GIT, *command], input=text, capture_output=True, env=_environment(online), check=False)


class Clone:
    """One clone; a context manager, because it keeps a git process that reads blobs.

    Args:
        git_dir: As `find_git_dir` returns it.
        online: Let `tree` and `fetch` ask the clone's remote for objects that are missing here.
    """

    def __init__(self, git_dir: Path, online: bool = False):
        self.git_dir, self.online = git_dir, online
        self._trees: dict[str, dict[str, str]] = {}
        self._reader: subprocess.Popen | None = None

    def __enter__(self) -> Clone:
        return self

    def __exit__(self, *_) -> None:
        self._close()

    def tree(self, commit: str) -> dict[str, str]:
        """Map the path of each file of a commit to its blob id; empty where the commit is not to be had."""
        if commit not in self._trees:
            listing = self._run("ls-tree", "-r", "-z", "--full-tree", commit).stdout
            entries = (entry.partition(b"\t") for entry in listing.split(b"\0"))
            self._trees[commit] = {
                path.decode(errors="surrogateescape"): meta.split()[2].decode() for meta, _, path in entries if path
            }
        return self._trees[commit]

    def history(self, names: Iterable[str]) -> list[str]:
        """Ids of all blobs that any commit has put under one of these file names, in whatever folder.

        Trees are compared and blobs are not read, so a clone without blobs can be searched as well.
        """
        escaped = ("".join(f"\\{c}" if c in "\\*?[" else c for c in name) for name in sorted(names))
        lines = ["--", *(f":(glob)**/{name}" for name in escaped)]
        listing = self._run(*HISTORY, lines=lines)
        entries = (part.split() for part in listing.stdout.split(b"\0") if part.lstrip().startswith(b":"))
        # ":100644 100644 OLD NEW M"; -m writes an entry once for each parent
        blobs = dict.fromkeys(blob.decode() for entry in entries if len(entry) == 5 for blob in entry[2:4])
        return [blob for blob in blobs if blob.strip("0")]

    def fetch(self, blobs: Iterable[str]) -> None:
        """Fetch those blobs that are missing here, where the clone is online and has a remote."""
        if not self.online or not self._run("config", "--get", "remote.origin.url").stdout:
            return
        present = self._run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered").stdout
        batches = [sorted(set(blobs) - set(present.decode().split()))]
        while batches:
            batch = batches.pop()
            if not batch or not self._run(*STALLED, *FETCH, lines=batch).returncode or len(batch) == 1:
                continue
            # A remote refuses a request whole when it lacks one of the blobs: halve it, if the remote answers at all.
            if self._run(*STALLED, "ls-remote", "--quiet", "origin", "HEAD").returncode:
                return
            batches += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]

    def read(self, blob: str) -> bytes | None:
        """Contents of a blob; None where it is not in the clone."""
        if self._reader is None:
            self._reader = subprocess.Popen(
                [GIT, f"--git-dir={self.git_dir}", "cat-file", "--batch"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(False),
            )  # fmt: skip
        with contextlib.suppress(BrokenPipeError):
            self._reader.stdin.write(f"{blob}\n".encode())
            self._reader.stdin.flush()
        header = self._reader.stdout.readline().split()
        if not header:  # git 2.39 ends at an object that it may not fetch; newer ones answer "missing"
            self._close()
        if len(header) != 3:
            return None
        data = self._reader.stdout.read(int(header[2]) + 1)[:-1]
        return data if header[1] == b"blob" and len(data) == int(header[2]) else None

    def _run(self, *command: str, lines: Iterable[str] = ()) -> subprocess.CompletedProcess:
        return _git(f"--git-dir={self.git_dir}", *command, online=self.online, lines=lines)

    def _close(self) -> None:
        if self._reader is not None:
            with contextlib.suppress(BrokenPipeError):
                self._reader.stdin.close()
            self._reader.stdout.close()
            self._reader.wait()
            self._reader = None
