"""Read Parquet, a batch at a time; pictures that stand in the table are left in the file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loupe.build.sources.reading import (
    Reading,
    check_names,
    complain_of_empty,
    first_line,
    folder_of,
)
from loupe.build.table import ROWS_AT_A_TIME, Table, holds_bytes, keep_batches
from loupe.errors import BuildError

__all__ = ["fit_batch", "name_labels", "plain_schema", "read_parquet"]

_UNKNOWN_LABEL = -1
_PICTURES_AT_A_TIME = 64


def read_parquet(paths: Sequence[Path], name: str, how: Reading) -> Table:
    """Read files of the same columns, one after the other; a column that one lacks is empty there.

    Raises:
        BuildError: a file is not Parquet, two files disagree on a type, there is no row, or no
            column but of bytes.
    """
    schema = _join_schemas(paths)
    with_bytes = tuple(field.name for field in schema if holds_bytes(field))
    if with_bytes and len(with_bytes) == len(schema):
        raise BuildError(
            f"Table {name!r} has columns of bytes alone ({', '.join(with_bytes)}); expected one "
            "beside them, such as an id. Add one."
        )
    without = pa.schema([field for field in schema if field.name not in with_bytes])
    arrow = keep_batches(without, _read_batches(paths, without), how.scratch)
    if not arrow.num_rows:
        complain_of_empty(name)
    return Table(
        name,
        folder_of(paths),
        arrow,
        byte_columns=with_bytes,
        reopen=partial(_read_batches, paths, schema) if with_bytes else None,
    )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Give a schema without metadata and without dictionaries."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in schema
    ]
    return pa.schema([field.with_nullable(True).remove_metadata() for field in fields])


def fit_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch the columns and types of a schema; columns that it lacks are empty.

    Raises:
        ArrowInvalid: a column does not fit, or its content is damaged.
    """
    names = set(batch.schema.names)
    arrays = [
        pc.cast(batch.column(field.name), field.type)
        if field.name in names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    fitted = pa.RecordBatch.from_arrays(arrays, schema=schema)
    fitted.validate(full=True)  # text that is no UTF-8 would fail later, without its table's name
    return fitted


def name_labels(table: pa.Table, labels: Mapping[str, list[str]]) -> pa.Table:
    """Put names in place of the numbers of labels, by column."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    for name, texts in labels.items():
        numbers = columns[name]
        known = pc.if_else(pc.equal(numbers, _UNKNOWN_LABEL), None, numbers)
        columns[name] = pc.take(pa.array(texts, pa.string()), known)
    return pa.table(columns)


def _join_schemas(paths: Sequence[Path]) -> pa.Schema:
    schemas = []
    for path in paths:
        try:
            schema = pq.read_schema(path)
            labels = {name: pa.string() for name in _labels_of(schema)}
            fields = [field.with_type(labels.get(field.name, field.type)) for field in schema]
            schemas.append(plain_schema(pa.schema(fields)))
        except (pa.ArrowException, ValueError, OSError) as error:
            _complain(path, error)
        check_names(path, schemas[-1].names)
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise BuildError(
            f"The {len(paths)} files of {str(folder_of(paths))!r} disagree on a column "
            f"({first_line(error)}). Write them with the same types, or give fewer."
        ) from error


def _read_batches(paths: Sequence[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for path in paths:
        try:
            yield from _read_file(path, schema)
        except (pa.ArrowException, OSError) as error:
            _complain(path, error)


def _read_file(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    at_a_time = _PICTURES_AT_A_TIME if any(map(holds_bytes, schema)) else ROWS_AT_A_TIME
    with pq.ParquetFile(path, memory_map=True) as file:
        names = [name for name in file.schema_arrow.names if name in schema.names]
        found = _labels_of(file.schema_arrow)
        labels = {name: texts for name, texts in found.items() if name in names}
        # One iterator over all row groups would keep the pages of each until its end.
        for group in range(file.num_row_groups):
            missing = file.metadata.row_group(group).num_rows
            for batch in file.iter_batches(at_a_time, [group], names):
                named = name_labels(pa.Table.from_batches([batch]), labels)
                yield from (fit_batch(part, schema) for part in named.to_batches())
                missing -= batch.num_rows
            if missing:  # which Arrow does not mind
                raise pa.ArrowInvalid(f"{missing} rows of row group {group} are missing")


def _labels_of(schema: pa.Schema) -> dict[str, list[str]]:
    """Give the names of labels, by column, which `datasets` notes beside their numbers."""
    noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = noted.get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _complain(path: object, error: Exception) -> NoReturn:
    if isinstance(error, OSError) and error.errno is not None:  # the disk's error, not the file's
        raise error
    raise BuildError(
        f"Table {str(path)!r} cannot be read as Parquet ({first_line(error)}). "
        "Write it again, or give another source."
    ) from error
