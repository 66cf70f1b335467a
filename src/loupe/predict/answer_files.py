"""Files of answers that grow while pictures are answered, and that a killed run goes on from."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AnswerFile", "JsonLines", "ParquetParts"]

_PART_ROWS = 4096
_PART_SECONDS = 60  # what a killed run has to answer again, at most

Row = Mapping[str, Any]


class AnswerFile(Protocol):
    """Rows on disk: those of an earlier run, and those added."""

    def read(self) -> Iterator[Row]:
        """Give the rows that are there: at least their key and problem."""

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows.

        Raises:
            OSError: the disk is full; rows that were there stay readable.
        """

    def close(self) -> None:
        """Write what was held back."""


class JsonLines:
    """One JSON object a line, each batch written at once; a last line that was cut off is dropped.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        whole = 0
        with path.open("rb") as before:
            for line in before:
                whole += len(line) if line.endswith(b"\n") else 0
        self._file.truncate(whole)

    def read(self) -> Iterator[Row]:
        """Give the rows that are there."""
        with self._path.open("rb") as lines:
            yield from map(json.loads, lines)

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows."""
        lines = [json.dumps(row, ensure_ascii=False, default=str) for row in rows]
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        if self._file.write(content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def close(self) -> None:
        """Close the file; no row was held back."""
        self._file.close()


class ParquetParts:
    """Parquet files answers-00000.parquet and so on, each there whole or not at all.

    Args:
        folder: where they stand.
        schema: columns and types; others that a row has follow by their own types.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._rows: list[Row] = []
        self._began = 0.0

    def read(self) -> Iterator[Row]:
        """Give key and problem of the rows that are there."""
        import pyarrow.parquet as pq

        for path in self._parts():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["key", "problem"]):
                    yield from batch.to_pylist()

    def add(self, rows: Sequence[Row]) -> None:
        """Take rows, and write a part where there are many or the first has waited for long."""
        if not self._rows:
            self._began = time.monotonic()
        self._rows += rows
        waited = time.monotonic() - self._began
        if len(self._rows) >= _PART_ROWS or waited >= _PART_SECONDS:
            self._write()

    def close(self) -> None:
        """Write the last part."""
        if self._rows:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        others = dict.fromkeys(name for row in self._rows for name in row)
        types = {field.name: field.type for field in self._schema} | {
            name: None for name in others if name not in self._schema.names
        }
        arrays = {
            name: _to_array([row.get(name) for row in self._rows], kind)
            for name, kind in types.items()
        }
        numbers = [int(path.stem.rpartition("-")[2]) for path in self._parts()]
        path = self._folder / f"answers-{max(numbers, default=-1) + 1:05d}.parquet"
        unfinished = path.with_suffix(".unfinished")
        pq.write_table(pa.table(arrays), unfinished)
        unfinished.rename(path)
        self._rows = []

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("answers-*.parquet"))


def _to_array(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """Give a column; a value that its type does not hold is empty, as the answer tells it."""
    import pyarrow as pa

    try:
        return pa.array(values, kind)
    except (OverflowError, pa.ArrowException):
        if len(values) > 1:
            return pa.concat_arrays([_to_array([value], kind) for value in values])
        return pa.nulls(1, kind)
