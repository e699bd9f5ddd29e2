"""One commit to the Hub: what would go, then all of it or nothing, and a tag. Nothing in here needs torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0
AGAIN = "A commit is whole or not there at all: run the same command again."


class PublishError(RuntimeError):
    """Something cannot be published; the message says why in plain sentences, and never holds a token."""


@dataclass(frozen=True)
class Plan:
    """What a repository should hold afterwards.

    Attributes:
        repo: "owner/name", or a name in one's own account.
        kind: "model", "space" or "dataset".
        files: Path in the repository to content, or to the file that has it.
        owns: Whether a path in the repository is ours, to be removed when it is not among `files` any more.
        message: Of the commit.
    """

    repo: str
    kind: str
    files: dict[str, bytes | Path]
    owns: Callable[[str], bool]
    message: str

    def content(self, name: str) -> bytes:
        """The bytes of one file."""
        value = self.files[name]
        return value if isinstance(value, bytes) else value.read_bytes()

    def table(self) -> str:
        """One line a file: size in bytes, start of the sha256, path."""
        rows, total = [], 0
        for name in sorted(self.files):
            data = self.content(name)
            total += len(data)
            rows.append(f"{len(data):>12,}  {hashlib.sha256(data).hexdigest()[:12]}  {name}")
        return "\n".join([*rows, f"{total:>12,}  bytes in {len(rows)} files for the {self.kind} {self.repo}"])

    def write(self, folder: Path) -> None:
        """Writes the files to an empty or new folder.

        Raises:
            PublishError: There is something in it.
        """
        if folder.exists() and any(folder.iterdir()):
            raise PublishError(f"{folder} is not empty.")
        for name in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content(name))


@dataclass(frozen=True)
class Pushed:
    """Where a push ended: web address, commit, its tag (None where there is none), whether anything was new."""

    url: str
    commit: str
    tag: str | None
    new: bool


def client():
    """The Hub client with time-outs: its own has none, and would wait for ever on a server that falls silent."""
    import httpx2
    from huggingface_hub import HfApi, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def factory():
        session = default_client_factory()
        session.timeout = httpx2.Timeout(TIMEOUT_S, connect=min(10.0, TIMEOUT_S))
        return session

    set_client_factory(factory)
    return HfApi()


def claim(repo: str, kind: str = "model", private: bool = False) -> str:
    """Makes the repository if there is none, and returns its full id.

    Raises:
        PublishError: No token, no right to write, not a name, or public although it should be private.
    """
    api = client()
    try:
        made = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True,
                               space_sdk="gradio" if kind == "space" else None)  # fmt: skip
        found = api.repo_info(made.repo_id, repo_type=kind)
    except Exception as error:
        raise PublishError(sentence(error, repo)) from None
    if private and not found.private:
        raise PublishError(f"{made.repo_id} exists and is public: make it private on its settings page first.")
    return made.repo_id


def push(plan: Plan, private: bool = False, tag: str | None = None, tags: bool = True) -> Pushed:
    """Brings a repository to what the plan says, in one commit that fails if somebody else commits meanwhile.

    Args:
        private: Make the repository private, when it is new.
        tag: Name for the commit; by default the next of v1, v2, ...
        tags: False to tag nothing.

    Raises:
        PublishError: As `claim`, or the Hub failed; a commit is whole or is not there.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo, api = claim(plan.repo, plan.kind, private), client()
    try:
        head = api.repo_info(repo, repo_type=plan.kind)
        known = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=plan.kind).tags}
        if tag in known and known[tag] != head.sha:
            raise PublishError(f"{repo} has a tag {tag} already: choose another.")
        gone = [s.rfilename for s in head.siblings or () if plan.owns(s.rfilename) and s.rfilename not in plan.files]
        operations = [CommitOperationAdd(name, value) for name, value in sorted(plan.files.items())]
        operations += [CommitOperationDelete(name) for name in gone]
        done = api.create_commit(repo, operations, repo_type=plan.kind, commit_message=plan.message,
                                 parent_commit=head.sha)  # fmt: skip
    except PublishError:
        raise
    except Exception as error:  # the client raises a dozen types: HTTP, LFS, validation, network
        raise PublishError(sentence(error, repo)) from None
    if not tags or (tag is None and done.oid in known.values()):
        name = next((name for name, commit in known.items() if commit == done.oid), None)
        return Pushed(done.repo_url.url, done.oid, name, done.oid != head.sha)
    name = tag or next_version(known)
    try:
        api.create_tag(repo, repo_type=plan.kind, tag=name, revision=done.oid, exist_ok=tag in known)
    except Exception as error:
        raise PublishError(f"Pushed to {repo} as {done.oid[:10]}, but not tagged: {sentence(error, repo)}") from None
    return Pushed(done.repo_url.url, done.oid, name, done.oid != head.sha)


def next_version(tags) -> str:
    """v1, v2, ...: one more than the highest there is."""
    numbers = [int(found[1]) for found in (re.fullmatch(r"v(\d+)", tag) for tag in tags) if found]
    return f"v{max(numbers, default=0) + 1}"


def sentence(error: Exception, repo: str) -> str:
    """Why a push failed and what to do, without a trace, an address or a token."""
    from huggingface_hub import errors as hub

    if isinstance(error, RuntimeError) and error.__cause__:  # "Error while uploading 'model.safetensors' to the Hub."
        return f"{str(error).rstrip('.')}: {sentence(error.__cause__, repo)}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, hub.HFValidationError):
        return f"'{repo}' is no Hub id (owner/name)."
    if isinstance(error, hub.LocalTokenNotFoundError) or status == 401:
        return "The Hub wants a valid token: set HF_TOKEN to one that may write, or log in by `hf auth login`."
    if status == 403:
        return f"The token may not write to {repo}: check the owner's name and the token's rights."
    if status == 412:
        return f"Somebody else changed {repo} meanwhile. {AGAIN}"
    if isinstance(error, hub.RepositoryNotFoundError):
        return f"{repo} does not exist on the Hub, or this token may not see it."
    if status:
        said = getattr(error, "server_message", None)
        return f"The Hub answers with an error ({status}{f': {said}' if said else ''}). {AGAIN}"
    if isinstance(error, ValueError):
        return (str(error).strip().splitlines() or ["The Hub refuses the card."])[0]
    return f"The Hub cannot be reached, or the connection broke ({type(error).__name__}). {AGAIN}"
