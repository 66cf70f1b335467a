"""Read CSV and TSV as text, whatever the delimiter; a bad line is a row's problem."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc

from loupe.build.sources.encoding import find_encoding
from loupe.build.sources.reading import Reading, check_names, complain_of_empty, folder_of
from loupe.build.table import ROWS_AT_A_TIME, Table, keep_batches
from loupe.errors import BuildError

__all__ = ["read_delimited"]

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_CHARACTERS = 2**16
_SAMPLE_RECORDS = 100
_EXCEL_HINT = re.compile(r"sep=(.)\r?\n")  # what Excel reads on top of a CSV
_INTEGER = "^-?(0|[1-9][0-9]{0,17})$"  # 18 digits fit an int64
_DECIMAL = r"^-?(0|[1-9][0-9]{0,14})\.[0-9]+$"
_MAYBE_THOUSANDS = r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$"

_Record = tuple[list[str], str | None]
"""The cells of a row, and what is wrong with it."""


def read_delimited(paths: Sequence[Path], name: str, how: Reading) -> Table:
    """Read files whose first line names the columns, one after the other.

    Raises:
        BuildError: a file is not a readable table, or there is no row.
    """
    parts: list[pa.Table] = []
    problems: dict[int, str] = {}
    for path in paths:
        with path.open(encoding=find_encoding(path, how.encoding), newline="") as file:
            delimiter = how.delimiter or _find_delimiter(path, file)
            records = _read_records(path, file, delimiter)
            names = _read_names(path, records)
            numbered = enumerate(records, start=sum(part.num_rows for part in parts))
            rows = _fit_rows(numbered, len(names), delimiter, problems)
            parts.append(_keep_rows(names, rows, how.scratch))
    text = pa.concat_tables(parts, promote_options="default")
    if not text.num_rows:
        complain_of_empty(name)
    columns = {
        column: _type_text(text[column], has_decimal_comma=how.has_decimal_comma)
        for column in text.column_names
    }
    return Table(name, folder_of(paths), pa.table(columns), problems)


def _find_delimiter(path: Path, file: TextIO) -> str:
    """Give the delimiter by which most rows have as many cells as the header, else most cells."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    sample = file.read(_SAMPLE_CHARACTERS)
    file.seek(0)
    if hint := _EXCEL_HINT.match(sample):
        return hint.group(1)
    lines = sample.splitlines(keepends=True)
    whole = "".join(lines[:-1]) if len(sample) == _SAMPLE_CHARACTERS else sample
    scores = {delimiter: _score(whole, delimiter) for delimiter in _DELIMITERS}
    best = max(scores.values())
    found = [delimiter for delimiter, score in scores.items() if score == best]
    if len(found) > 1 and best > (0.0, 1):
        raise BuildError(
            f"Table {str(path)!r} reads as well with the delimiter {found[0]!r} as with "
            f"{found[1]!r}. Say which with --delimiter."
        )
    return found[0]


def _score(sample: str, delimiter: str) -> tuple[float, int]:
    """Give the share of rows that have the header's number of cells, and that number."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    try:
        header, *rows = itertools.islice(filter(None, reader), _SAMPLE_RECORDS)
    except (ValueError, csv.Error):  # no header; or a cell beyond the reader's limit
        return 0.0, 1
    if len(header) == 1:
        return 0.0, 1
    return sum(len(row) == len(header) for row in rows) / max(len(rows), 1), len(header)


def _read_records(path: Path, file: TextIO, delimiter: str) -> Iterator[_Record]:
    """Give each record that is not blank; a quote in the wrong place spoils its own lines only.

    Raises:
        BuildError: a quote stays open, so that no later line can be trusted.
    """
    try:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    except TypeError as error:
        raise BuildError(f"Delimiter {delimiter!r} cannot be: {error}. Give one mark.") from error
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                raise BuildError(
                    f"Table {str(path)!r} is not a readable CSV at line {first} ({error}). "
                    "Check the quotes there."
                ) from error
            yield [], f"lines {first} to {reader.line_num}: {error}"
        else:
            if cells:
                yield cells, None


def _read_names(path: Path, records: Iterator[_Record]) -> list[str]:
    cells, problem = next(records, ([], None))
    if cells and cells[0] == "sep=":
        cells, problem = next(records, ([], None))
    if problem:
        raise BuildError(
            f"Table {str(path)!r} has no readable header ({problem}). Check the quotes there."
        )
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells, start=1)]
    check_names(path, names)
    return names


def _fit_rows(
    records: Iterator[tuple[int, _Record]], width: int, delimiter: str, problems: dict[int, str]
) -> Iterator[list[str]]:
    """Give rows of the header's width, empty ones where there is a problem, which is noted.

    Empty cells beyond the header are dropped.
    """
    for number, (cells, problem) in records:
        row = cells if any(cells[width:]) else cells[:width]
        if problem is not None:
            problems[number] = problem
        elif len(row) != width:
            problems[number] = f"{len(row)} cells, not {width}: {delimiter.join(row)[:100]!r}"
        yield [""] * width if number in problems else row


def _keep_rows(names: list[str], rows: Iterator[list[str]], scratch: Path | None) -> pa.Table:
    """Keep rows as text; an empty cell is no value."""
    schema = pa.schema([(name, pa.string()) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        while chunk := list(itertools.islice(rows, ROWS_AT_A_TIME)):
            columns = zip(*chunk, strict=True)
            arrays = [pa.array([cell or None for cell in cells], pa.string()) for cells in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return keep_batches(schema, batches(), scratch)


def _type_text(column: pa.ChunkedArray, *, has_decimal_comma: bool) -> pa.ChunkedArray:
    """Type a column of text only where nothing is lost or guessed: `007` and `1.290` stay text."""
    filled = column.drop_null()
    is_integer = pc.match_substring_regex(filled, _INTEGER)
    if not len(filled):
        return column
    if pc.all(is_integer).as_py():
        return pc.cast(column, pa.int64())
    if has_decimal_comma:
        return column
    is_decimal = pc.match_substring_regex(filled, _DECIMAL)
    is_certain = pc.and_not(is_decimal, pc.match_substring_regex(filled, _MAYBE_THOUSANDS))
    if pc.all(pc.or_(is_integer, is_decimal)).as_py() and pc.any(is_certain).as_py():
        return pc.cast(column, pa.float64())
    return column
