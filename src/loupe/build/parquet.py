"""Write Parquet files part by part: kept rows with pictures, rejected ones, the ledger of all."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loupe.build.ledger import Rejection
from loupe.build.pictures import HASH_BYTES, CheckedPicture
from loupe.build.table import holds_bytes
from loupe.errors import BuildError
from loupe.task import Task

__all__ = [
    "FIELD_TYPES",
    "Fate",
    "KeptRow",
    "SplitWriter",
    "TableWriter",
    "arrange_kept",
    "arrange_ledger",
    "arrange_rejected",
]

_MAX_ROWS = 100  # of a row group: what a reader must read to get one picture
_MAX_BYTES = 32 * 2**20
_IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_HUGGING_FACE = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}
FIELD_TYPES = {"price": pa.float64(), "number": pa.float64(), "integer": pa.int64()}


@dataclass(frozen=True)
class KeptRow:
    """What goes into the dataset of a row: group, split, typed values and picture."""

    group_id: str
    split: str
    values: dict[str, Any]
    picture: CheckedPicture


@dataclass(frozen=True)
class Fate:
    """What became of a row: kept or rejected; its number in the table counts from 0.

    `picture_key` is None where the row was rejected before its picture was touched; the other
    three tell what the picture cost.
    """

    number: int
    row_id: str
    result: KeptRow | Rejection
    picture_key: int | None = None
    attempts: int = 0
    received_bytes: int = 0
    seconds: float = 0.0


class TableWriter:
    """A Parquet file that grows by parts of one schema; close it, also after a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def add(self, part: pa.Table) -> None:
        """Write rows as one row group."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, part.schema)
        self._writer.write_table(part)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


class SplitWriter:
    """The file of one split: rows with their pictures, a row group in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._file = TableWriter(path)
        self._columns: pa.Table | None = None
        self._pictures: list[CheckedPicture] = []
        self._digest = hashlib.sha256()

    def add(self, columns: pa.Table, pictures: Sequence[CheckedPicture]) -> None:
        """Add rows, and write the row groups that are full.

        Raises:
            BuildError: a picture's file changed after it was checked.
        """
        before = [] if self._columns is None else [self._columns]
        self._columns = pa.concat_tables([*before, columns])
        self._pictures += pictures
        *full, (rest, _) = _batches(self._pictures)
        for start, stop in full:
            self._write(start, stop)
        self._columns = self._columns.slice(rest)
        del self._pictures[:rest]

    def close(self) -> None:
        """Finish the file; `finish` has written all rows before, unless something failed."""
        self._file.close()

    def finish(self) -> str:
        """Write the last row group; give the hash of all rows."""
        self._write(0, len(self._pictures))
        return self._digest.hexdigest()

    def _write(self, start: int, stop: int) -> None:
        assert self._columns is not None
        part = self._columns.slice(start, stop - start)
        place = part.column_names.index("group_id") + 1
        image = _read_pictures(self._pictures[start:stop])
        whole = part.add_column(place, pa.field("image", _IMAGE_TYPE), image)
        self._file.add(whole.replace_schema_metadata(_HUGGING_FACE))
        for row in part.to_pylist():
            self._digest.update(json.dumps(row, sort_keys=True, default=str).encode())


def arrange_kept(
    fates: Sequence[Fate], task: Task, part: pa.Table, columns_of_fields: Mapping[str, str]
) -> pa.Table:
    """Lay out everything but the pictures: ours, the task's fields, then the table's own columns.

    `part` holds the table's own rows for these fates. A column whose name is taken gets the
    prefix `original_`. Left out are columns of bytes, and those that a field of the same name
    was read from.
    """
    rows = [(fate.row_id, fate.result) for fate in fates if isinstance(fate.result, KeptRow)]
    columns = {
        "row_id": pa.array([row_id for row_id, _ in rows], pa.string()),
        "group_id": pa.array([row.group_id for _, row in rows], pa.string()),
        "image_width": pa.array([row.picture.width for _, row in rows], pa.int32()),
        "image_height": pa.array([row.picture.height for _, row in rows], pa.int32()),
        "image_sha256": pa.array([row.picture.sha256 for _, row in rows], pa.string()),
    }
    for name, field in task.fields.items():
        values = [row.values[name] for _, row in rows]
        columns[name] = pa.array(values, FIELD_TYPES.get(field.type, pa.string()))
    replaced = {field for field, column in columns_of_fields.items() if field == column}
    return _with_originals(columns, part.drop_columns(sorted(replaced)), taken={"image"})


def arrange_rejected(fates: Sequence[Fate], part: pa.Table) -> pa.Table:
    """Lay out rejected rows: number (from 1), reason, detail, then the table's own columns."""
    columns = _name_rows(fates) | _give_reasons(fates)
    return _with_originals(columns, part, taken=set())


def arrange_ledger(fates: Sequence[Fate]) -> pa.Table:
    """Lay out the fate of every row, kept or rejected, and what its picture cost."""
    kept = [fate.result if isinstance(fate.result, KeptRow) else None for fate in fates]
    pictures = [row.picture if row else None for row in kept]
    columns = {
        **_name_rows(fates),
        "fate": pa.array([row.split if row else "rejected" for row in kept], pa.string()),
        **_give_reasons(fates),
        "attempts": pa.array([fate.attempts for fate in fates], pa.int32()),
        "bytes": pa.array([fate.received_bytes for fate in fates], pa.int64()),
        "seconds": pa.array([fate.seconds for fate in fates], pa.float32()),
        "sha256": pa.array([picture and picture.sha256 for picture in pictures], pa.string()),
        "picture_key": pa.array([fate.picture_key for fate in fates], pa.uint64()),
        "pixel_sha256": pa.array([each and each.pixel_sha256 for each in pictures], pa.string()),
        "perceptual_hash": pa.array(
            [each and each.perceptual_hash.to_bytes(HASH_BYTES, "big") for each in pictures],
            pa.binary(HASH_BYTES),
        ),
    }
    return pa.table(columns)


def _name_rows(fates: Sequence[Fate]) -> dict[str, pa.Array]:
    return {
        "row_number": pa.array([fate.number + 1 for fate in fates], pa.int64()),
        "row_id": pa.array([fate.row_id for fate in fates], pa.string()),
    }


def _give_reasons(fates: Sequence[Fate]) -> dict[str, pa.Array]:
    found = [fate.result if isinstance(fate.result, Rejection) else None for fate in fates]
    return {
        "reason": pa.array([each and str(each.reason) for each in found], pa.string()),
        "detail": pa.array([each and _printable(each.detail) for each in found], pa.string()),
    }


def _with_originals(
    columns: dict[str, pa.Array], originals: pa.Table, *, taken: set[str]
) -> pa.Table:
    taken = {*taken, *columns}
    result = dict(columns)
    for field, column in zip(originals.schema, originals.columns, strict=True):
        if holds_bytes(field):
            continue
        new_name = field.name
        while new_name in taken:
            new_name = f"original_{new_name}"
        taken.add(new_name)
        result[new_name] = column
    return pa.table(result)


def _batches(pictures: Sequence[CheckedPicture]) -> Iterator[tuple[int, int]]:
    start, size = 0, 0
    for place, picture in enumerate(pictures):
        if place > start and (place - start == _MAX_ROWS or size + picture.size_bytes > _MAX_BYTES):
            yield start, place
            start, size = place, 0
        size += picture.size_bytes
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
