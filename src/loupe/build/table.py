"""A table as it was read: its rows, whatever the source, and what is wrong with some of them."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

__all__ = ["ROWS_AT_A_TIME", "Table", "holds_bytes", "keep_batches"]

ROWS_AT_A_TIME = 1024
_ROWS_WITH_BYTES = 16  # pictures in memory at a time


@dataclass(frozen=True)
class Table:
    """The rows of a source, numbered from 0; a row with a problem is empty.

    `arrow` has one row for each row of the source. Where pictures stand in the table as bytes,
    `arrow` lacks those columns, named `byte_columns`, and `reopen` gives all columns afresh.
    """

    name: str
    folder: Path
    arrow: pa.Table
    problems: dict[int, str] = field(default_factory=dict)
    byte_columns: tuple[str, ...] = ()
    reopen: Callable[[], Iterator[pa.RecordBatch]] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [*self.arrow.column_names, *self.byte_columns]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give all rows without the columns of bytes, a batch at a time."""
        yield from self.arrow.to_batches(max_chunksize=ROWS_AT_A_TIME)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give each row as Python values, as few in memory at a time as may hold pictures."""
        whole = self.batches() if self.reopen is None else self.reopen()
        for batch in whole:
            at_a_time = _ROWS_WITH_BYTES if any(map(holds_bytes, batch.schema)) else ROWS_AT_A_TIME
            for start in range(0, batch.num_rows, at_a_time):
                yield from batch.slice(start, at_a_time).to_pylist()


def holds_bytes(column: pa.Field) -> bool:
    """Tell whether a column holds bytes, by themselves or inside lists and structs."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return holds_bytes(kind.value_field)
    if pa.types.is_struct(kind):
        return any(holds_bytes(kind.field(place)) for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def keep_batches(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], scratch: Path | None
) -> pa.Table:
    """Keep batches in an Arrow file that is mapped into memory; without a folder, in memory.

    Raises:
        OSError: the folder cannot be written.
    """
    if scratch is None:
        return pa.Table.from_batches(batches, schema)
    handle, path = tempfile.mkstemp(".arrow", dir=scratch)
    os.close(handle)
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return pa.ipc.open_file(pa.memory_map(path)).read_all()
