"""Brings a checkpoint's files from the Hub into the local cache: one commit, whole and checked, within seconds.

The Hub is asked once which commit is meant (no retries: an app that starts must not hang), then exactly that commit is
fetched. Every file is compared with the digest that the Hub names for it, and only a complete commit is remembered as
what a branch or tag means: a download that was cut off is never used afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 5.0
STALL_S = 15.0
STALL_BYTES = 64 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ModelError(RuntimeError):
    """A checkpoint cannot be had or cannot be used; the message says why in one plain sentence."""


class TooSlow(TimeoutError):
    """The Hub sends next to nothing."""


class Damaged(OSError):
    """What came is not what the Hub says it should be."""


def fetch(
    repo_id: str, revision: str | None, files: tuple[str, ...], needed: tuple[str, ...], check: Callable[[Path], object]
) -> tuple[Path, str]:
    """A snapshot folder with a checkpoint's files, from the Hub, or from the local cache when the Hub does not answer.

    Args:
        repo_id: "owner/name".
        revision: Branch, tag or commit; main when None.
        files: Names to bring where the repository has them.
        needed: Those it must have, the configuration first.
        check: Called with the configuration's path before anything larger is fetched; may raise ModelError.

    Returns:
        The folder, named after the commit, and a sentence on where it came from.

    Raises:
        ModelError: Unknown id, no access, no such revision or file, or unreachable and not cached.
    """
    import httpx2
    from huggingface_hub import HfApi, constants
    from huggingface_hub import errors as hub

    try:
        if constants.HF_HUB_OFFLINE:
            raise hub.OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        info = HfApi().model_info(repo_id, revision=revision, timeout=TIMEOUT_S)
        there = {sibling.rfilename for sibling in info.siblings or ()}
        if missing := [name for name in needed if name not in there]:
            raise ModelError(f"{repo_id} on the Hub has no {' and no '.join(missing)}: it is not a fakedet model.")
        check(download(repo_id, info.sha, needed[:1], local=False) / needed[0])
        wanted = (*needed, *(name for name in files if name in there and name not in needed))
        return download(repo_id, info.sha, wanted, local=False), f"{repo_id} answers, fetched from the Hub."
    except hub.HFValidationError:
        raise ModelError(f"'{repo_id}' is neither a folder here nor a Hub id (owner/name).") from None
    except (hub.HfHubHTTPError, hub.OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        if said := refusal(error, repo_id, revision):
            raise ModelError(said) from None
        reason = trouble(error)
    try:
        folder = download(repo_id, revision, files, local=True, needed=needed)
        return folder, f"{repo_id} answers from the local cache: {reason}."
    except (hub.LocalEntryNotFoundError, Damaged):
        raise ModelError(f"{repo_id} is not in the local cache and {reason}.") from None


def refusal(error: Exception, repo_id: str, revision: str | None) -> str | None:
    """One sentence where the Hub has answered and will not give; None where asking again could help."""
    from huggingface_hub import errors as hub

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, hub.GatedRepoError):
        return f"{repo_id} on the Hub is gated: ask for access on its page and log in (HF_TOKEN)."
    if isinstance(error, hub.RevisionNotFoundError):
        return f"{repo_id} on the Hub has no revision '{revision}'."
    if isinstance(error, hub.RepositoryNotFoundError):
        return f"{repo_id} does not exist on the Hub, or is private: check the id or log in."
    if status == 401:
        return f"The Hub refuses access to {repo_id} (401): the token in HF_TOKEN or from the login is not valid."
    if status == 403:
        return f"The Hub refuses access to {repo_id} (403): the token may not read it; log in or set HF_TOKEN."
    return None


def trouble(error: Exception) -> str:
    """Why the Hub's files could not be had just now, as half a sentence."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # "not in the cache" is only what the client makes of it
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return f"the Hub answers with an error ({status})"
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, TooSlow):
        return "the Hub is too slow: it sent next to nothing for a quarter of a minute"
    if isinstance(error, OSError) and error.errno in FULL:
        return "there is no room left in the cache folder (HF_HOME) for its files"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "the cache folder (HF_HOME) cannot be written to"
    return f"the Hub cannot be reached ({type(error).__name__})"


def download(
    repo_id: str, revision: str | None, names: tuple[str, ...], local: bool, needed: tuple[str, ...] = ()
) -> Path:
    """The snapshot folder with the named files, from the network or (`local`) the cache alone.

    Raises:
        huggingface_hub.errors: As `hf_hub_download` does; locally, a file that is not `needed` may be missing.
        Damaged: A file differs from its digest; it has been removed from the cache.
        TooSlow: Less than 64 kB came in 15 seconds.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    folder = None
    for name in names:
        for last in (False, True):
            try:
                options = {"revision": revision, "etag_timeout": TIMEOUT_S, "local_files_only": local}
                path = Path(hf_hub_download(repo_id, name, **options) if local else watched(repo_id, name, options))
            except hub.LocalEntryNotFoundError:
                if not local or name in needed:
                    raise
                break
            folder = path.parent
            if intact(path):
                break
            path.resolve().unlink()  # so that nobody else is served it from the cache either
            path.unlink(missing_ok=True)
            if last or local:
                raise Damaged(f"{name} does not have the sha256 that the Hub names for it")
    return folder


def watched(repo_id: str, name: str, options: dict) -> str:
    """`hf_hub_download` with an end: the client itself would wait minutes on a server that sends a byte a second."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm

    received, result = [0], []

    class Counted(tqdm):
        def update(self, n=1):
            received[0] += n
            return super().update(n)

    def work() -> None:
        try:
            result.append(hf_hub_download(repo_id, name, tqdm_class=Counted, **options))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    before = 0
    while thread.is_alive():
        thread.join(STALL_S)
        if thread.is_alive() and received[0] - before < STALL_BYTES:
            raise TooSlow(name)
        before = received[0]
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def intact(path: Path) -> bool:
    """Whether a cached file has the digest that its blob is named after (sha256 of a large file, git's of a small)."""
    name = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name):
        return hashlib.sha256(path.read_bytes()).hexdigest() == name
    if re.fullmatch("[0-9a-f]{40}", name):
        data = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == name
    return True  # a file system without links: the blob has no name to compare with


def remember(folder: Path, revision: str | None) -> None:
    """Notes in the cache which commit a branch or tag means, for the day when the Hub does not answer."""
    ref = folder.parents[1] / "refs" / (revision or "main")
    if revision == folder.name:
        return
    try:
        ref.parent.mkdir(parents=True, exist_ok=True)
        if not ref.is_file() or ref.read_text() != folder.name:
            ref.write_text(folder.name)
    except OSError:
        pass  # a cache that cannot be written to (a Space, a container) still answers
