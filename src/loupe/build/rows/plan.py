"""What a build takes from which column: by option, by preset, by what the table itself shows."""

import logging
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from loupe.build.rows.amounts import MARKS, find_mark, is_currency, may_be_two
from loupe.build.rows.columns import NUMBER_TYPES, Columns, choose_column, resolve_columns
from loupe.build.table import Table
from loupe.errors import BuildError, OptionError
from loupe.options import BuildOptions
from loupe.task import PriceField, Task, is_missing

__all__ = ["DBQ_COLUMNS", "plan_columns"]

logger = logging.getLogger(__name__)

DBQ_COLUMNS = (
    "website_name", "competence_date", "country_code", "currency_code", "brand",
    "category1_code", "category2_code", "category3_code", "product_code", "title", "itemurl",
    "imageurl", "full_price", "price", "full_price_eur", "price_eur", "flg_discount",
)  # fmt: skip
"""The columns of DBQ/*.Product.prices.* on the Hugging Face hub."""
_CURRENCY_COLUMNS = ("currency_code", "currency")
_PRICES = ("full_price", "price")  # each has a twin in euros


def plan_columns(table: Table, task: Task, options: BuildOptions) -> tuple[Task, Columns]:
    """Find the columns, the decimal marks in them, and the currency, which the task gets.

    Raises:
        BuildError: a column is not there, or the table is not of the preset's family.
        OptionError: the currency is none.
    """
    if options.preset == "dbq":
        options = _prepare_dbq(table, task, options)
    columns = resolve_columns(
        table.columns,
        task,
        pictures=options.image_column,
        row_id=options.id_column,
        fields=options.columns,
        group_by=options.group_by,
    )
    given = MARKS.get(options.decimal_mark)
    marks = {
        column: given or _find_mark(column, _texts_of(table, column))
        for name, column in columns.fields.items()
        if task.fields[name].type in NUMBER_TYPES
    }
    columns = replace(
        columns,
        currency=choose_column(
            options.currency_column, "currency_column", _CURRENCY_COLUMNS, table.columns
        ),
        marks=marks,
        are_marks_given=given is not None,
        only_links=options.preset == "dbq" and columns.pictures == ("imageurl",),
    )
    return _with_currency(task, options.currency), columns


def _find_mark(column: str, texts: list[str]) -> str | None:
    mark = find_mark(texts)
    doubtful = [] if mark else [text for text in texts if may_be_two(text)]
    if doubtful:
        logger.warning(
            "Column %r has numbers that may be two, such as %r, and nothing tells which: their "
            "rows are rejected. Say --decimal-mark point or comma to keep them.",
            column,
            doubtful[0],
        )
    return mark


def _texts_of(table: Table, column: str) -> list[str]:
    """Give the different texts of a column; none where it holds numbers."""
    cells = table.arrow[column] if column in table.arrow.column_names else pa.nulls(0)
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        return []
    return [text for text in pc.unique(cells).to_pylist() if text is not None]


def _with_currency(task: Task, code: str | None) -> Task:
    if code is None:
        return task
    if not is_currency(code):
        raise OptionError(f"currency is {code!r}; expected a code such as USD, EUR or GBP.")
    fields = {
        name: replace(field, currency=code) if isinstance(field, PriceField) else field
        for name, field in task.fields.items()
    }
    return replace(task, fields=fields)


def _prepare_dbq(table: Table, task: Task, options: BuildOptions) -> BuildOptions:
    """Fill in what the options leave open for the family DBQ/*.Product.prices.*.

    Where all rows have one currency, prices are in it; else they are read from the columns in
    euros, which the family has beside.
    """
    missing = [column for column in DBQ_COLUMNS if column not in table.columns]
    if missing:
        raise BuildError(
            f"The preset dbq expects the {len(DBQ_COLUMNS)} columns of DBQ/*.Product.prices.*; the "
            f"table has no {', '.join(missing)}. Drop --preset, and name columns with --columns."
        )
    found = pc.unique(table.arrow["currency_code"]).to_pylist()
    local = [code for code in found if not is_missing(code)]
    currency = options.currency or (local[0] if len(local) == 1 else "EUR")
    columns = dict(options.columns)
    if currency == "EUR" and local != ["EUR"]:
        columns = {name: f"{name}_eur" for name in _PRICES if name in task.fields} | columns
    logger.info("Preset dbq: prices are in %s; the table has %s", currency, ", ".join(local))
    return replace(
        options,
        currency=currency,
        columns=columns,
        currency_column=options.currency_column or "currency_code",
        id_column=options.id_column or "product_code",
        image_column=options.image_column or "imageurl",
    )
