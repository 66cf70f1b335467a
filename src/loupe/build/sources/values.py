"""Rows of Python values as a table: a pass for the types of the columns, a pass for the rows."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from loupe.build.table import ROWS_AT_A_TIME, keep_batches

__all__ = ["keep_values"]

_DOUBLE_EXACT = 2**53
_INT64_END = 2**63
_ARROW_TYPES = {
    frozenset({"bool"}): pa.bool_(),
    frozenset({"int"}): pa.int64(),
    frozenset({"int", "long"}): pa.int64(),
    frozenset({"long"}): pa.int64(),
    frozenset({"float"}): pa.float64(),
    frozenset({"int", "float"}): pa.float64(),
}


def keep_values(read: Callable[[], Iterator[Mapping[str, Any]]], scratch: Path | None) -> pa.Table:
    """Keep rows that can be read twice; lists, objects and columns of several types become text.

    A row may lack columns; where no row has any, the table has none.
    """
    kinds: dict[str, set[str]] = {}
    for row in read():
        for column, value in row.items():
            kinds.setdefault(column, set()).add(_kind_of(value))
    schema = pa.schema([(column, _choose_type(found)) for column, found in kinds.items()])
    return keep_batches(schema, _make_batches(read(), schema), scratch)


def _kind_of(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _DOUBLE_EXACT:
        return "long" if abs(value) < _INT64_END else "too long"
    return type(value).__name__


def _choose_type(kinds: set[str]) -> pa.DataType:
    return _ARROW_TYPES.get(frozenset(kinds - {"NoneType"}), pa.string())


def _make_batches(rows: Iterator[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while chunk := list(islice(rows, ROWS_AT_A_TIME)):
        arrays = []
        for field in schema:
            values = [row.get(field.name) for row in chunk]
            if field.type == pa.string():
                values = [_as_text(value) for value in values]
            arrays.append(pa.array(values, field.type))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
