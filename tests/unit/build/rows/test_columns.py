from decimal import Decimal

import pytest

from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.columns import read_values, resolve_columns
from loupe.errors import BuildError
from loupe.task import Task

TASK = Task.load()
TABLE = ["id", "title", "category3_code", "full_price", "imageurl", "image"]


def resolve(available=TABLE, task=TASK, **changes):
    settings = {"pictures": None, "row_id": None, "fields": {}, "group_by": []} | changes
    return resolve_columns(available, task, **settings)


def test_columns_are_found_by_rule():
    found = resolve()
    assert (found.pictures, found.id, found.title) == (("image",), "id", "title")


def test_columns_are_found_by_name_where_one_is_given():
    found = resolve(["n", "c", "p", "pic", "sku"], fields={
        "title": "n", "category3_code": "c", "full_price": "p"
    }, pictures=["pic"], row_id="sku", group_by=["c"])  # fmt: skip
    assert (found.pictures, found.id, found.title) == (("pic",), "sku", "n")
    assert found.group_by == ("c",)


def test_task_without_a_text_field_groups_by_the_tables_title():
    task = Task.from_dict({
        "question": "?", "answer": "{full_price}", "fields": {"full_price": {"type": "price"}}
    })  # fmt: skip
    assert resolve(task=task).title == "title"
    assert resolve(["full_price", "image"], task=task).title is None


@pytest.mark.parametrize(
    ("available", "changes", "words"),
    [
        (
            ["name", "category3_code", "full_price", "image"],
            {},
            "no column 'title' for field 'title' of the task; it has name, category3_code, "
            "full_price, image. Name the right one with --columns.title COLUMN",
        ),
        (TABLE, {"fields": {"prize": "x"}}, "names the field 'prize'.*its fields: title,"),
        (TABLE[:4], {}, "no column with pictures .*--image_column COLUMN"),
        (TABLE, {"pictures": ["foto"]}, "no column 'foto' for the option image_column"),
        (TABLE, {"row_id": "sku"}, "no column 'sku' for the option id_column"),
        (TABLE, {"group_by": ["kind"]}, "no column 'kind' for the option group_by"),
    ],
    ids=["field", "unknown field", "pictures", "image_column", "id_column", "group_by"],
)
def test_missing_column_is_named_with_those_that_are_there(available, changes, words):
    with pytest.raises(BuildError, match=words):
        resolve(available, **changes)


def read(**changes):
    row = {"id": 1, "title": "Bag", "category3_code": "TOTES", "full_price": "1290", "image": "x"}
    return read_values({"imageurl": "", **row, **changes}, TASK, resolve())


def test_values_are_typed():
    assert read() == {"title": "Bag", "category3_code": "TOTES", "full_price": 1290.0}


@pytest.mark.parametrize("cell", [None, "", "N.A.", "n/a", float("nan"), "  "])
@pytest.mark.parametrize("field", ["title", "category3_code", "full_price"])
def test_missing_value_rejects_the_row(field, cell):
    found = read(**{field: cell})
    assert isinstance(found, Rejection)
    assert found.reason is Reason.MISSING_VALUE
    assert field in found.detail


@pytest.mark.parametrize(
    "cell", ["1,290", "12 34", "$1290%", "1_290", "1e3", "١٢", "free", "-5", "inf", True]
)
def test_price_that_is_no_plain_decimal_rejects_the_row(cell):
    found = read(full_price=cell)
    assert isinstance(found, Rejection)
    assert found.reason is Reason.MALFORMED_VALUE


@pytest.mark.parametrize("cell", [1e300, 10**40, Decimal("1E+50")])
def test_price_of_more_digits_than_an_amount_has_rejects_the_row(cell):
    found = read(full_price=cell)
    assert found.reason is Reason.MALFORMED_VALUE
    assert "has more digits than an amount can have" in found.detail


@pytest.mark.parametrize(
    ("cell", "amount"),
    [("$1290", 1290.0), ("1.290,50 USD", 1290.5), ("US$ 12", 12.0), (Decimal("7.5"), 7.5)],
)
def test_price_as_people_write_it_is_read(cell, amount):
    assert read(full_price=cell)["full_price"] == amount


@pytest.mark.parametrize("cell", ["1.290,00 €", "EUR 5", "5 kr.", "CA$ 7.50"])
def test_price_in_another_currency_than_the_tasks_rejects_the_row(cell):
    found = read(full_price=cell)
    assert found.reason is Reason.OTHER_CURRENCY
    assert "not in USD as the task's prices are" in found.detail


@pytest.mark.parametrize("cell", ["5 pcs", "Nr. 5", "5 / kg", "ab 5 $"])
def test_price_beside_a_word_that_is_no_currency_rejects_the_row(cell):
    found = read(full_price=cell)
    assert found.reason is Reason.MALFORMED_VALUE
    assert "is neither number nor currency" in found.detail


def test_integer_beyond_64_bits_rejects_the_row():
    task = Task.from_dict({
        "question": "?", "answer": "{n}", "fields": {"n": {"type": "integer"}}
    })  # fmt: skip
    columns = resolve(["n", "image"], task=task)
    found = read_values({"n": 2**64, "image": "x"}, task, columns)
    assert isinstance(found, Rejection)
    assert "does not fit 64 bits" in found.detail
