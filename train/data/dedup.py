"""Fingerprints of images, and the exact and near duplicates among them.

A perceptual hash proposes near duplicates, 16x16 thumbnails confirm them. The hash alone is not enough: among the
120,000 images of 32 px in CIFAKE, 20,582 pairs lie within 10 of 64 bits, and about 1 in 20 shows the same picture.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
from datasets import Dataset
from PIL import Image, ImageOps
from scipy.fft import dct
from tqdm.auto import tqdm

from train.data.sources import canonical_split

THUMB = 16  # side of the thumbnail in px
MIN_CORRELATION = 0.95  # of two thumbnails; pairs above it look the same to a person, whatever their brightness
MAX_DIFFERENCE = 12.0  # mean absolute difference of two thumbnails, in grey levels of 255
_BLOCK_ROWS, _BLOCK_COLUMNS = 2048, 16384


def fingerprint_batch(images: list[dict]) -> dict[str, list]:
    """Decodes a batch of images and computes the fingerprint of each.

    Args:
        images: Undecoded images, each {"bytes", "path"}.

    Returns:
        Lists `error` (empty if the image opens), `sha` (SHA-256 of size and upright RGB pixels, 32 bytes), `phash`
        (64 bits as 8 bytes) and `thumb` (16x16 RGB, 768 bytes).
    """
    out: dict[str, list] = {"error": [], "sha": [], "thumb": []}
    grey = np.zeros((len(images), 32, 32), np.float32)
    for i, item in enumerate(images):
        try:
            with Image.open(io.BytesIO(item["bytes"]) if item["bytes"] is not None else item["path"]) as im:
                im.load()  # verify() would let a truncated JPEG pass
                rgb = ImageOps.exif_transpose(im).convert("RGB")
            out["sha"].append(hashlib.sha256(f"{rgb.width}x{rgb.height} ".encode() + rgb.tobytes()).digest())
            out["thumb"].append(rgb.resize((THUMB, THUMB), Image.Resampling.BOX).tobytes())
            grey[i] = np.asarray(rgb.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float32)
            out["error"].append("")
        except Exception as e:  # Pillow's plug-ins raise many types on damaged files
            out["error"].append(_reason(e))
            out["sha"].append(b"")
            out["thumb"].append(bytes(THUMB * THUMB * 3))
    out["phash"] = [h.tobytes() for h in phash(grey)]
    return out


def _reason(e: Exception) -> str:
    """Why an image does not open, without object addresses and paths."""
    if isinstance(e, FileNotFoundError):
        return "file is missing"
    if isinstance(e, TypeError | AttributeError):
        return "no image bytes"
    text = str(e).split(" <")[0].split(" '/")[0]  # Pillow adds object addresses and full paths
    return text or type(e).__name__


def phash(grey: np.ndarray) -> np.ndarray:
    """DCT hash of a batch; the bits are those of `imagehash.phash` on the same 32x32 picture.

    Args:
        grey: (N, 32, 32) float32.

    Returns:
        (N, 8) uint8, 64 bits per image.
    """
    low = dct(dct(grey, axis=1), axis=2)[:, :8, :8].reshape(len(grey), 64)
    return np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)


def near_pairs(
    hashes: np.ndarray, thumbs: np.ndarray, distance: int, progress=lambda blocks: blocks
) -> tuple[np.ndarray, np.ndarray]:
    """Finds all pairs of images that show the same picture.

    Matrix products of +-1 bits compare each hash with each other one. That is exact for any distance and takes one
    minute for 120,000 images on one core; time grows with the square of N.

    Args:
        hashes: (N, 8) uint8.
        thumbs: (N, 768) uint8.
        distance: Maximum number of differing bits, 0..64.
        progress: Wraps the list of blocks, for example tqdm.

    Returns:
        Two arrays of indices (P,), the first always smaller than the second.
    """
    bits = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    n, pairs = len(bits), [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for a in progress(range(0, n, _BLOCK_ROWS)):
        for b in range(a, n, _BLOCK_COLUMNS):
            agreement = bits[a : a + _BLOCK_ROWS] @ bits[b : b + _BLOCK_COLUMNS].T
            i, j = np.nonzero(agreement >= 64 - 2 * distance)
            i, j = i + a, j + b
            i, j = i[i < j], j[i < j]
            same = _same_picture(thumbs, i, j)
            pairs.append((i[same], j[same]))
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _same_picture(thumbs: np.ndarray, i: np.ndarray, j: np.ndarray, chunk: int = 20_000) -> np.ndarray:
    """(P,) bool: whether the thumbnails of each pair differ little and correlate well."""
    same = np.zeros(len(i), bool)
    for s in range(0, len(i), chunk):
        a, b = thumbs[i[s : s + chunk]].astype(np.float32), thumbs[j[s : s + chunk]].astype(np.float32)
        difference = np.abs(a - b).mean(1)
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        correlation = (a * b).sum(1) / np.maximum(norm, 1e-6)  # 0 for a plain image, which has no structure to compare
        same[s : s + chunk] = (difference <= MAX_DIFFERENCE) & (correlation >= MIN_CORRELATION)
    return same


def connected_groups(n: int, pairs: list[tuple[np.ndarray, np.ndarray]], names: list | None = None) -> np.ndarray:
    """(n,) group numbers: images linked by a pair or by an equal, non-empty name share one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, columns = [p[0] for p in pairs], [p[1] for p in pairs]
    if names is not None:
        first: dict[str, int] = {}
        linked = [(first.setdefault(name, k), k) for k, name in enumerate(names) if name]
        rows.append(np.array([x[0] for x in linked], np.int64))
        columns.append(np.array([x[1] for x in linked], np.int64))
    i, j = (np.concatenate([np.zeros(0, np.int64), *x]) for x in (rows, columns))
    return connected_components(coo_matrix((np.ones(len(i), bool), (i, j)), shape=(n, n)), directed=False)[1]


def tier(split: str) -> int:
    """Distance of a split from training: 0 train, 1 validation (also validation_*), 2 any other split."""
    return {"train": 0, "validation": 1}.get(canonical_split(split.split("_")[0]), 2)


def fingerprint(splits: dict[str, Dataset], num_workers: int) -> dict[str, np.ndarray]:
    """Fingerprints of all images of all splits: a dictionary of columns, in the order of the splits."""
    parts = []
    for name, ds in splits.items():
        hashed = ds.select_columns("image").map(
            fingerprint_batch, input_columns=["image"], batched=True, batch_size=256, remove_columns=["image"],
            num_proc=num_workers if num_workers > 1 else None, keep_in_memory=True, load_from_cache_file=False,
            desc=f"Opening {name}",
        )  # fmt: skip
        raw = {c: hashed.data.column(c).to_pylist() for c in ("error", "sha", "phash", "thumb")}
        parts.append({"split": [name] * len(ds), "row": range(len(ds)), "label": ds["label"][:], **raw,
                      "group": ds["group"][:] if "group" in ds.column_names else [None] * len(ds)})  # fmt: skip
    table = {k: np.array([x for p in parts for x in p[k]], object) for k in parts[0]}
    for k in ("row", "label"):
        table[k] = table[k].astype(np.int64)
    for k, width in (("phash", 8), ("thumb", 768)):
        table[k] = np.frombuffer(b"".join(table[k]), np.uint8).reshape(-1, width)
    return table


def find_duplicates(table: dict, mode: str, distance: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Decides which images leave the data set or their split, and which belong together.

    A test image whose copy is in training moves to `<split>_leaked`; apart from that an official test split stays
    complete, so near duplicates leave the training side instead.

    Args:
        table: Of `fingerprint`.
        mode: What happens to near duplicates: "drop" removes them from the split nearer to training, "group" and
            "drop" keep those of one side in one group, "ignore" does not look for them.
        distance: Maximum number of differing hash bits of near duplicates.

    Returns:
        Reason per image (empty = kept, "leaked" = moved), group number per image, and counts for the report.
    """
    n = len(table["label"])
    reason = np.full(n, "", object)
    reason[table["label"] < 0] = "no label"
    reason[table["error"] != ""] = "does not open"
    tiers = np.array([tier(split) for split in table["split"]])
    counts = {"exact_duplicates_left_inside_held_out_splits": mark_exact_duplicates(table, tiers, reason)}
    pairs = []
    kept = np.flatnonzero(reason == "")
    if mode != "ignore" and len(kept):
        i, j = near_pairs(
            table["phash"][kept], table["thumb"][kept], distance,
            lambda blocks: tqdm(blocks, desc="Comparing hashes", unit="block"),
        )  # fmt: skip
        i, j = kept[i], kept[j]
        across = tiers[i] != tiers[j]
        counts["near_duplicate_pairs"] = {"same_side": int((~across).sum()), "across_splits": int(across.sum())}
        if mode == "drop":
            mark_near_duplicates(table, tiers, reason, i[across], j[across])
        pairs.append((i[~across], j[~across]))
    return reason, connected_groups(n, pairs, list(table["group"])), counts


def mark_exact_duplicates(table: dict, tiers: np.ndarray, reason: np.ndarray) -> int:
    """Writes into `reason` why copies of a picture leave; returns how many stay inside or between held-out splits.

    Copies with different labels all leave. Of the others the first one of the split nearest to training is kept; a
    held-out copy of a training or validation image is marked as leaked.
    """
    copies: dict[bytes, list[int]] = {}
    for k in np.flatnonzero(reason == ""):
        copies.setdefault(table["sha"][k], []).append(k)
    repeats = 0
    for rows in copies.values():
        if len(rows) == 1:
            continue
        if len({table["label"][k] for k in rows}) > 1:
            reason[rows] = "both labels"
            continue
        rows.sort(key=lambda k: tiers[k])  # stable: input order inside a tier
        nearest, splits = tiers[rows[0]], set()
        for k in rows:
            split = table["split"][k]
            if tiers[k] == 2:
                reason[k] = "leaked" if nearest < 2 else ""
                repeats += int(nearest == 2 and len(splits) > 0)
            elif split in splits or (tiers[k] == 0 and splits):
                reason[k] = "exact duplicate"
            elif tiers[k] != nearest:
                reason[k] = f"in {table['split'][rows[0]]} too"
            splits.add(split)
    return repeats


def mark_near_duplicates(table: dict, tiers: np.ndarray, reason: np.ndarray, i: np.ndarray, j: np.ndarray) -> None:
    """Writes into `reason` that of each pair across splits the image nearer to training leaves."""
    nearer, farther = np.where(tiers[i] < tiers[j], (i, j), (j, i))
    for k, other in zip(nearer, farther, strict=True):
        reason[k] = f"near duplicate of {table['split'][other]}"
