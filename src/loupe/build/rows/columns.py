"""Find the columns that a build needs, and give each row its typed values or a rejection."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.amounts import SIGNED_CURRENCIES, means_currency, read_amount
from loupe.errors import BuildError
from loupe.task import FieldError, Task, is_missing

__all__ = [
    "NUMBER_TYPES",
    "Columns",
    "choose_column",
    "choose_columns",
    "read_values",
    "resolve_columns",
]

_PICTURE_COLUMNS = ("image", "image_path", "file_name", "imageurl", "image_url", "url")
_ID_COLUMNS = ("product_code", "id")
NUMBER_TYPES = frozenset({"price", "number", "integer"})
_INT64_END = 2**63


@dataclass(frozen=True)
class Columns:
    """Which column of the table holds what.

    `pictures` are the columns of a row's pictures, that of the main one first; `fields` maps each
    field of the task to its column; `title` is the column whose equal texts
    mean one product, None where there is none; `currency` has the currency of a row's prices.
    `marks` has the decimal mark of columns of text that hold numbers, where it is known, and
    `are_marks_given` refuses the other one. With `only_links`, a picture is a URL or nothing.
    """

    pictures: tuple[str, ...]
    id: str | None
    fields: dict[str, str]
    title: str | None
    group_by: tuple[str, ...]
    currency: str | None = None
    marks: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    are_marks_given: bool = False
    only_links: bool = False


def resolve_columns(
    available: list[str],
    task: Task,
    *,
    pictures: list[str] | str | None,
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
    picture_columns, id_column = choose_columns(pictures, row_id, available)
    return Columns(
        pictures=picture_columns,
        id=id_column,
        fields=found,
        title=_choose_title(task, found, available),
        group_by=tuple(group_by),
    )


def read_values(row: Mapping[str, Any], task: Task, columns: Columns) -> dict[str, Any] | Rejection:
    """Give a row's typed values of the task's fields, or why it has none."""
    cells: dict[str, Any] = {}
    for name, column in columns.fields.items():
        kind = task.fields[name]
        if kind.type in NUMBER_TYPES:
            number = _read_number(row, name, getattr(kind, "currency", None), columns)
            if isinstance(number, Rejection):
                return number
            cells[name] = number
        else:
            cells[name] = row[column]
    try:
        values = task.normalise(cells)
    except FieldError as error:
        reason = Reason.MISSING_VALUE if error.is_missing else Reason.MALFORMED_VALUE
        return Rejection(reason, str(error))
    for name, value in values.items():
        if isinstance(value, int) and abs(value) >= _INT64_END:
            return Rejection(Reason.MALFORMED_VALUE, f"{name}: {value} does not fit 64 bits")
    return values


def _read_number(row: Mapping[str, Any], name: str, currency: str | None, columns: Columns) -> Any:
    """Give a cell's number, of a type or as text; a cell without a value is given as it is."""
    column = columns.fields[name]
    cell = row[column]
    if is_missing(cell):
        return cell
    words: list[str] = []
    if isinstance(cell, str):
        try:
            cell, words = read_amount(
                cell, columns.marks.get(column), is_strict=columns.are_marks_given
            )
        except ValueError as error:
            return Rejection(Reason.MALFORMED_VALUE, f"{name}: {error}")
    if currency is not None:
        stated = _currency_of(column) or (row[columns.currency] if columns.currency else None)
        words += [] if is_missing(stated) else str(stated).split()
    for word in words:
        fits = None if currency is None else means_currency(word, currency)
        if fits is None:
            detail = f"{name}: {word[:60]!r} beside {str(cell)[:60]} is neither number nor currency"
            return Rejection(Reason.MALFORMED_VALUE, detail)
        if not fits:
            detail = f"{name}: {cell} is in {word}, not in {currency} as the task's prices are"
            return Rejection(Reason.OTHER_CURRENCY, detail)
    return cell


def _currency_of(column: str) -> str | None:
    """Give the currency that a column's name ends in, such as `full_price_eur`.

    Only those with a sign count: a name may well end in `all` or `top`, which are codes too.
    """
    ending = column.rpartition("_")[2].upper()
    return ending if ending in SIGNED_CURRENCIES else None


def choose_columns(
    pictures: list[str] | str | None, row_id: str | None, available: list[str]
) -> tuple[tuple[str, ...], str | None]:
    """Find the columns with pictures and with ids, by the name given, else by the options' rules.

    Raises:
        BuildError: a column is not there; the message names those that are.
    """
    return (
        _choose_pictures(pictures, available),
        choose_column(row_id, "id_column", _ID_COLUMNS, available),
    )


def _choose_pictures(names: list[str] | str | None, available: list[str]) -> tuple[str, ...]:
    if names is not None:
        names = [names] if isinstance(names, str) else names
        for name in names:
            _require(
                name, available, "the option image_column", "Name the column with the pictures"
            )
        return tuple(dict.fromkeys(names))
    found = [column for column in _PICTURE_COLUMNS if column in available]
    if not found:
        raise BuildError(
            f"The table has no column with pictures ({', '.join(_PICTURE_COLUMNS)}); it has "
            f"{_list(available)}. Name the right one with --image_column COLUMN."
        )
    return (found[0],)


def choose_column(
    name: str | None, option: str, usual: tuple[str, ...], available: list[str]
) -> str | None:
    """Give the column that an option names, else the first usual one that the table has.

    Raises:
        BuildError: the column named is not there.
    """
    if name is not None:
        _require(name, available, f"the option {option}", "Name one that is there")
        return name
    return next((column for column in usual if column in available), None)


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
