"""The list of trusted signers: certificates of authorities whose Content Credentials count as trusted.

`python -m fakedet trust` fetches the list of the C2PA conformance program, or reads one that the user names, checks it
and pins it: a copy lies in the cache, with its source and date, and answers until the command runs again. Nothing else
in fakedet fetches a list. The variable `FAKEDET_C2PA_TRUST` names a PEM file to use in place of the pinned list.

The pinned file is PEM with a few lines of text in front. The program's second list, of time-stamping authorities, is
not used: c2pa-python 0.38 would let those vouch for signers as well.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TRUST_VARIABLE = "FAKEDET_C2PA_TRUST"
CONFORMANCE_URL = "https://raw.githubusercontent.com/c2pa-org/conformance-public/main/trust-list/C2PA-TRUST-LIST.pem"
MAX_BYTES = 4 * 2**20
TIMEOUT_S = 30
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_LOCAL = ("127.0.0.1", "localhost", "::1")


class TrustError(ValueError):
    """A list of trusted signers cannot be fetched, read or used; the message says why in one sentence."""


@dataclass(frozen=True)
class TrustList:
    """Certificates of authorities that are trusted.

    Attributes:
        signers: PEM certificates.
        source: Address or file name that the list came from.
        date: Day on which it was pinned, YYYY-MM-DD; for a file of the user's, of its last change.
    """

    signers: str
    source: str = "a list given by the caller"
    date: str | None = None

    def __str__(self) -> str:
        count = len(_CERTIFICATE.findall(self.signers))
        dated = f", of {self.date}" if self.date else ""
        return f"{count} certificate{'s' if count != 1 else ''} from {self.source}{dated}"

    def facts(self) -> dict[str, Any]:
        """{source, date, certificates (number), expired (number of them), sha256 of all}."""
        import ssl  # only where there is a list: it takes longer to import than most of this package

        blocks = _CERTIFICATE.findall(self.signers)
        expired = sum(ssl.cert_time_to_seconds(row["notAfter"]) < time.time() for row in authorities(self.signers))
        digest = hashlib.sha256("\n".join(blocks).encode()).hexdigest()
        facts = {"certificates": len(blocks), "expired": expired, "sha256": digest}
        return {"source": self.source, "date": self.date} | facts


def check(text: str, source: str) -> str:
    """The certificates of a PEM text, without the words between them.

    Raises:
        TrustError: There are none, one cannot be read, one belongs to no authority, or there is a private key.
    """
    import ssl

    blocks = _CERTIFICATE.findall(text)
    if "PRIVATE KEY" in text:
        raise TrustError(f"{source} holds a private key: a list of trusted signers has certificates only.")
    if not blocks or len(blocks) != text.count("-----BEGIN CERTIFICATE-----"):
        raise TrustError(f"{source} is no list of PEM certificates.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for number, block in enumerate(blocks, 1):
        try:
            context.load_verify_locations(cadata=block)
        except (ssl.SSLError, ValueError):
            raise TrustError(f"Certificate {number} in {source} cannot be read.") from None
    stats = context.cert_store_stats()
    if single := stats["x509"] - stats["x509_ca"]:
        raise TrustError(f"{source} holds {single} certificates of no authority: they cannot vouch for others.")
    return "\n".join(blocks) + "\n"


def authorities(pem: str) -> list[dict[str, Any]]:
    """Subject, dates and serial number of each certificate, as `ssl` gives them."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if pem:
        context.load_verify_locations(cadata=pem)
    return context.get_ca_certs()


def organisations(pem: str) -> list[str]:
    """The organisations that the certificates name, each once, in alphabetical order."""
    subjects = [dict(pair for group in row["subject"] for pair in group) for row in authorities(pem)]
    names = {subject.get("organizationName") or subject.get("commonName", "unnamed") for subject in subjects}
    return sorted(names, key=str.casefold)


def fetch(source: str) -> str:
    """The text of a list, from an https address or a file.

    Raises:
        TrustError: It cannot be fetched or read, is too large, or the address is not https.
    """
    if not re.match(r"[a-z][a-z+.-]*://", source):
        try:
            data = Path(source).read_bytes() if Path(source).stat().st_size <= MAX_BYTES else None
        except OSError as error:
            raise TrustError(f"{source} cannot be read: {error.strerror}.") from None
    else:
        data = _download(source)
    if data is None:
        raise TrustError(f"{source} is larger than {MAX_BYTES // 2**20} MB: it is no list of signers.")
    return data.decode("utf-8", "replace")


def _download(address: str) -> bytes | None:
    """The bytes behind an address; None if there are too many."""
    import httpx2

    def secure(request) -> None:
        if request.url.scheme != "https" and request.url.host not in _LOCAL:
            raise TrustError(f"{request.url} is not https: the list could be replaced on its way.")

    client = httpx2.Client(follow_redirects=True, timeout=TIMEOUT_S, event_hooks={"request": [secure]})
    try:
        with client, client.stream("GET", address) as reply:
            if reply.status_code != 200:
                raise TrustError(f"{address} answers with {reply.status_code}.")
            data = b""
            for part in reply.iter_bytes():
                data += part
                if len(data) > MAX_BYTES:
                    return None
            return data
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = type(error).__name__
        raise TrustError(
            f"{address} cannot be fetched ({why}). Fetch it on another machine, and name the file with --from."
        ) from None


def pin(source: str | None = None) -> TrustList:
    """Fetches and checks a list and keeps it in the cache, in place of the former one.

    Args:
        source: Address or file of PEM certificates; by default the list of the C2PA conformance program.

    Raises:
        TrustError: See `fetch` and `check`.
        OSError: The cache cannot be written.
    """
    source = source or CONFORMANCE_URL
    signers = check(fetch(source), source)
    shown = source if "://" in source else Path(source).name
    head = f"Pinned by fakedet\nSource: {shown}\nDate: {dt.date.today().isoformat()}\n\n"
    path = pinned_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(head + signers)
    os.replace(file.name, path)
    return read(path)


def pinned_path() -> Path:
    """File of the pinned list, in FAKEDET_CACHE or the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FAKEDET_CACHE") or Path(cache, "fakedet")) / "trusted-signers.pem"


def current_path() -> Path | None:
    """File of the list in use: that of the environment, else the pinned one; None where there is neither."""
    if named := os.environ.get(TRUST_VARIABLE):
        return Path(named)
    try:
        return path if (path := pinned_path()).is_file() else None
    except (OSError, RuntimeError):  # RuntimeError: this user has no home
        return None


def current() -> TrustList | None:
    """The list in use, or None where there is none.

    Raises:
        TrustError: There is one, and it cannot be used.
    """
    path = current_path()
    return read(path) if path else None


def facts_in_use() -> dict[str, Any] | str | None:
    """`TrustList.facts` of the list in use; None without one; a sentence where it cannot be used."""
    try:
        return (listed := current()) and listed.facts()
    except TrustError as error:
        return str(error)


def read(path: Path) -> TrustList:
    """Reads a list from a PEM file, pinned or the user's own.

    Raises:
        TrustError: It cannot be read, or is no list of certificates.
    """
    try:
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)
    except (OSError, UnicodeError):
        raise TrustError(f"{_title()} cannot be read.") from None


def _title() -> str:
    named = os.environ.get(TRUST_VARIABLE)
    return f"The list of signers that {TRUST_VARIABLE} names" if named else "The pinned list of signers"


@lru_cache(maxsize=4)
def _read(path: Path, changed_ns: int, size: int) -> TrustList:
    """Reads and checks a file once per change."""
    if size > MAX_BYTES:
        raise TrustError(f"{_title()} is too large.")
    text = path.read_text("utf-8")
    head = dict(re.findall(r"^(Source|Date): (.{1,300})$", text[:1000], re.MULTILINE))
    day = dt.date.fromtimestamp(changed_ns / 1e9).isoformat()
    return TrustList(check(text, _title()), head.get("Source", path.name), head.get("Date", day))
