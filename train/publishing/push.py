"""Sends a repository to the Hub as one atomic commit, and tags it. Needs neither torch nor the package fakedet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0
AGAIN = "A commit is all or nothing: run the same command again."


class PublishError(RuntimeError):
    """Something cannot be published; the message says why in plain sentences and never contains a token."""


@dataclass(frozen=True)
class Plan:
    """What a repository should hold afterwards.

    Attributes:
        repo: "owner/name", or a name in the account of the token.
        kind: "model", "space" or "dataset".
        files: Path in the repository to its content, or to a file with its content.
        owns: Whether publish.py manages a path in the repository, and removes it when it is no longer in `files`.
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
            PublishError: The folder is not empty.
        """
        if folder.exists() and any(folder.iterdir()):
            raise PublishError(f"{folder} is not empty.")
        for name in self.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content(name))


@dataclass(frozen=True)
class Pushed:
    """Result of a push.

    Attributes:
        url: Web address of the repository.
        commit: Its sha.
        tag: Of the commit; None without one.
        new: Whether the push changed anything.
    """

    url: str
    commit: str
    tag: str | None
    new: bool


def client():
    """The Hub client with time-outs: without them it waits for ever on a server that stops answering."""
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
        PublishError: No token, no right to write, not a valid name, or public although `private` is set.
    """
    api = client()
    try:
        created = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True,
                               space_sdk="gradio" if kind == "space" else None)  # fmt: skip
        info = api.repo_info(created.repo_id, repo_type=kind)
    except Exception as error:
        raise PublishError(sentence(error, repo)) from None
    if private and not info.private:
        raise PublishError(f"{created.repo_id} exists and is public: make it private on its settings page first.")
    return created.repo_id


def push(plan: Plan, private: bool = False, tag: str | None = None, tags: bool = True) -> Pushed:
    """Brings a repository to the state of the plan in one commit, which fails if somebody else commits meanwhile.

    Args:
        private: Make the repository private if it is new.
        tag: Name for the commit; by default the next of v1, v2, ...
        tags: Whether to tag the commit.

    Raises:
        PublishError: As `claim`, or the Hub failed; then nothing was committed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo, api = claim(plan.repo, plan.kind, private), client()
    try:
        head = api.repo_info(repo, repo_type=plan.kind)
        known = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=plan.kind).tags}
        if tag in known and known[tag] != head.sha:
            raise PublishError(f"{repo} has a tag {tag} already: choose another.")
        present = [sibling.rfilename for sibling in head.siblings or ()]
        operations = [CommitOperationAdd(name, value) for name, value in sorted(plan.files.items())]
        operations += [CommitOperationDelete(name) for name in present if plan.owns(name) and name not in plan.files]
        commit = api.create_commit(
            repo, operations, repo_type=plan.kind, commit_message=plan.message, parent_commit=head.sha
        )
    except PublishError:
        raise
    except Exception as error:  # the client raises a dozen types: HTTP, LFS, validation, network
        raise PublishError(sentence(error, repo)) from None
    url, new = commit.repo_url.url, commit.oid != head.sha
    if not tags or (tag is None and commit.oid in known.values()):
        name = next((name for name, sha in known.items() if sha == commit.oid), None)
        return Pushed(url, commit.oid, name, new)
    name = tag or next_version(known)
    try:
        api.create_tag(repo, repo_type=plan.kind, tag=name, revision=commit.oid, exist_ok=tag in known)
    except Exception as error:
        raise PublishError(f"Pushed to {repo} as {commit.oid[:10]}, but not tagged: {sentence(error, repo)}") from None
    return Pushed(url, commit.oid, name, new)


def next_version(tags) -> str:
    """The version after the highest of v1, v2, ... among the tags."""
    numbers = [int(match[1]) for match in (re.fullmatch(r"v(\d+)", tag) for tag in tags) if match]
    return f"v{max(numbers, default=0) + 1}"


def sentence(error: Exception, repo: str) -> str:
    """Why a push failed and what to do, without a traceback, an address or a token."""
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
        message = getattr(error, "server_message", None)
        return f"The Hub answers with an error ({status}{f': {message}' if message else ''}). {AGAIN}"
    if isinstance(error, ValueError):
        return (str(error).strip().splitlines() or ["The Hub refuses the card."])[0]
    return f"The Hub cannot be reached, or the connection broke ({type(error).__name__}). {AGAIN}"
