"""Write Parquet files: kept rows with pictures, as `datasets` reads them; rejected ones too."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loupe.build.ledger import Rejection
from loupe.build.pictures import CheckedPicture
from loupe.build.table import Table
from loupe.errors import BuildError
from loupe.task import Task

__all__ = ["KeptRow", "arrange_columns", "write_rejected", "write_split"]

_MAX_ROWS = 100  # of a row group: what a reader must read to get one picture
_MAX_BYTES = 32 * 2**20
_IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_HUGGING_FACE = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}
_FIELD_TYPES = {"price": pa.float64(), "number": pa.float64(), "integer": pa.int64()}


@dataclass(frozen=True)
class KeptRow:
    """A row of the dataset: its number in the table, typed values, picture, group and split."""

    number: int
    row_id: str
    group_id: str
    split: str
    values: dict[str, Any]
    picture: CheckedPicture


def arrange_columns(
    rows: Sequence[KeptRow], task: Task, table: Table, columns_of_fields: Mapping[str, str]
) -> pa.Table:
    """Lay out everything but the pictures: ours, the task's fields, then the table's own columns.

    A column of the table whose name is taken gets the prefix `original_`. Left out are columns of
    bytes, and those that a field of the same name was read from.
    """
    columns = {
        "row_id": pa.array([row.row_id for row in rows], pa.string()),
        "group_id": pa.array([row.group_id for row in rows], pa.string()),
        "image_width": pa.array([row.picture.width for row in rows], pa.int32()),
        "image_height": pa.array([row.picture.height for row in rows], pa.int32()),
        "image_sha256": pa.array([row.picture.sha256 for row in rows], pa.string()),
    }
    for name, field in task.fields.items():
        values = [row.values[name] for row in rows]
        columns[name] = pa.array(values, _FIELD_TYPES.get(field.type, pa.string()))
    replaced = {field for field, column in columns_of_fields.items() if field == column}
    originals = table.arrow.drop_columns(sorted(replaced))
    numbers = [row.number for row in rows]
    return _with_originals(columns, originals, numbers, taken={"image"})


def write_split(path: Path, columns: pa.Table, pictures: Sequence[CheckedPicture]) -> str:
    """Write rows with their pictures, a row group in memory at a time; give the content's hash.

    Raises:
        BuildError: a picture's file changed after it was checked.
    """
    names = columns.column_names
    place = names.index("group_id") + 1
    schema = columns.schema.insert(place, pa.field("image", _IMAGE_TYPE))
    digest = hashlib.sha256()
    with pq.ParquetWriter(path, schema.with_metadata(_HUGGING_FACE)) as writer:
        for start, stop in _batches(pictures):
            part = columns.slice(start, stop - start)
            image = _read_pictures(pictures[start:stop])
            writer.write_table(
                part.add_column(place, "image", image).replace_schema_metadata(_HUGGING_FACE),
                row_group_size=_MAX_ROWS,
            )
            for row in part.to_pylist():
                digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def write_rejected(
    path: Path, rejected: Mapping[int, Rejection], row_ids: Sequence[str], table: Table
) -> None:
    """Write each rejected row with its number (from 1), reason, detail and own columns."""
    numbers = sorted(rejected)
    columns = {
        "row_number": pa.array([number + 1 for number in numbers], pa.int64()),
        "row_id": pa.array([row_ids[number] for number in numbers], pa.string()),
        "reason": pa.array([str(rejected[number].reason) for number in numbers], pa.string()),
        "detail": pa.array([_printable(rejected[number].detail) for number in numbers]),
    }
    pq.write_table(_with_originals(columns, table.arrow, numbers, taken=set()), path)


def _with_originals(
    columns: dict[str, pa.Array], originals: pa.Table, numbers: list[int], *, taken: set[str]
) -> pa.Table:
    taken = {*taken, *columns}
    result = dict(columns)
    for name, column in zip(originals.column_names, originals.columns, strict=True):
        if _holds_bytes(column.type):
            continue
        new_name = name
        while new_name in taken:
            new_name = f"original_{new_name}"
        taken.add(new_name)
        result[new_name] = column.take(pa.array(numbers, pa.int64()))
    return pa.table(result)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _batches(pictures: Sequence[CheckedPicture]) -> Iterator[tuple[int, int]]:
    start, size = 0, 0
    for place, picture in enumerate(pictures):
        if place > start and (place - start == _MAX_ROWS or size + picture.size_bytes > _MAX_BYTES):
            yield start, place
            start, size = place, 0
        size += picture.size_bytes
    if start < len(pictures):
        yield start, len(pictures)


def _read_pictures(pictures: Sequence[CheckedPicture]) -> pa.Array:
    contents = []
    for picture in pictures:
        content = picture.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != picture.sha256:
            raise BuildError(
                f"Picture {str(picture.path)!r} changed while the dataset was built. Build again "
                "when nothing writes to it."
            )
        contents.append(content)
    # The name is ours: one from the table could hold anything.
    names = [picture.sha256[:16] + picture.suffix for picture in pictures]
    arrays = [pa.array(contents, pa.binary()), pa.array(names, pa.string())]
    return pa.StructArray.from_arrays(arrays, fields=list(_IMAGE_TYPE))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
