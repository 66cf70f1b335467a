import math
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.columns import read_values
from loupe.build.rows.plan import DBQ_COLUMNS, plan_columns
from loupe.build.table import Table
from loupe.errors import BuildError, OptionError
from loupe.options import BuildOptions
from loupe.sample.table import REAL_COLUMNS
from loupe.task import Task


def plan(tmp_path, cells, **options):
    table = Table("t", tmp_path, pa.table(cells))
    task, found = plan_columns(table, Task.load(), BuildOptions(source="t", output="o", **options))
    outcomes = [read_values(row, task, found) for row in table.rows()]
    return task, found, outcomes


def prices(outcomes):
    return [
        str(found.reason) if isinstance(found, Rejection) else found["full_price"]
        for found in outcomes
    ]


def catalogue(*cells, **more):
    rows = len(cells)
    return {
        "title": ["Bag"] * rows, "category3_code": ["TOTES"] * rows, "image": ["x.jpg"] * rows,
        "full_price": list(cells),
    } | more  # fmt: skip


def test_decimal_mark_is_that_of_the_rest_of_the_column(tmp_path):
    _, _, found = plan(tmp_path, catalogue("1.290", "12,50", "$7"))
    assert prices(found) == [1290.0, 12.5, 7.0]


def test_decimal_mark_that_nothing_tells_rejects_the_row_with_both_readings(tmp_path, caplog):
    _, _, found = plan(tmp_path, catalogue("$1,290", "890"))
    assert "Column 'full_price' has numbers that may be two, such as '$1,290'" in caplog.text
    assert prices(found) == ["malformed_value", 890.0]
    assert "'$1,290' may be 1.29 or 1290" in found[0].detail


def test_decimal_mark_that_is_given_settles_the_column(tmp_path):
    cells = catalogue("$1,290", "12,50")
    assert prices(plan(tmp_path, cells, decimal_mark="point")[2]) == [1290.0, "malformed_value"]
    assert prices(plan(tmp_path, cells, decimal_mark="comma")[2]) == [1.3, 12.5]


def test_row_in_another_currency_by_its_column_is_rejected(tmp_path):
    cells = catalogue(5.0, 6.0, 7.0, currency=["USD", "EUR", None])
    assert prices(plan(tmp_path, cells)[2]) == [5.0, "other_currency", 7.0]


def test_currency_that_is_asked_for_becomes_the_tasks(tmp_path):
    cells = catalogue(5.0, 6.0, where=["USD", "€"])
    task, _, found = plan(tmp_path, cells, currency="EUR", currency_column="where")
    assert task.fields["full_price"].currency == "EUR"
    assert prices(found) == ["other_currency", 6.0]
    with pytest.raises(OptionError, match="currency is 'euros'; expected a code such as USD"):
        plan(tmp_path, cells, currency="euros")


def test_column_that_names_its_currency_is_in_it(tmp_path):
    cells = catalogue(5.0, full_price_eur=[4.0], currency_code=["USD"])
    options = {"columns": {"full_price": "full_price_eur"}}
    assert prices(plan(tmp_path, cells, **options)[2]) == ["other_currency"]
    assert prices(plan(tmp_path, cells, currency="EUR", **options)[2]) == [4.0]


def test_column_whose_name_ends_in_a_word_that_is_a_code_has_no_currency(tmp_path):
    cells = catalogue(5.0, price_all=[4.0], currency_code=["USD"])
    assert prices(plan(tmp_path, cells, columns={"full_price": "price_all"})[2]) == [4.0]


def dbq(currencies, **changes):
    rows = len(currencies)
    texts = {name: ["N.A."] * rows for name in DBQ_COLUMNS}
    numbers = {
        name: [float(n + 10 * row) for row in range(rows)]
        for n, name in enumerate(("full_price", "price", "full_price_eur", "price_eur"), start=1)
    }
    known = {"title": ["Bag"] * rows, "category3_code": ["TOTES"] * rows}
    codes = {"currency_code": list(currencies), "product_code": list(range(rows))}
    return texts | known | numbers | codes | changes


def test_dbq_columns_are_those_of_the_sample():
    assert DBQ_COLUMNS == REAL_COLUMNS


@pytest.mark.parametrize(
    ("currencies", "asked", "currency", "found"),
    [
        (["GBP", "GBP"], None, "GBP", [1.0, 11.0]),
        (["EUR", "EUR"], None, "EUR", [1.0, 11.0]),
        (["GBP", "USD"], None, "EUR", [3.0, 13.0]),
        (["GBP", "USD"], "USD", "USD", ["other_currency", 11.0]),
        (["GBP", "N.A."], "EUR", "EUR", [3.0, 13.0]),
    ],
    ids=["one", "euros", "several", "several, one asked", "euros asked"],
)
def test_dbq_prices_are_in_the_tables_currency_or_in_euros(
    tmp_path, currencies, asked, currency, found
):
    task, columns, outcomes = plan(tmp_path, dbq(currencies), preset="dbq", currency=asked)
    assert task.fields["full_price"].currency == currency
    assert prices(outcomes) == found
    assert (columns.pictures, columns.id, columns.only_links) == (
        ("imageurl",),
        "product_code",
        True,
    )


def test_dbq_options_that_are_given_stay(tmp_path):
    options = {"image_column": "itemurl", "columns": {"full_price": "price"}}
    _, columns, outcomes = plan(tmp_path, dbq(["EUR"]), preset="dbq", **options)
    assert (columns.pictures, columns.only_links) == (("itemurl",), False)
    assert prices(outcomes) == [2.0]


def test_dbq_missing_value_rejects_the_row(tmp_path):
    _, _, found = plan(tmp_path, dbq(["EUR", "EUR"], title=["N.A.", "Bag"]), preset="dbq")
    assert found[0].reason is Reason.MISSING_VALUE


def test_dbq_table_without_its_columns_is_refused(tmp_path):
    with pytest.raises(BuildError, match=r"expects the 17 columns .* has no website_name, comp"):
        plan(tmp_path, catalogue(1.0), preset="dbq")


NUMBER = (
    st.integers()
    | st.floats()
    | st.decimals()
    | st.from_regex(r"\A[$€]? ?\d{1,3}([., ]\d{3}){0,2}([.,]\d{1,3})? ?(EUR|kr)?\Z")
)
OTHER = (
    st.none() | st.booleans() | st.text(max_size=12) | st.dates() | st.binary(max_size=4)
    | st.lists(st.integers(), max_size=2)
)  # fmt: skip
NUMBERS = Task.from_dict(
    {
        "question": "?",
        "answer": "{a}, {b}, {c}, {d}",
        "fields": {
            "a": {"type": "price", "currency": "EUR"},
            "b": {"type": "integer"},
            "c": {"type": "number"},
            "d": {"type": "text"},
        },
    }
)


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(NUMBER, NUMBER, NUMBER | OTHER, OTHER | NUMBER),
    st.sampled_from(["auto", "point", "comma"]),
)
def test_any_cells_are_values_of_their_types_or_a_reason(cells, mark):
    row = dict(zip("abcd", cells, strict=True)) | {"image": "x.jpg"}
    texts = {name: [cell] if isinstance(cell, str) else ["x"] for name, cell in row.items()}
    table = Table("t", Path(), pa.table(texts))
    options = BuildOptions(source="t", output="o", decimal_mark=mark)
    task, columns = plan_columns(table, NUMBERS, options)
    found = read_values(row, task, columns)
    if isinstance(found, Rejection):
        assert found.detail
    else:
        assert [type(found[name]) for name in "abcd"] == [float, int, float, str]
        assert found["a"] >= 0
        assert math.isfinite(found["c"])
