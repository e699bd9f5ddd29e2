"""Reads a data set of any layout into splits of (image bytes, label 0 or 1, optional text columns).

Five layouts are supported: a Hub data set id, a folder with class folders, parquet files, a folder of parquet files,
and a CSV of reviewed reports (`train/data/feedback.py`). Labels are mapped by name, never by index: the imagefolder of
`datasets` sorts class names, which makes fake 0.
"""

from __future__ import annotations

import csv
import glob
import re
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image, Value, concatenate_datasets, load_dataset

KEPT_COLUMNS = ("source", "generator", "content", "group", "camera", "kind")
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
SPLIT_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}
REAL_NAMES = {"real", "nature", "natural", "authentic", "genuine", "human", "photo", "photograph"}
FAKE_NAMES = {"fake", "ai", "generated", "aigenerated", "synthetic", "deepfake", "artificial", "aiart"}
LEFT_OUT = {"", "graphic", "no"}  # words of the column `reviewed` that give no class
GRAPHIC = "graphic"  # a catalogue's label for what is neither a photograph nor generated: no class
# Parts of folder names that are not the class: "training_fake", "ai_images", "0_real".
FILLER = {"train", "training", "test", "testing", "val", "valid", "validation", "image", "images", "img", "imgs",
          "picture", "pictures", "photos", "face", "faces"}  # fmt: skip


class PrepareError(ValueError):
    """An input that the user can correct; the text is one sentence for the terminal."""


def label_from_name(name: object) -> int | None:
    """0 (real) or 1 (fake) for a class name, ignoring case, numbers and filler; None for any other name."""
    parts = [part for part in re.split(r"[^a-z]+", str(name).lower()) if part]
    joined = "".join(part for part in parts if part not in FILLER)
    return 0 if joined in REAL_NAMES else 1 if joined in FAKE_NAMES else None


def canonical_split(name: str) -> str:
    """train, validation or test for the usual spellings of them; any other name unchanged."""
    return SPLIT_NAMES.get(name.lower(), name.lower() if name.lower() in {"train", "validation", "test"} else name)


def read_sources(
    data: list[str],
    image_column="image",
    label_column="label",
    group_column=None,
    label_map=None,
    config_name=None,
    cache_dir=None,
) -> dict[str, Dataset]:
    """Reads all sources and merges the data of each split.

    Args:
        data: `SPLIT=PATH` items, or paths, glob patterns and Hub ids whose names tell the splits.
        label_map: Class name or number (as text) to 0 or 1; it overrides the names that this module knows.
        group_column: The column to keep as `group`, if it has another name.
        cache_dir: Where parquet is unpacked to; it must exist as long as the result is used.

    Returns:
        Split name to data set, with columns image (undecoded bytes and path), label (-1 = none) and the existing ones
        of `KEPT_COLUMNS`.

    Raises:
        PrepareError: A path, column or label cannot be used.
    """
    parts: dict[str, list[Dataset]] = {}
    for item in data:
        match = re.match(r"^([A-Za-z]\w*)=(.+)$", item)
        split, source = (canonical_split(match[1]), match[2]) if match else (None, item)
        columns = (image_column, label_column, group_column)
        if Path(source).expanduser().is_dir() and not any(Path(source).expanduser().rglob("*.parquet")):
            columns = ("image", "label", None)  # as _read_image_folder names them
        if source.endswith(".csv"):
            columns = ("image", "label", "group")  # as _read_reviewed names them
        for name, ds in _read_one(source, split, label_map or {}, config_name, cache_dir).items():
            ds = _standardise(ds, *columns, label_map or {}, source)
            parts.setdefault(name, []).append(ds)
    splits = {name: d[0] if len(d) == 1 else concatenate_datasets(d) for name, d in parts.items()}
    splits = {name: ds for name, ds in splits.items() if len(ds)}
    if not splits:
        raise PrepareError(f"There are no images in {' '.join(data)}.")
    return splits


def _read_one(source: str, split: str | None, label_map: dict[str, int], config_name, cache_dir) -> dict[str, Dataset]:
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        return _read_parquet(files, split, cache_dir) if files else _read_image_folder(path, split, label_map)
    if path.suffix == ".csv" and path.is_file():
        return {split or "train": _read_reviewed(path)}
    files = [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
    if files and all(f.suffix == ".parquet" for f in files):
        return _read_parquet(files, split, cache_dir)
    if files:
        raise PrepareError(f"{source} is neither a folder nor a parquet file.")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source) or source.endswith(".parquet"):
        raise PrepareError(f"Nothing exists at {source}.")
    return _read_hub(source, split, config_name)


def _read_hub(name: str, split: str | None, config_name) -> dict[str, Dataset]:
    try:
        loaded = load_dataset(name, config_name)
    except Exception as e:  # the Hub client raises a dozen types: no network, no such set, gated, script, bad config
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise PrepareError(
            f"{name} is no folder or file here, and as a Hub data set it could not be loaded: {reason}"
        ) from e
    if split is None:
        return {canonical_split(k): v for k, v in loaded.items()}
    if split not in loaded:
        raise PrepareError(f"{name} has no split {split}; it has {', '.join(loaded)}.")
    return {split: loaded[split]}


def _read_parquet(files: list[Path], split: str | None, cache_dir) -> dict[str, Dataset]:
    """Reads parquet files; without a given split, the name of a file up to its shard number is its split."""
    by_split: dict[str, list[str]] = {}
    for f in files:
        named = re.fullmatch(r"(.+?)[-_.]\d+[-_.]of[-_.]\d+.*|(.+?)(?:[-_.]\d+)?", f.stem)
        name = canonical_split(named[1] or named[2])
        known = name.split("_")[0] in {"train", "validation", "test", "graphics"} and re.fullmatch(r"\w+", name)
        first_word = canonical_split(re.split(r"[-_.]", f.stem)[0])
        if not known:
            name = first_word if first_word in {"train", "validation", "test"} else "train"
        by_split.setdefault(split or name, []).append(str(f))
    try:
        return {
            k: load_dataset("parquet", data_files={"part": v}, split="part", cache_dir=cache_dir)
            for k, v in by_split.items()
        }
    except Exception as e:  # pyarrow and datasets wrap each other's errors; the cause is the readable one
        raise PrepareError(f"The parquet files could not be read: {e.__cause__ or e}") from e


def _read_image_folder(root: Path, split: str | None, label_map: dict[str, int]) -> dict[str, Dataset]:
    """Reads a folder: the deepest folder with a class name gives the label, the first with a split name the split."""
    rows: dict[str, dict[str, list]] = {}
    for f in sorted(root.rglob("*")):
        if f.suffix.lower() not in IMAGE_SUFFIXES or not f.is_file():
            continue
        folders = f.relative_to(root).parts[:-1]
        label = _label_from_folders(folders, label_map)
        splits = [canonical_split(p) for p in folders]
        named = next((s for s in splits if s in {"train", "validation", "test"}), "train")
        row = rows.setdefault(split or named, {"image": [], "label": []})
        row["image"].append({"bytes": None, "path": str(f)})
        row["label"].append(label)
    if rows and all(x == -1 for r in rows.values() for x in r["label"]):
        raise PrepareError(f"No folder under {root.name} has a class name such as real or fake.")
    features = Features({"image": Image(decode=False), "label": Value("int64")})
    return {k: Dataset.from_dict(v, features=features) for k, v in rows.items()}


def _read_reviewed(path: Path) -> Dataset:
    """Reads the lines of a review.csv in which a person has said what the picture is."""
    rows: dict[str, list] = {"image": [], "label": [], "group": []}
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"picture", "reviewed"} <= set(table.fieldnames or ()):
            raise PrepareError(f"{path} needs the columns picture and reviewed, as prepare.py feedback writes them.")
        for row in table:
            word = (row["reviewed"] or "").strip().lower()
            label = label_from_name(word)
            if label is None and word not in LEFT_OUT:
                raise PrepareError(f"{path}, line {table.line_num}: reviewed is real, fake, graphic or no, not {word}.")
            if label is not None:
                rows["image"].append({"bytes": None, "path": str(path.parent / row["picture"])})
                rows["label"].append(label)
                rows["group"].append(row.get("group") or row["picture"])
    if not rows["label"]:
        raise PrepareError(f"{path} has no line with real or fake in the column reviewed.")
    features = Features({"image": Image(decode=False), "label": Value("int64"), "group": Value("string")})
    return Dataset.from_dict(rows, features=features)


def _label_from_folders(folders: tuple[str, ...], label_map: dict[str, int]) -> int:
    """The class that the folder names give, -1 if none does; plain "real" and "fake" override the synonyms."""
    given = [label_map[f.lower()] for f in folders if f.lower() in label_map]
    if given or (folders and "*" in label_map):
        return given[-1] if given else label_map["*"]
    plain = {label_from_name(f) for f in folders if re.search("real|fake", f, re.I)} - {None}
    labels = plain or {label_from_name(f) for f in folders} - {None}
    if len(labels) > 1:
        name = "/".join(folders)
        raise PrepareError(f"The folder {name} names both classes: choose one with --label_map NAME=real.")
    return labels.pop() if labels else -1


def _map_label(value: object, label_map: dict[str, int]) -> int | None:
    key = str(value).strip().lower()
    return label_map[key] if key in label_map else label_map.get("*", label_from_name(value))


def _standardise(ds: Dataset, image_column, label_column, group_column, label_map, source) -> Dataset:
    """The data set with the columns image (undecoded), label (int64) and `KEPT_COLUMNS`."""
    for kind, wanted in {"image": image_column, "label": label_column, "group": group_column}.items():
        if wanted and wanted not in ds.column_names:
            raise PrepareError(f"{source} has no column {wanted}; --{kind}_column can be {', '.join(ds.column_names)}.")
    if group_column and group_column != "group":
        ds = ds.remove_columns("group") if "group" in ds.column_names else ds
        ds = ds.rename_column(group_column, "group")
    labels = _read_labels(ds, label_column, label_map)
    keep = [c for c in (*KEPT_COLUMNS, "file") if c in ds.column_names and c not in (image_column, label_column)]
    ds = ds.select_columns([image_column, *keep])
    ds = ds.rename_column(image_column, "image") if image_column != "image" else ds
    try:
        ds = ds.cast_column("image", Image(decode=False))
    except Exception as e:
        raise PrepareError(f"The column {image_column} of {source} does not hold images.") from e
    for c in keep:
        ds = ds.cast_column(c, Value("string"))
    return ds.add_column("label", labels)


def _read_labels(ds: Dataset, column: str, label_map: dict[str, int]) -> list[int]:
    """0, 1 or -1 (no label) per row, by name where there are names."""
    feature, values = ds.features[column], ds.with_format(None)[column][:]
    names = feature.names if isinstance(feature, ClassLabel) else None
    mapped: dict[object, int] = {}
    for value in set(values):
        name = names[value] if names and value is not None and value >= 0 else value
        if value is None or str(value) == "-1":
            mapped[value] = -1
            continue
        if isinstance(name, bool):
            name = int(name)
        known = _map_label(name, label_map)
        if known is None and name == GRAPHIC:
            mapped[value] = -1
            continue
        if known is None and str(name) in {"0", "1"}:
            known = int(name)
        if known is None:
            shown = ", ".join(sorted({str(names[v] if names else v) for v in set(values) if v is not None})[:10])
            raise PrepareError(
                f"The labels ({shown}) do not tell which is real and which is fake: "
                "use --label_map NAME=real NAME=fake, or --fake_label NAME."
            )
        mapped[value] = known
    return [mapped[v] for v in values]
