"""Read Excel and OpenDocument sheets, with python-calamine where it is installed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.build.sources.reading import (
    Reading,
    check_names,
    complain_of_empty,
    first_line,
    folder_of,
    list_some,
)
from loupe.build.sources.values import keep_values
from loupe.build.table import Table
from loupe.errors import BuildError, MissingExtraError

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

__all__ = ["EXCEL_SUFFIXES", "read_excel"]

EXCEL_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def read_excel(paths: Sequence[Path], name: str, how: Reading) -> Table:
    """Read a sheet of each file, one after the other; its first row names the columns.

    Numbers keep their type, dates become ISO text, and formulas give their stored value.

    Raises:
        BuildError: a file is not readable, or it is not clear which sheet is meant.
        MissingExtraError: python-calamine is not installed.
    """
    sheets = [(path, _open_sheet(path, how.part)) for path in paths]

    def read() -> Iterator[Mapping[str, Any]]:
        for path, sheet in sheets:
            yield from _read_rows(path, sheet)

    arrow = keep_values(read, how.scratch)
    if not arrow.num_rows:
        complain_of_empty(name)
    return Table(name, folder_of(paths), arrow)


def _open_sheet(path: Path, asked: str | None) -> "CalamineSheet":
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as error:
        raise MissingExtraError(f"Reading {path.name!r}", "python-calamine", "excel") from error
    try:
        book = CalamineWorkbook.from_path(path)
        sheets = {name: book.get_sheet_by_name(name) for name in book.sheet_names}
    except (CalamineError, OSError) as error:
        raise BuildError(
            f"Table {str(path)!r} cannot be read as a sheet ({first_line(error)}). Save it again, "
            "without a password, or as CSV."
        ) from error
    found = [name for name, sheet in sheets.items() if sheet.height]
    if asked is not None:
        found = [name for name in sheets if name == asked]
    if len(found) != 1:
        raise BuildError(
            f"Table {str(path)!r} has the sheets {list_some(sheets)}; expected one with rows. Name "
            "the one to read with --source-part."
        )
    return sheets[found[0]]


def _read_rows(path: Path, sheet: "CalamineSheet") -> Iterator[dict[str, Any]]:
    rows = (row for row in sheet.iter_rows() if any(cell != "" for cell in row))
    header = [str(_to_plain(cell) or "").strip() for cell in next(rows, [])]
    names = [name or f"column_{place}" for place, name in enumerate(header, start=1)]
    check_names(path, names)
    for row in rows:
        yield dict(zip(names, map(_to_plain, row), strict=True))


def _to_plain(cell: Any) -> Any:
    """Give a cell as JSON has it; Excel has no whole numbers, so 7.0 is 7."""
    if cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell if isinstance(cell, bool | int | float | str) else str(cell)
