"""A function on batches of pictures, for engines that run on many machines: Ray Data, Spark, `datasets.map`.

    data.map_batches(BatchScorer, fn_constructor_kwargs={"column": "bytes", "name_column": "path"},
                     compute=ray.data.ActorPoolStrategy(size=8), batch_size=32, batch_format="pyarrow")  # Ray Data
    data.map(BatchScorer("image"), batched=True, batch_size=32, remove_columns=data.column_names)  # datasets
    frame.mapInArrow(BatchScorer("content", name_column="path").each, SPARK_SCHEMA)  # Spark

Complete programs: examples/ray_scan.py, examples/datasets_map.py. The engine distributes the batches and
repeats those of a lost machine; a row depends on its picture alone, so a repeated batch gives the same rows.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fakedet.detector import Detector
from fakedet.images import Limits, display_name
from fakedet.network.views import CUT_KEYS

from .readers import DecodePool
from .run import score_rows
from .sources import SourceError
from .table import KINDS, schema

BATCH = 32  # pictures that a worker should get at a time; it decodes that many, then scores them
SPARK_SCHEMA = ", ".join(
    f"{name} { {str: 'string', float: 'double', int: 'bigint'}[kind] }" for name, kind in KINDS.items()
)


class BatchScorer:
    """Takes a batch with a column of pictures and returns the columns of a scan's table (`table.KINDS`), row by row.

    A picture that cannot be scored is a row with `error_code` and `error_message`. Only the arguments travel to the
    engine's workers: each process loads the checkpoint, and starts a confined decoding process, with its first batch.
    The two take turns, so a worker keeps one core busy. One caller at a time
    in a process.

    Args:
        column: Column with the pictures: bytes of files, paths, or {bytes, path} as `datasets.Image(decode=False)`
            stores them.
        name_column: Column with texts for the column `file`; by default the paths, where there are any.
        keep: Columns of the batch that come before the new ones.
        model, revision, runtime, provenance, early_exit: As for `scan`.
        threads: CPU threads of the network; FAKEDET_THREADS wins. Engines give each core a worker of its own.

    Raises:
        SourceError: pyarrow is not installed, or a kept column has the name of a new one.
    """

    def __init__(
        self,
        column: str,
        name_column: str | None = None,
        keep: Sequence[str] = (),
        model: str | None = None,
        revision: str | None = None,
        runtime: str = "auto",
        provenance: bool = True,
        early_exit: bool = True,
        threads: int = 1,
    ):
        if importlib.util.find_spec("pyarrow") is None:
            raise SourceError("BatchScorer needs pyarrow, which is not installed: pip install 'fakedet[scan]'")
        if taken := sorted(set(keep) & set(KINDS)):
            raise SourceError(f"The columns to keep have names of the result: {', '.join(taken)}; rename them.")
        self.column, self.name_column, self.keep = column, name_column, tuple(keep)
        self.model, self.revision, self.runtime = model, revision, runtime
        self.provenance, self.early_exit, self.threads = provenance, early_exit, threads
        self._by_process: dict[int, tuple[Detector, DecodePool]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_by_process": {}}

    def __call__(self, batch):
        """Score a batch.

        Args:
            batch: pyarrow table or record batch, or mapping of a name to a sequence or array.

        Returns:
            A pyarrow record batch for a record batch, else a pyarrow table; as many rows in the same order.

        Raises:
            SourceError: The batch lacks a column, or the column holds no pictures.
            hub.ModelError, ValueError: The checkpoint cannot be used.
        """
        import pyarrow as pa

        values = _values(batch, self.column)
        names = [None] * len(values) if self.name_column is None else _values(batch, self.name_column)
        pictures = [self._picture(value) for value in values]
        files = [str(name) if name else path for name, (path, _) in zip(names, pictures, strict=True)]
        items = [
            (path, None) if data is None and path else (display_name(file), data or b"")
            for file, (path, data) in zip(files, pictures, strict=True)
        ]
        detector, pool = self._loaded()
        rows = [row for _, row in score_rows(detector, pool.read(enumerate(items)), BATCH, lambda done: None)]
        rows = [row | {"file": file} for row, file in zip(rows, files, strict=True)]
        kind = pa.RecordBatch if isinstance(batch, pa.RecordBatch) else pa.Table
        scored = kind.from_pylist(rows, schema())
        kept = {name: _column(batch, name) for name in self.keep}
        return kind.from_pydict(kept | {name: scored[name] for name in KINDS}) if kept else scored

    def each(self, batches: Iterator) -> Iterator:
        """Score batches one after another, as Spark's `mapInArrow` wants it."""
        return map(self, batches)

    def _picture(self, value: Any) -> tuple[str | None, bytes | None]:
        """Return the path and the bytes of a picture, each None if the value does not hold it."""
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (value, None)
        if isinstance(data, str | os.PathLike):
            data, path = None, os.fspath(data)
        if not isinstance(data, bytes | bytearray | memoryview | None):
            raise SourceError(
                f"The column {self.column} holds {type(data).__name__}, not bytes, paths or {{bytes, path}}; "
                "with datasets, cast it to Image(decode=False)."
            )
        return path or None, None if data is None else bytes(data)

    def _loaded(self) -> tuple[Detector, DecodePool]:
        """The detector and the decoding process of this process; those of a parent do not survive a fork."""
        if os.getpid() not in self._by_process:
            threads = None if os.environ.get("FAKEDET_THREADS") else self.threads
            detector = Detector.from_pretrained(
                self.model, self.revision, self.runtime, Limits(), self.provenance, threads, early_exit=self.early_exit
            )
            settings = {key: getattr(detector.config, key) for key in CUT_KEYS}
            pool = DecodePool(1, settings, detector.limits, detector.provenance, prefetch=BATCH)
            self._by_process[os.getpid()] = detector, pool
        return self._by_process[os.getpid()]


def _column(batch, name: str):
    """The values of a column: a pyarrow array, or a sequence.

    Raises:
        SourceError: There is no such column.
    """
    names = list(batch) if isinstance(batch, Mapping) else batch.schema.names
    if name not in names:
        raise SourceError(f"The batch has no column {name}, but {', '.join(map(str, names))}.")
    return batch[name]


def _values(batch, name: str) -> list:
    values = _column(batch, name)
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)
