"""Read a CSV, TSV, JSONL or Parquet table, or a folder, into one Arrow table."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loupe.errors import BuildError

__all__ = ["PICTURE_SUFFIXES", "TABLE_SUFFIXES", "Table", "read_table"]

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
)  # fmt: skip
ROWS_AT_A_TIME = 1024
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)  # 18 digits fit an int64
_DECIMAL = re.compile(r"-?(0|[1-9]\d{0,14})\.\d+", re.ASCII)


@dataclass(frozen=True)
class Table:
    """A table as it was read: its rows, numbered from 0, and what is wrong with some of them.

    `arrow` has one row for each row of the source; a row with a problem is empty there.
    """

    name: str
    folder: Path
    arrow: pa.Table
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.arrow.column_names)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give each row as Python values, a batch in memory at a time."""
        for batch in self.arrow.to_batches(max_chunksize=ROWS_AT_A_TIME):
            yield from batch.to_pylist()


def read_table(source: str | Path) -> Table:
    """Read a table, the table of a folder, or a folder with one sub-folder per category.

    Raises:
        BuildError: there is no such path, it is of another kind, or it cannot be read as what its
            suffix says.
    """
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise BuildError(
            f"There is no {str(source)!r}; expected a table ({', '.join(TABLE_SUFFIXES)}) or a "
            "folder. Check the path of source."
        )
    return _read_file(path)


def _read_file(path: Path) -> Table:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix in {".jsonl", ".ndjson"}:
        return _read_jsonl(path)
    if suffix in {".csv", ".tsv"}:
        return _read_csv(path, "\t" if suffix == ".tsv" else ",")
    raise BuildError(
        f"Source {str(path)!r} is not a table that Loupe reads; expected one of "
        f"{', '.join(TABLE_SUFFIXES)}, or a folder. Convert it first."
    )


def _read_folder(folder: Path) -> Table:
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    metadata = [path for path in tables if path.stem == "metadata"]
    if len(tables) == 1 or len(metadata) == 1:
        return _read_file((metadata or tables)[0])
    if tables:
        raise BuildError(
            f"Folder {str(folder)!r} holds {len(tables)} tables ({_some(p.name for p in tables)}); "
            "expected one. Give the path of the table as source."
        )
    return _list_pictures(folder)


def _list_pictures(folder: Path) -> Table:
    found = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise BuildError(
            f"Folder {str(folder)!r} holds neither a table ({', '.join(TABLE_SUFFIXES)}) nor a "
            "picture in it or its sub-folders. Check the path of source."
        )
    categories = [path.parts[0] if len(path.parts) > 1 else None for path in found]
    columns = {
        "image": pa.array([path.as_posix() for path in found], pa.string()),
        "category": pa.array(categories, pa.string()),
        "name": pa.array([path.stem for path in found], pa.string()),
    }
    return Table(str(folder), folder, pa.table(columns))


def _read_parquet(path: Path) -> Table:
    try:
        arrow = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise BuildError(
            f"Table {str(path)!r} cannot be read as Parquet ({_first_line(error)}). "
            "Write it again, or give another source."
        ) from error
    _check_names(path, arrow.column_names)
    return Table(str(path), path.parent, arrow.replace_schema_metadata(None))


def _read_jsonl(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    problems: dict[int, str] = {}
    for line in _read_text(path).split("\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair fails here
            problem = None if isinstance(value, dict) else "the line is not a JSON object"
        except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
            problem = f"the line is not JSON ({error})"
        if problem:
            problems[len(rows)] = f"{problem}: {line[:100]!r}"
        rows.append({} if problem else value)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _to_array([row.get(name) for row in rows]) for name in names}
    if not columns:
        _complain_of_empty(path)
    return Table(str(path), path.parent, pa.table(columns), problems)


def _read_csv(path: Path, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=delimiter, strict=True)
    cells: list[list[str]] = []
    problems: dict[int, str] = {}
    try:
        header = next(reader, [])
        names = [name or f"column_{place}" for place, name in enumerate(header, start=1)]
        for row in filter(None, reader):  # the reader gives [] for an empty line
            if len(row) != len(names):
                shown = delimiter.join(row)[:100]
                problems[len(cells)] = f"{len(row)} cells, not {len(names)}: {shown!r}"
            cells.append(row if len(row) == len(names) else [""] * len(names))
    except csv.Error as error:
        raise BuildError(
            f"Table {str(path)!r} is not a readable CSV at line {reader.line_num} ({error}). "
            "Check the quotes there."
        ) from error
    if not cells:
        _complain_of_empty(path)
    _check_names(path, names)
    by_column = zip(*cells, strict=True)
    columns = {name: _infer(cell) for name, cell in zip(names, by_column, strict=True)}
    return Table(str(path), path.parent, pa.table(columns), problems)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BuildError(
            f"Table {str(path)!r} is not UTF-8 text (byte {error.start} is "
            f"0x{error.object[error.start]:02x}). Save it as UTF-8."
        ) from error


def _infer(cells: Sequence[str]) -> pa.Array:
    """Type a column of text only where no character is lost by it: `007` stays text."""
    filled = [cell for cell in cells if cell]
    values: list[Any] = [cell or None for cell in cells]
    if filled and all(_INTEGER.fullmatch(cell) for cell in filled):
        return pa.array([None if cell is None else int(cell) for cell in values], pa.int64())
    if filled and all(_DECIMAL.fullmatch(cell) or _INTEGER.fullmatch(cell) for cell in filled):
        return pa.array([None if cell is None else float(cell) for cell in values], pa.float64())
    return pa.array(values, pa.string())


def _to_array(values: list[Any]) -> pa.Array:
    """Make a column of JSON values; lists, objects and values of several types become text."""
    if any(isinstance(value, dict | list) for value in values):
        return pa.array([_as_text(value) for value in values], pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _check_names(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BuildError(
            f"Table {str(path)!r} has several columns named {_some(twice)}; expected each name "
            "once. Rename them."
        )


def _complain_of_empty(path: Path) -> None:
    raise BuildError(f"Table {str(path)!r} has no rows. Give a source with at least one.")


def _some(names: Any) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
