"""Write Parquet files part by part: kept rows with pictures, rejected ones, the ledger of all."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loupe.build.journal import Entry
from loupe.build.ledger import Rejection
from loupe.build.pictures import HASH_BYTES, CheckedPicture
from loupe.build.table import holds_bytes
from loupe.errors import BuildError
from loupe.task import Task

__all__ = [
    "FIELD_TYPES",
    "Fate",
    "KeptRow",
    "PictureFate",
    "SplitWriter",
    "TableWriter",
    "arrange_kept",
    "arrange_ledger",
    "arrange_more",
    "arrange_rejected",
]

_MAX_ROWS = 100  # of a row group: what a reader must read to get one picture
_MAX_BYTES = 32 * 2**20
_IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_LIST_TYPE = pa.list_(_IMAGE_TYPE)
_IMAGE_FEATURE: dict[str, Any] = {"image": {"_type": "Image"}}
_LIST_FEATURE = {"more_images": {"_type": "List", "feature": {"_type": "Image"}}}
FIELD_TYPES = {"price": pa.float64(), "number": pa.float64(), "integer": pa.int64()}


@dataclass(frozen=True)
class KeptRow:
    """What goes into the dataset of a row: group, split, typed values, main and more pictures."""

    group_id: str
    split: str
    values: dict[str, Any]
    picture: CheckedPicture
    more: tuple[CheckedPicture, ...] = ()


@dataclass(frozen=True)
class PictureFate:
    """What became of a picture that a row names; `key` is None where it was never touched."""

    entry: Entry
    key: int | None = None


@dataclass(frozen=True)
class Fate:
    """What became of a row: kept or rejected; its number in the table counts from 0.

    `main` is None where the row was rejected before its picture was touched; `more` are the fates
    of the further pictures that it names.
    """

    number: int
    row_id: str
    result: KeptRow | Rejection
    main: PictureFate | None = None
    more: tuple[PictureFate, ...] = ()

    @property
    def place(self) -> str:
        """The split that the row is in, or `rejected`."""
        return self.result.split if isinstance(self.result, KeptRow) else "rejected"


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
    """The file of one split: rows with their pictures, a row group in memory at a time.

    With `has_more`, the rows' further pictures have a column.
    """

    def __init__(self, path: Path, *, has_more: bool) -> None:
        self._file = TableWriter(path)
        self._has_more = has_more
        self._columns: pa.Table | None = None
        self._rows: list[KeptRow] = []
        self._digest = hashlib.sha256()

    def add(self, columns: pa.Table, rows: Sequence[KeptRow]) -> None:
        """Add rows, laid out but for their pictures, and write the row groups that are full.

        Raises:
            BuildError: a picture's file changed after it was checked.
        """
        before = [] if self._columns is None else [self._columns]
        self._columns = pa.concat_tables([*before, columns])
        self._rows += rows
        *full, (rest, _) = _batches(self._rows)
        for start, stop in full:
            self._write(start, stop)
        self._columns = self._columns.slice(rest)
        del self._rows[:rest]

    def close(self) -> None:
        """Finish the file; `finish` has written all rows before, unless something failed."""
        self._file.close()

    def finish(self) -> str:
        """Write the last row group; give the hash of all rows."""
        self._write(0, len(self._rows))
        return self._digest.hexdigest()

    def _write(self, start: int, stop: int) -> None:
        assert self._columns is not None
        part = self._columns.slice(start, stop - start)
        place = part.column_names.index("group_id") + 1
        rows, features = self._rows[start:stop], _IMAGE_FEATURE
        image = _read_pictures([row.picture for row in rows])
        whole = part.add_column(place, pa.field("image", _IMAGE_TYPE), image)
        if self._has_more:
            features = _IMAGE_FEATURE | _LIST_FEATURE
            more = _read_more([row.more for row in rows])
            whole = whole.add_column(place + 1, pa.field("more_images", _LIST_TYPE), more)
        told = json.dumps({"info": {"features": features}}).encode()
        self._file.add(whole.replace_schema_metadata({b"huggingface": told}))
        for row in part.to_pylist():
            self._digest.update(json.dumps(row, sort_keys=True, default=str).encode())


def arrange_kept(
    fates: Sequence[Fate],
    task: Task,
    part: pa.Table,
    columns_of_fields: Mapping[str, str],
    *,
    has_more: bool,
) -> pa.Table:
    """Lay out everything but the pictures: ours, the task's fields, then the table's own columns.

    `part` holds the table's own rows for these fates. A column whose name is taken gets the
    prefix `original_`. Left out are columns of bytes, and those that a field of the same name
    was read from. With `has_more` there are lists of what is known of the further pictures.
    """
    rows = [(fate.row_id, fate.result) for fate in fates if isinstance(fate.result, KeptRow)]
    columns = {
        "row_id": pa.array([row_id for row_id, _ in rows], pa.string()),
        "group_id": pa.array([row.group_id for _, row in rows], pa.string()),
        "image_width": pa.array([row.picture.width for _, row in rows], pa.int32()),
        "image_height": pa.array([row.picture.height for _, row in rows], pa.int32()),
        "image_sha256": pa.array([row.picture.sha256 for _, row in rows], pa.string()),
    }
    more = [row.more for _, row in rows]
    if has_more:
        columns["more_image_widths"] = _list_of(pa.int32(), more, lambda each: each.width)
        columns["more_image_heights"] = _list_of(pa.int32(), more, lambda each: each.height)
        columns["more_image_sha256"] = _list_of(pa.string(), more, lambda each: each.sha256)
    for name, field in task.fields.items():
        values = [row.values[name] for _, row in rows]
        columns[name] = pa.array(values, FIELD_TYPES.get(field.type, pa.string()))
    replaced = {field for field, column in columns_of_fields.items() if field == column}
    taken = {"image", "more_images"} if has_more else {"image"}
    return _with_originals(columns, part.drop_columns(sorted(replaced)), taken=taken)


def arrange_rejected(fates: Sequence[Fate], part: pa.Table) -> pa.Table:
    """Lay out rejected rows: number (from 1), reason, detail, then the table's own columns."""
    columns = _name_rows(fates) | _give_reasons([fate.result for fate in fates])
    return _with_originals(columns, part, taken=set())


def arrange_ledger(fates: Sequence[Fate]) -> pa.Table:
    """Lay out the fate of every row, kept or rejected, and what its picture cost."""
    places = [fate.place for fate in fates]
    columns = {
        **_name_rows(fates),
        "fate": pa.array(places, pa.string()),
        **_give_reasons([fate.result for fate in fates]),
        **_tell_pictures([fate.main for fate in fates], places),
    }
    return pa.table(columns)


def arrange_more(fates: Sequence[Fate]) -> pa.Table:
    """Lay out the fate of every further picture that rows name: a ledger of its own.

    `picture` is its number in its row, from 2; `fate` is the row's, or `left_out`.
    """
    named = [(fate, number) for fate in fates for number in range(len(fate.more))]
    pictures = [fate.more[number] for fate, number in named]
    places = [
        "left_out"
        if fate.place != "rejected" and isinstance(picture.entry.outcome, Rejection)
        else fate.place
        for (fate, _), picture in zip(named, pictures, strict=True)
    ]
    columns = {
        **_name_rows([fate for fate, _ in named]),
        "picture": pa.array([number + 2 for _, number in named], pa.int32()),
        "fate": pa.array(places, pa.string()),
        **_give_reasons([picture.entry.outcome for picture in pictures]),
        **_tell_pictures(pictures, places),
    }
    return pa.table(columns)


def _tell_pictures(
    fates: Sequence[PictureFate | None], places: Sequence[str]
) -> dict[str, pa.Array]:
    """Tell what pictures cost, and of those that are kept what they are."""
    entries = [fate.entry if fate else None for fate in fates]
    found = [
        each.outcome if each and place != "rejected" else None
        for each, place in zip(entries, places, strict=True)
    ]
    pictures = [each if isinstance(each, CheckedPicture) else None for each in found]
    return {
        "attempts": pa.array([each.attempts if each else 0 for each in entries], pa.int32()),
        "bytes": pa.array([each.received_bytes if each else 0 for each in entries], pa.int64()),
        "seconds": pa.array([each.seconds if each else 0.0 for each in entries], pa.float32()),
        "sha256": pa.array([each and each.sha256 for each in pictures], pa.string()),
        "picture_key": pa.array([fate and fate.key for fate in fates], pa.uint64()),
        "pixel_sha256": pa.array([each and each.pixel_sha256 for each in pictures], pa.string()),
        "perceptual_hash": pa.array(
            [each and each.perceptual_hash.to_bytes(HASH_BYTES, "big") for each in pictures],
            pa.binary(HASH_BYTES),
        ),
    }


def _name_rows(fates: Sequence[Fate]) -> dict[str, pa.Array]:
    return {
        "row_number": pa.array([fate.number + 1 for fate in fates], pa.int64()),
        "row_id": pa.array([fate.row_id for fate in fates], pa.string()),
    }


def _give_reasons(results: Sequence[object]) -> dict[str, pa.Array]:
    found = [each if isinstance(each, Rejection) else None for each in results]
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


def _batches(rows: Sequence[KeptRow]) -> Iterator[tuple[int, int]]:
    start, size = 0, 0
    for place, row in enumerate(rows):
        row_bytes = sum(picture.size_bytes for picture in (row.picture, *row.more))
        if place > start and (place - start == _MAX_ROWS or size + row_bytes > _MAX_BYTES):
            yield start, place
            start, size = place, 0
        size += row_bytes
    yield start, len(rows)


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


def _read_more(rows: Sequence[Sequence[CheckedPicture]]) -> pa.Array:
    pictures = _read_pictures([picture for row in rows for picture in row])
    ends = accumulate(map(len, rows), initial=0)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pictures, type=_LIST_TYPE)


def _list_of(
    kind: pa.DataType,
    rows: Sequence[Sequence[CheckedPicture]],
    value: Callable[[CheckedPicture], object],
) -> pa.Array:
    return pa.array([[value(picture) for picture in row] for row in rows], pa.list_(kind))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
