"""C2PA Content Credentials, read and validated offline by c2pa-python (optional: pip install c2pa-python).

No manifest or revocation list is fetched and no host is contacted. A signer is "trusted" only if its certificate leads
to an authority on the list that the user has pinned or named (trust.py). The C2PA's list changes with time, so none is
shipped. Without one, no camera manifest can decide a verdict.

Source: C2PA Technical Specification 2.2; IPTC Digital Source Type vocabulary.
"""

from __future__ import annotations

import io
import json
from typing import Any

from .record import clean
from .trust import TrustError, TrustList, current
from .validation import broke_before, data_hash_fits, state_of, unreadable

MAX_STORE_CHARS = 8 << 20  # a longer manifest store is not parsed
AI = ("trainedAlgorithmicMedia",)
PART_AI = ("compositeWithTrainedAlgorithmicMedia", "compositeSynthetic")
CAPTURE = ("digitalCapture", "computationalCapture")
VALID = ("valid_trusted", "valid_untrusted")  # states in which what a manifest says is believed
_PRECEDENCE = (*AI, *PART_AI, *CAPTURE)  # where a manifest names several source types, the first of these counts


def source_type(value: Any) -> str | None:
    """Shorten a Digital Source Type URL to its last word, for example "trainedAlgorithmicMedia"."""
    text = clean(value, 200)
    return clean(text.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1], 60) if text else None


def read_manifest(data: bytes, mime: str, trust_anchors: str | None = None) -> tuple[dict[str, Any] | None, list[str]]:
    """Read and validate the manifest store embedded in a file.

    Args:
        data: The file's bytes; call only where `Parts.manifest` says that there is one.
        mime: The container's media type.
        trust_anchors: PEM certificates to trust; by default the list in use (see trust.py).

    Returns:
        The `c2pa` object of `Provenance` (None where the library is missing), and notes.
    """
    try:
        from c2pa import C2paError, Context, Reader
    except (ImportError, OSError):  # OSError: the native library is missing on this platform
        return None, ["The file carries Content Credentials that were not checked: pip install c2pa-python."]
    notes: list[str] = []
    trusted = TrustList(trust_anchors) if trust_anchors else _current(notes)
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
        "core": {"allowed_network_hosts": []},
    }
    if trusted:
        settings["trust"] = {"user_anchors": trusted.signers}
    try:
        with (
            Context.from_dict(settings) as context,
            Reader(mime, io.BytesIO(data), context=context) as reader,
        ):
            text = reader.json()
            if len(text) > MAX_STORE_CHARS:
                return _empty("the manifest store is too large", trusted), notes
            store = json.loads(text)
            fits = store.get("validation_state") == "Invalid" and data_hash_fits(reader.detailed_json, data)
    except C2paError as error:
        if trusted and "trust" in str(error).lower():
            notes.append("The trust list could not be used; it must hold PEM certificates.")
        return _empty(str(error).split(":")[0], trusted), notes
    return summarise(store, trusted, fits), notes


def _current(notes: list[str]) -> TrustList | None:
    try:
        return current()
    except TrustError as error:
        notes.append(f"{error} No signer is trusted.")
        return None


def _empty(why: str, trusted: TrustList | None) -> dict[str, Any]:
    empty = dict.fromkeys(("signer", "signed_at", "claim_generator", "digital_source_type", "source_from"))
    state, text = unreadable(why)
    known = str(trusted) if trusted else None
    return {"state": state, "state_text": text, "trust_list": known, **empty, "actions": [], "ingredients": []}


def summarise(store: dict[str, Any], trusted: TrustList | None = None, fits: bool = False) -> dict[str, Any]:
    """Turn the library's report into the `c2pa` object of `Provenance`.

    Args:
        store: The parsed report of `c2pa.Reader.json()`.
        trusted: The list that signers were compared with.
        fits: The hash over the picture is right, although the library refuses it.
    """
    manifests = store.get("manifests") or {}
    active = manifests.get(store.get("active_manifest")) or {}
    state, text = state_of(store, trusted is not None, fits)
    signature, info = active.get("signature_info") or {}, (active.get("claim_generator_info") or [{}])[0]
    tool = " ".join(filter(None, (clean(info.get("name"), 120), clean(info.get("version"), 40))))
    names = (clean(signature.get("common_name"), 120), clean(signature.get("issuer"), 120))
    kind, where = _origin(active, manifests)
    return {
        "state": state,
        "state_text": text,
        "trust_list": str(trusted) if trusted else None,
        "signer": ", ".join(dict.fromkeys(name for name in names if name)) or None,
        "signed_at": clean(signature.get("time"), 40),
        "claim_generator": tool or clean(active.get("claim_generator")),
        "actions": [name for action in _actions(active)[:20] if (name := clean(action.get("action"), 60))],
        "digital_source_type": kind,
        "source_from": where,
        "ingredients": [
            {
                "title": clean(item.get("title"), 120),
                "relationship": clean(item.get("relationship"), 40),
                "digital_source_type": _own_type(manifests.get(item.get("active_manifest")) or {}),
            }
            for item in (active.get("ingredients") or [])[:20]
        ],
    }


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    actions = []
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label", "")).startswith("c2pa.actions") and isinstance(assertion.get("data"), dict):
            actions += [item for item in assertion["data"].get("actions") or [] if isinstance(item, dict)]
    return actions


def _own_type(manifest: dict[str, Any]) -> str | None:
    """Return the source type in a manifest's own actions or in an embedded metadata assertion."""
    kinds = [source_type(action.get("digitalSourceType")) for action in _actions(manifest)]
    for assertion in manifest.get("assertions") or []:
        if isinstance(assertion.get("data"), dict):
            kinds.append(source_type(assertion["data"].get("Iptc4xmpExt:DigitalSourceType")))
    kinds = [kind for kind in kinds if kind]
    return next((kind for kind in _PRECEDENCE if kind in kinds), kinds[0] if kinds else None)


def _origin(active: dict[str, Any], manifests: dict[str, Any]) -> tuple[str | None, str | None]:
    """Find the source type of the picture: the active manifest's own, else that of the picture it was edited from.

    An AI-made component makes the whole a composite with AI-made media.

    Returns:
        The source type, and "manifest", "parent" or "component" for where it stands.
    """
    kind, where, manifest = _own_type(active), "manifest", active
    for _ in range(16):  # generations of edits, which also ends loops in the store
        items = [
            item for item in manifest.get("ingredients") or [] if isinstance(item, dict) and not broke_before(item)
        ]
        parts = [_own_type(manifests.get(i.get("active_manifest")) or {}) for i in items if not _is_parent(i)]
        if kind not in AI + PART_AI and any(part in AI + PART_AI for part in parts):
            return PART_AI[0], "component"
        parent = next((item for item in items if _is_parent(item)), None)
        manifest = manifests.get(parent.get("active_manifest")) if parent else None
        if not manifest:
            break
        older = _own_type(manifest)
        if older in AI + PART_AI and kind not in AI + PART_AI:  # an edit does not remove the AI origin
            return older, "parent"
        if older and kind is None:
            kind, where = older, "parent"
    return kind, where if kind else None


def _is_parent(ingredient: dict[str, Any]) -> bool:
    return ingredient.get("relationship") == "parentOf"
