"""Downloads the files of one commit from the Hub into the local cache, checks them, and gives up within seconds.

The Hub is asked once for the commit (no retries: an app that starts must not hang), and exactly that commit is
downloaded. Every file is compared with the digest that the Hub gives for it. A branch or tag points to a commit in the
cache only after all of its files are complete, so that an interrupted download is never used.
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
STALL_BYTES = 64 * 1024  # a download that brings less in STALL_S is given up
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ModelError(RuntimeError):
    """A checkpoint cannot be loaded or used; the message gives the reason in one plain sentence."""


class DownloadStalled(TimeoutError):
    """The Hub sends next to nothing."""


class DigestMismatch(OSError):
    """A file differs from the digest that the Hub gives for it."""


def fetch(
    repo_id: str,
    revision: str | None,
    files: tuple[str, ...],
    required: tuple[str, ...],
    check: Callable[[Path], object],
) -> tuple[Path, str]:
    """Gets a checkpoint's files from the Hub, or from the local cache if the Hub cannot deliver them.

    Args:
        repo_id: "owner/name".
        revision: Branch, tag or commit; main when None.
        files: Names to download where the repository has them.
        required: Names it must have, the configuration first.
        check: Called with the configuration's path before anything larger is downloaded; may raise ModelError.

    Returns:
        The snapshot folder, named after the commit, and one sentence on its origin.

    Raises:
        ModelError: Unknown id, no access, no such revision or file, or unreachable and not cached.
    """
    import httpx2
    from huggingface_hub import errors as hub

    try:
        folder = download_latest(repo_id, revision, files, required, check)
        return folder, f"{repo_id} answers, fetched from the Hub."
    except hub.HFValidationError:
        raise ModelError(f"'{repo_id}' is neither a folder here nor a Hub id (owner/name).") from None
    except (hub.HfHubHTTPError, hub.OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        if message := access_error(error, repo_id, revision):
            raise ModelError(message) from None
        reason = failure_reason(error)
    try:
        folder = download(repo_id, revision, files, local=True, required=required)
        return folder, f"{repo_id} answers from the local cache: {reason}."
    except (hub.LocalEntryNotFoundError, DigestMismatch):
        raise ModelError(f"{repo_id} is not in the local cache and {reason}.") from None


def download_latest(
    repo_id: str,
    revision: str | None,
    files: tuple[str, ...],
    required: tuple[str, ...],
    check: Callable[[Path], object],
) -> Path:
    """Downloads the commit that `revision` means on the Hub now; arguments as of `fetch`.

    Returns:
        The snapshot folder.

    Raises:
        ModelError: A required file is missing, or `check` raised it.
        HFValidationError: `repo_id` is no Hub id.
        huggingface_hub.errors, httpx2.HTTPError, OSError: The Hub cannot deliver the files.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub import errors as hub
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(repo_id)  # offline nothing else would do it before the cache is asked
    if constants.HF_HUB_OFFLINE:
        raise hub.OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    info = HfApi().model_info(repo_id, revision=revision, timeout=TIMEOUT_S)
    available = {sibling.rfilename for sibling in info.siblings or ()}
    if missing := [name for name in required if name not in available]:
        raise ModelError(f"{repo_id} on the Hub has no {' and no '.join(missing)}: it is not a fakedet model.")
    check(download(repo_id, info.sha, required[:1], local=False) / required[0])
    names = (*required, *(name for name in files if name in available and name not in required))
    return download(repo_id, info.sha, names, local=False)


def access_error(error: Exception, repo_id: str, revision: str | None) -> str | None:
    """One sentence where the Hub refuses access; None where another try could succeed."""
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


def failure_reason(error: Exception) -> str:
    """Why the files could not be downloaded now, as a clause."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client reports other errors as "not in the cache"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return f"the Hub answers with an error ({status})"
    if isinstance(error, DigestMismatch):
        return str(error)
    if isinstance(error, DownloadStalled):
        return "the Hub is too slow: it sent next to nothing for a quarter of a minute"
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "there is no room left in the cache folder (HF_HOME) for its files"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "the cache folder (HF_HOME) cannot be written to"
    return f"the Hub cannot be reached ({type(error).__name__})"


def download(
    repo_id: str, revision: str | None, names: tuple[str, ...], local: bool, required: tuple[str, ...] = ()
) -> Path:
    """Gets the named files of a repository.

    Args:
        repo_id: "owner/name".
        revision: Branch, tag or commit.
        names: Names of the files.
        local: Use the cache alone.
        required: Names that the cache must have; the others may be missing there.

    Returns:
        The snapshot folder.

    Raises:
        huggingface_hub.errors: As `hf_hub_download` does.
        DigestMismatch: A file differs from its digest; it has been removed from the cache.
        DownloadStalled: Less than `STALL_BYTES` came in `STALL_S` seconds.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    folder, get = None, hf_hub_download if local else download_watched
    for name in names:
        for is_last_try in (False, True):
            try:
                path = Path(get(repo_id, name, revision=revision, etag_timeout=TIMEOUT_S, local_files_only=local))
            except hub.LocalEntryNotFoundError:
                if not local or name in required:
                    raise
                break
            folder = path.parent
            if matches_digest(path):
                break
            path.resolve().unlink()  # so that no other process uses it from the cache
            path.unlink(missing_ok=True)
            if is_last_try or local:
                raise DigestMismatch(f"{name} does not have the sha256 that the Hub names for it")
    return folder


def download_watched(repo_id: str, name: str, **options) -> str:
    """`hf_hub_download` that gives up on a stalled download; the client alone would wait for minutes.

    Raises:
        DownloadStalled: Less than `STALL_BYTES` came in `STALL_S` seconds.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm

    received, result = [0], []

    class CountingBar(tqdm):
        def update(self, n=1):
            received[0] += n
            return super().update(n)

    def work() -> None:
        try:
            result.append(hf_hub_download(repo_id, name, tqdm_class=CountingBar, **options))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    before = 0
    while thread.is_alive():
        thread.join(STALL_S)
        if thread.is_alive() and received[0] - before < STALL_BYTES:
            raise DownloadStalled(name)
        before = received[0]
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def matches_digest(path: Path) -> bool:
    """Whether a cached file has the digest in its blob's name (sha256 of a large file, git's sha1 of a small one)."""
    name = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name):
        return hashlib.sha256(path.read_bytes()).hexdigest() == name
    if re.fullmatch("[0-9a-f]{40}", name):
        data = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == name
    return True  # on a file system without links the name holds no digest


def save_ref(folder: Path, revision: str | None) -> None:
    """Saves in the cache which commit a branch or tag points to, for when the Hub cannot be reached."""
    ref = folder.parents[1] / "refs" / (revision or "main")
    if revision == folder.name:
        return
    try:
        ref.parent.mkdir(parents=True, exist_ok=True)
        if not ref.is_file() or ref.read_text() != folder.name:
            ref.write_text(folder.name)
    except OSError:
        pass  # a read-only cache (a Space, a container) is still usable
