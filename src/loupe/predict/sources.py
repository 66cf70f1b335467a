"""Which products are asked about: files, folders, tables and datasets as one stream of places."""

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
from loupe.build.rows.locate import (
    Embedded,
    LocalFile,
    Place,
    Url,
    list_pictures,
    locate_picture,
)
from loupe.build.sources import TABLE_SUFFIXES, Reading, read_table
from loupe.build.table import Table, holds_bytes
from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.predict.pictures import walk_folders, walk_pictures
from loupe.predict.predictor import pictures_beside
from loupe.task import Task, is_missing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Asked", "Source", "ask_each", "find_sources", "name_field", "name_kept"]

_OWN_COLUMNS = (
    *("picture", "more_pictures", "left_out", "row", "id"),
    *("certainty", "answer", "problem", "reason", "key"),
)

_FURTHER_IMAGES = "more_images"  # of a dataset

_Places = tuple[Place | Rejection, ...]
_Row = tuple[dict[str, Any], _Places]


@dataclass(frozen=True)
class Asked:
    """One product to answer: its number among all, from 0, and 64 bits that know it again.

    `columns` is what is written of it beside the answer: `picture`, where its main picture is, and
    `more_pictures`, where further ones are; of a table `row`, from 1, `id` where there is one, and
    the columns kept. `places` are those of its pictures, at least one, the main one first.
    """

    number: int
    key: int
    columns: Mapping[str, Any]
    places: _Places

    @property
    def names(self) -> list[str | None]:
        """What each picture is called."""
        return _names_in(self.columns)


@dataclass(frozen=True)
class Source:
    """Products that one name stands for: how many, and the types of columns kept of them.

    `read` gives them in order; it takes what each column kept is to be called. `shows_more` says
    that they may have several pictures each.
    """

    name: str
    count: int
    kept: Mapping[str, pa.DataType]
    read: Callable[[Mapping[str, str]], Iterator[_Row]]
    shows_more: bool = False


def find_sources(options: PredictOptions, scratch: Path | None) -> list[Source]:
    """Find what each name stands for; tables of text are kept in files of the folder `scratch`.

    Raises:
        PredictError: there is no picture, or a column to keep is not there.
        BuildError: a table cannot be read, or has no column of pictures.
        DatasetError: a dataset is not finished.
        OSError: a folder cannot be read.
    """
    names = options.pictures
    sources = []
    if options.together:
        files = [Path(name) for name in names if not _holds_products(name)]
        names = list(filter(_holds_products, names))
        if files:
            row = _as_row(files[: options.max_pictures])
            sources.append(Source(str(files[0]), 1, {}, lambda _: iter([row]), shows_more=True))
    sources += [_find_source(name, options, scratch) for name in names]
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
    """Give the products of all sources in order."""
    number = 0
    for source in sources:
        for columns, places in source.read(name_kept(source.kept, task)):
            yield Asked(number, _key_of(source.name, columns, places), columns, places)
            number += 1


def _holds_products(name: str) -> bool:
    """Tell a folder or a table from a picture file."""
    path = Path(name)
    is_pattern = glob.has_magic(name) and not path.exists()
    return path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES or is_pattern


def _find_source(name: str, options: PredictOptions, scratch: Path | None) -> Source:
    path = Path(name)
    if path.is_dir() and not (path / "dataset.json").exists():
        return _ask_folder(path, options)
    if path.is_dir():
        Dataset.open(path)  # refuses what is not finished
        table = read_table(path / split_file(options.split), Reading(scratch=scratch))
        return _ask_table(name, table, options, is_dataset=True)
    if _holds_products(name):
        return _ask_table(name, read_table(name, Reading(scratch=scratch)), options)
    return Source(name, 1, {}, lambda _: iter([_as_row([path])]))


def _ask_folder(folder: Path, options: PredictOptions) -> Source:
    def walk() -> Iterator[list[Path]]:
        if options.together:
            yield from (each[: options.max_pictures] for each in walk_folders(folder))
        else:
            yield from ([path] for path in walk_pictures(folder))

    count, more = sum(1 for _ in walk()), options.together
    return Source(str(folder), count, {}, lambda _: map(_as_row, walk()), shows_more=more)


def _as_row(paths: Sequence[Path]) -> _Row:
    # A path may be any bytes.
    names = [str(path).encode("utf-8", "backslashreplace").decode() for path in paths]
    return _name_pictures(names), tuple(map(LocalFile, paths))


def _ask_table(
    name: str, table: Table, options: PredictOptions, *, is_dataset: bool = False
) -> Source:
    id_column = options.id_column or ("row_id" if is_dataset else None)
    pictures, row_id = choose_columns(options.image_column, id_column, table.columns)
    if is_dataset and options.image_column is None and _FURTHER_IMAGES in table.byte_columns:
        pictures = *pictures, _FURTHER_IMAGES
    kept = _types_of(table, options.keep)
    root = table.folder if options.picture_root is None else Path(options.picture_root)
    most = options.max_pictures or pictures_beside(options.model)

    def read(names: Mapping[str, str]) -> Iterator[_Row]:
        for number, row in enumerate(table.rows()):
            problem = table.problems.get(number)
            cells = [row.get(pictures[0])]
            places: _Places = (Rejection(Reason.MALFORMED_ROW, str(problem)),)
            if problem is None:
                main, *further = list_pictures([row[column] for column in pictures])
                # A row need not have as many pictures as there are columns.
                cells = [main, *(each for each in further if not is_missing(each))][:most]
                places = tuple(locate_picture(cell, root) for cell in cells)
            columns = _name_pictures(list(map(_name_picture, cells))) | {"row": number + 1}
            if row_id is not None:
                columns["id"] = None if is_missing(row[row_id]) else str(row[row_id])
            columns |= {new: row[column] for column, new in names.items()}
            yield columns, places

    shows_more = most != 1 and len(pictures) > 1
    return Source(name, table.arrow.num_rows, kept, read, shows_more=shows_more)


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


def _name_pictures(names: Sequence[str | None]) -> dict[str, Any]:
    main, *more = names
    return {"picture": main} | ({"more_pictures": more} if more else {})


def _names_in(columns: Mapping[str, Any]) -> list[str | None]:
    """Read what `_name_pictures` wrote."""
    return [columns["picture"], *columns.get("more_pictures", ())]


def _name_picture(cell: Any) -> str | None:
    """Give what a line says of a picture: its path or URL, of one in the table its name."""
    if isinstance(cell, Mapping):
        cell = cell.get("path")
    return None if isinstance(cell, bytes) or is_missing(cell) else str(cell)


def _key_of(source: str, columns: Mapping[str, Any], places: _Places) -> int:
    where = " and ".join(map(_tell_place, _names_in(columns), places))
    row = columns.get("row")
    return hash_text(where if row is None else f"{source} row {row} {where}")


def _tell_place(name: str | None, place: Place | Rejection) -> str:
    match place:
        case LocalFile():
            return f"file {place.path}"
        case Url():
            return f"url {place.url}"
        case Embedded():
            return f"embedded {name}"
        case Rejection():
            return "nowhere"
