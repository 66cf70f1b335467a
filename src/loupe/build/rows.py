"""Find the columns that a build needs, and give each row its typed values or a rejection."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loupe.build.ledger import Reason, Rejection
from loupe.errors import BuildError
from loupe.task import FieldError, Task, is_missing

__all__ = ["Columns", "name_rows", "read_values", "resolve_columns"]

_PICTURE_COLUMNS = ("image", "image_path", "file_name", "imageurl", "image_url", "url")
_ID_COLUMNS = ("product_code", "id")
_NUMBER_TYPES = frozenset({"price", "number", "integer"})
_INT64_END = 2**63
_PLAIN_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*", re.ASCII)


@dataclass(frozen=True)
class Columns:
    """Which column of the table holds what.

    `fields` maps each field of the task to its column; `title` is the column whose equal texts
    mean one product, None where there is none.
    """

    picture: str
    id: str | None
    fields: dict[str, str]
    title: str | None
    group_by: tuple[str, ...]


def resolve_columns(
    available: list[str],
    task: Task,
    *,
    picture: str | None,
    row_id: str | None,
    fields: Mapping[str, str],
    group_by: list[str],
) -> Columns:
    """Find each column by the name given, else by the rule that its option states.

    Raises:
        BuildError: a column is not there; the message names those that are.
    """
    unknown = sorted(set(fields) - set(task.fields))
    if unknown:
        raise BuildError(
            f"The option columns names the field {unknown[0]!r}, which the task does not have; its "
            f"fields: {', '.join(task.fields)}."
        )
    found = {field: fields.get(field, field) for field in task.fields}
    for field, column in found.items():
        cure = f"Name the right one with --columns.{field} COLUMN"
        _require(column, available, f"field {field!r} of the task", cure)
    for column in group_by:
        _require(column, available, "the option group_by", "Name columns that are there")
    return Columns(
        picture=_choose_picture(picture, available),
        id=_choose_id(row_id, available),
        fields=found,
        title=_choose_title(task, found, available),
        group_by=tuple(group_by),
    )


def read_values(row: Mapping[str, Any], task: Task, columns: Columns) -> dict[str, Any] | Rejection:
    """Give a row's typed values of the task's fields, or why it has none."""
    cells = {field: row[column] for field, column in columns.fields.items()}
    for name, field in task.fields.items():
        cell = cells[name]
        if field.type not in _NUMBER_TYPES or not isinstance(cell, str):
            continue
        if any(char.isdigit() for char in cell) and not _PLAIN_NUMBER.fullmatch(cell):
            detail = f"{name}: {cell[:100]!r} is not a plain number such as 1290.0"
            return Rejection(Reason.MALFORMED_VALUE, detail)
    try:
        values = task.normalise(cells)
    except FieldError as error:
        reason = Reason.MISSING_VALUE if error.is_missing else Reason.MALFORMED_VALUE
        return Rejection(reason, str(error))
    for name, value in values.items():
        if isinstance(value, int) and abs(value) >= _INT64_END:
            return Rejection(Reason.MALFORMED_VALUE, f"{name}: {value} does not fit 64 bits")
    return values


def name_rows(cells: list[Any] | None, count: int) -> list[str]:
    """Give each row a name of its own: its id, with `#2` and so on where an id comes again.

    Without ids, or where a row has none, it is `row-` and the row's number, from 1.
    """
    names: dict[str, None] = {}
    seen: dict[str, int] = {}
    for number in range(count):
        cell = cells[number] if cells else None
        base = name = f"row-{number + 1}" if is_missing(cell) else str(cell)
        while name in names:
            seen[base] = seen.get(base, 1) + 1
            name = f"{base}#{seen[base]}"
        names[name] = None
    return list(names)


def _choose_picture(name: str | None, available: list[str]) -> str:
    if name is not None:
        _require(name, available, "the option image_column", "Name the column with the pictures")
        return name
    found = [column for column in _PICTURE_COLUMNS if column in available]
    if not found:
        raise BuildError(
            f"The table has no column with pictures ({', '.join(_PICTURE_COLUMNS)}); it has "
            f"{_list(available)}. Name the right one with --image_column COLUMN."
        )
    return found[0]


def _choose_id(name: str | None, available: list[str]) -> str | None:
    if name is not None:
        _require(name, available, "the option id_column", "Name the column with the ids")
        return name
    return next((column for column in _ID_COLUMNS if column in available), None)


def _choose_title(task: Task, found: Mapping[str, str], available: list[str]) -> str | None:
    texts = [found[name] for name, field in task.fields.items() if field.type == "text"]
    return texts[0] if texts else ("title" if "title" in available else None)


def _require(column: str, available: list[str], wanted_by: str, cure: str) -> None:
    if column not in available:
        raise BuildError(
            f"The table has no column {column!r} for {wanted_by}; it has {_list(available)}. "
            f"{cure}."
        )


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
