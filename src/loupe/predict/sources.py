"""Which pictures are asked about: files, folders, tables and datasets as one stream of places."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.build.dataset import Dataset, split_file
from loupe.build.hashing import hash_text
from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.columns import choose_columns
from loupe.build.rows.locate import Embedded, LocalFile, Place, Url, locate_picture
from loupe.build.sources import TABLE_SUFFIXES, Reading, read_table
from loupe.build.table import Table, holds_bytes
from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.predict.pictures import walk_pictures
from loupe.task import Task, is_missing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Asked", "Source", "ask_each", "find_sources", "name_field", "name_kept"]

_OWN_COLUMNS = (
    *("picture", "more_pictures", "left_out", "row", "id"),
    *("certainty", "answer", "problem", "reason", "key"),
)

_Row = tuple[dict[str, Any], Place | Rejection]


@dataclass(frozen=True)
class Asked:
    """One picture to answer: its number among all, from 0, and 64 bits that know it again.

    `columns` is what is written of it beside the answer: `picture`, where it is; of a table `row`,
    from 1, `id` where there is one, and the columns kept.
    """

    number: int
    key: int
    columns: Mapping[str, Any]
    place: Place | Rejection


@dataclass(frozen=True)
class Source:
    """Pictures that one name stands for: how many, and the types of columns kept of them.

    `read` gives them in order; it takes what each column kept is to be called.
    """

    name: str
    count: int
    kept: Mapping[str, pa.DataType]
    read: Callable[[Mapping[str, str]], Iterator[_Row]]


def find_sources(options: PredictOptions, scratch: Path | None) -> list[Source]:
    """Find what each name stands for; tables of text are kept in files of the folder `scratch`.

    Raises:
        PredictError: there is no picture, or a column to keep is not there.
        BuildError: a table cannot be read, or has no column of pictures.
        DatasetError: a dataset is not finished.
        OSError: a folder cannot be read.
    """
    sources = [_find_source(name, options, scratch) for name in options.pictures]
    if not any(source.count for source in sources):
        raise PredictError(
            f"There is no picture in {', '.join(options.pictures)}; name picture files, folders of "
            "them, or tables."
        )
    return sources


def name_kept(columns: Iterable[str], task: Task) -> dict[str, str]:
    """Name the columns that are kept: where a name is taken, `original_` goes before it."""
    taken = {*_OWN_COLUMNS, *task.fields}
    return {column: f"original_{column}" if column in taken else column for column in columns}


def name_field(name: str) -> str:
    """Name a field of the task: where a name is taken, `_field` goes behind it."""
    return f"{name}_field" if name in _OWN_COLUMNS else name


def ask_each(sources: Iterable[Source], task: Task) -> Iterator[Asked]:
    """Give the pictures of all sources in order."""
    number = 0
    for source in sources:
        for columns, place in source.read(name_kept(source.kept, task)):
            yield Asked(number, _key_of(source.name, columns, place), columns, place)
            number += 1


def _find_source(name: str, options: PredictOptions, scratch: Path | None) -> Source:
    path = Path(name)
    if path.is_dir() and not (path / "dataset.json").exists():
        files = walk_pictures(path)
        return Source(name, sum(1 for _ in files), {}, lambda _: map(_as_row, walk_pictures(path)))
    if path.is_dir():
        Dataset.open(path)  # refuses what is not finished
        table = read_table(path / split_file(options.split), Reading(scratch=scratch))
        return _ask_table(name, table, options, id_column=options.id_column or "row_id")
    if path.suffix.lower() in TABLE_SUFFIXES or (glob.has_magic(name) and not path.exists()):
        table = read_table(name, Reading(scratch=scratch))
        return _ask_table(name, table, options, id_column=options.id_column)
    return Source(name, 1, {}, lambda _: iter([_as_row(path)]))


def _as_row(path: Path) -> _Row:
    name = str(path).encode("utf-8", "backslashreplace").decode()  # which may be any bytes
    return {"picture": name}, LocalFile(path)


def _ask_table(name: str, table: Table, options: PredictOptions, id_column: str | None) -> Source:
    named = None if options.image_column is None else [options.image_column]
    (picture, *_), row_id = choose_columns(named, id_column, table.columns)
    kept = _types_of(table, options.keep)
    root = table.folder if options.picture_root is None else Path(options.picture_root)

    def read(names: Mapping[str, str]) -> Iterator[_Row]:
        for number, row in enumerate(table.rows()):
            columns: dict[str, Any] = {"picture": _name_picture(row.get(picture))}
            columns["row"] = number + 1
            if row_id is not None:
                columns["id"] = None if is_missing(row[row_id]) else str(row[row_id])
            columns |= {new: row[column] for column, new in names.items()}
            problem = table.problems.get(number)
            yield (
                columns,
                (
                    locate_picture(row[picture], root)
                    if problem is None
                    else Rejection(Reason.MALFORMED_ROW, problem)
                ),
            )

    return Source(name, table.arrow.num_rows, kept, read)


def _types_of(table: Table, columns: Sequence[str]) -> dict[str, pa.DataType]:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise PredictError(
            f"The option keep names the column {missing[0]!r}, which {table.name!r} does not have; "
            f"it has {', '.join(table.columns)}."
        )
    schema = table.arrow.schema
    in_bytes = [
        column
        for column in columns
        if column in table.byte_columns or holds_bytes(schema.field(column))
    ]
    if in_bytes:
        raise PredictError(
            f"The option keep names the column {in_bytes[0]!r} of {table.name!r}, which holds "
            "bytes; expected text, numbers or the like. Drop it."
        )
    return {column: schema.field(column).type for column in columns}


def _name_picture(cell: Any) -> str | None:
    """Give what a line says of a picture: its path or URL, of one in the table its name."""
    if isinstance(cell, Mapping):
        cell = cell.get("path")
    return None if isinstance(cell, bytes) or is_missing(cell) else str(cell)


def _key_of(source: str, columns: Mapping[str, Any], place: Place | Rejection) -> int:
    match place:
        case LocalFile():
            where = f"file {place.path}"
        case Url():
            where = f"url {place.url}"
        case Embedded():
            where = f"embedded {columns['picture']}"
        case Rejection():
            where = "nowhere"
    row = columns.get("row")
    return hash_text(where if row is None else f"{source} row {row} {where}")
