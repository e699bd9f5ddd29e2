"""The table of a scan: its columns, its parts, and how they are joined."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

PART_ROWS = 256
FORMATS = (".parquet", ".csv", ".jsonl")
KINDS = {
    "file": str, "verdict": str, "p_fake": float, "logit": float, "decided_by": str, "pixel_verdict": str,
    "threshold": float, "unsure_low": float, "unsure_high": float, "views": int, "width": int, "height": int,
    "format": str, "mode": str, "bytes": int, "sha256": str, "notes": str, "provenance": str, "model_id": str,
    "model_revision": str, "model_sha256": str, "runtime": str, "error_code": str, "error_message": str,
    "generator": str, "generator_p": float, "kind": str, "p_photo": float,
}  # fmt: skip
VERDICT_KEYS = ("verdict", "p_fake", "logit", "decided_by", "pixel_verdict", "threshold", "kind", "p_photo")


def flat(name: str, answer: dict) -> dict:
    """Turn a Verdict's dictionary, or {"error": {code, message}}, into one row; columns that do not apply are None.

    Times are left out because they differ from run to run. Lists and objects become JSON texts. Of `generator`, the
    likeliest family and its probability are kept.
    """
    row = dict.fromkeys(KINDS) | {"file": name}
    if "error" in answer:
        return row | {"error_code": answer["error"]["code"], "error_message": answer["error"]["message"]}
    row |= {key: answer[key] for key in VERDICT_KEYS}
    row |= {key: answer["image"][key] for key in ("width", "height", "format", "mode", "bytes", "sha256")}
    row |= {f"model_{key}": answer["model"][key] for key in ("id", "revision", "sha256")}
    row["unsure_low"], row["unsure_high"] = answer["unsure_band"]
    row["runtime"], row["views"] = answer["model"]["runtime"], answer["views"]
    if answer["generator"]:
        row["generator"], row["generator_p"] = next(iter(answer["generator"].items()))
    row["notes"] = json.dumps(answer["notes"], ensure_ascii=False)
    if answer["provenance"] is not None:
        provenance = {key: value for key, value in answer["provenance"].items() if key != "ms"}
        row["provenance"] = json.dumps(provenance, ensure_ascii=False)
    return row


def part_path(folder: Path, part: int) -> Path:
    """Return where a part of the table is written."""
    return folder / f"{part:06d}.parquet"


def by_part(rows: Iterator[tuple[int, dict]]) -> Iterator[tuple[int, list[dict]]]:
    """Group (number, row) into (part, its rows)."""
    part, table = None, []
    for number, row in rows:
        if table and number // PART_ROWS != part:
            yield part, table
            table = []
        part = number // PART_ROWS
        table.append(row)
    if table:
        yield part, table


def write_part(rows: list[dict], path: Path) -> None:
    """Write a part atomically, also across a power cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema()), partial)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def join_parts(parts: list[Path], output: Path) -> None:
    """Join the parts in order, one at a time in memory."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    partial, kind = output.with_name(output.name + ".partial"), output.suffix.lower()
    tables = (pq.read_table(part) for part in parts)
    if kind == ".jsonl":
        with partial.open("w", encoding="utf-8") as file:
            for table in tables:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
    else:
        make = pq.ParquetWriter if kind == ".parquet" else pyarrow.csv.CSVWriter
        with make(partial, schema()) as writer:
            for table in tables:
                writer.write_table(table)
    os.replace(partial, output)


def schema():
    import pyarrow as pa

    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    return pa.schema([(name, kinds[kind]) for name, kind in KINDS.items()])
