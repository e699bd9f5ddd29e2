"""What the validation of a C2PA manifest means, in one word and one sentence.

A manifest is "tampered" only where a hash or a signature fails. One that cannot be validated for another reason (an
expired certificate, an old layout) is "unreadable": nothing in it is believed, and nobody is accused. A valid manifest
of an unknown signer is valid.

Source: C2PA Technical Specification 2.2, section 15 (status codes).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from .record import clean

MAX_DETAIL_CHARS = 16 << 20  # a longer report is not parsed
_TRUSTED = "The Content Credentials are valid and the signer is trusted."
_UNTRUSTED = "The Content Credentials are valid, but the signer is not on the trust list."
_NO_LIST = "The Content Credentials are valid. No list of trusted signers is installed, so who signed is not checked."
_PICTURE_CHANGED = "The Content Credentials do not fit this file: it was changed after it was signed."
_CLAIM_CHANGED = "The Content Credentials themselves were changed after they were signed, or lost a part."
_PAST_CHANGED = "The Content Credentials of a picture that this one was made from were changed after they were signed."
_PART_BROKEN = " Those of a picture that it was made from were broken already, and are not believed."
_UNREADABLE = "The Content Credentials are there, but cannot be validated"
_OLD_LAYOUT = "they protect less of the file than the rules of today want; the picture itself is as it was signed"
_PICTURE_HASHES = ("assertion.dataHash.", "assertion.bmffHash.", "assertion.boxesHash.")
_REASONS = {
    "signingCredential.expired": "the signer's certificate had expired",
    "signingCredential.ocsp.revoked": "the signer's certificate was revoked",
    "signingCredential.invalid": "the signer's certificate is not made for this",
    "claimSignature.outsideValidity": "the signature lies outside the time of the signer's certificate",
    "claimSignature.missing": "the signature is missing",
    "ingredient.manifest.missing": "the credentials of a picture that this one was made from are missing",
    "algorithm.unsupported": "the algorithm is not supported",
}


def unreadable(why: str) -> tuple[str, str]:
    """The state and sentence of credentials that cannot be validated."""
    return "unreadable", f"{_UNREADABLE} ({clean(why, 200)})."


def state_of(store: dict[str, Any], has_list: bool = False, fits: bool = False) -> tuple[str, str]:
    """The state of the active manifest, as `Provenance.c2pa` has it, and a sentence on it.

    Args:
        store: The parsed report of `c2pa.Reader.json()`.
        has_list: Signers were compared with a list.
        fits: `data_hash_fits`.
    """
    verdict = store.get("validation_state")
    if verdict in ("Trusted", "Valid"):
        text = _TRUSTED if verdict == "Trusted" else _UNTRUSTED if has_list else _NO_LIST
        active = (store.get("manifests") or {}).get(store.get("active_manifest")) or {}
        text += _PART_BROKEN if any(map(broke_before, active.get("ingredients") or [])) else ""
        return "valid_trusted" if verdict == "Trusted" else "valid_untrusted", text
    results = store.get("validation_results") or {}
    own, past = _codes(results.get("activeManifest")), []
    for delta in results.get("ingredientDeltas") or []:
        past += _codes(delta.get("validationDeltas"))
    picture = [code for code in own if code.startswith(_PICTURE_HASHES) and code.endswith(".mismatch")]
    broken = [code for code in own if code not in picture and _is_broken(code)]
    if picture and not fits:
        return "tampered", _PICTURE_CHANGED
    if broken:
        return "tampered", _CLAIM_CHANGED
    if any(map(_is_broken, past)):
        return "tampered", _PAST_CHANGED
    if picture:
        return unreadable(_OLD_LAYOUT)
    codes = dict.fromkeys(code for code in (*own, *past) if code and code != "signingCredential.untrusted")
    return unreadable(", ".join(_REASONS.get(code, code) for code in list(codes)[:3]) or "unknown reason")


def broke_before(ingredient: dict[str, Any]) -> bool:
    """Whether an ingredient's credentials were broken already when it was added, as its manifest says."""
    results = (ingredient.get("validation_results") or {}).get("activeManifest") or {}
    failures = [*(ingredient.get("validation_status") or []), *(results.get("failure") or [])]
    return any(_is_broken(str(item.get("code", ""))) for item in failures)


def _codes(part: dict[str, Any] | None) -> list[str]:
    return [str(item.get("code", "")) for item in (part or {}).get("failure") or []]


def _is_broken(code: str) -> bool:
    """Whether a hash or a signature fails, or an assertion was taken out."""
    return code.endswith((".mismatch", "assertion.missing"))


def data_hash_fits(report: Callable[[], str], data: bytes) -> bool:
    """Whether the hash over the picture in the active manifest is right.

    The library reports a hash as not matching, without computing it, where the bytes left out of it are other ones than
    the manifest's. Early cameras left out all metadata, so their untouched files would count as changed.

    Args:
        report: Returns the detailed report of the library, with `assertion_store`.
        data: The file's bytes.
    """
    text = report()
    if len(text) > MAX_DETAIL_CHARS:
        return False
    detail = json.loads(text)
    active = (detail.get("manifests") or {}).get(detail.get("active_manifest")) or {}
    assertion = (active.get("assertion_store") or {}).get("c2pa.hash.data")
    if not isinstance(assertion, dict) or assertion.get("alg", "sha256") not in ("sha256", "sha384", "sha512"):
        return False
    digest, at = hashlib.new(assertion.get("alg", "sha256")), 0
    for start, length in sorted((gap.get("start"), gap.get("length")) for gap in assertion.get("exclusions") or []):
        if start < at or length < 0:
            return False
        digest.update(data[at:start])
        at = start + length
    digest.update(data[at:])
    # a hash over nothing, or next to nothing, would fit every picture
    return 2 * (len(data) - at) > len(data) and base64.b64encode(digest.digest()).decode() == assertion.get("hash")
