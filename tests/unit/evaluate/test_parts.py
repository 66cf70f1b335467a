"""Parts of the rows."""

from types import SimpleNamespace

import pytest

from loupe.evaluate.parts import cut_rows
from loupe.evaluate.rows import Rows
from loupe.task import Task

FIELDS = {"name": {"type": "text"}}
TASK = Task.from_dict({"question": "?", "answer": "{name}", "fields": FIELDS})


def cut(sizes=((8, 8),), groups=None, **columns):
    """Give (by, name, rows) of each part of rows that have these columns."""
    count = max(len(sizes), *map(len, columns.values()), len(groups or []), 0)
    split = SimpleNamespace(columns=list(columns), column=columns.get)
    numbers = tuple(range(count))
    names = tuple(map(str, numbers))
    truths = tuple({"name": f"Thing {n}"} for n in numbers)
    rows = Rows(split, numbers, names, tuple(groups or names), truths)
    sizes = sizes if len(sizes) == count else [(8, 8)] * count
    return [(p.by, p.name, p.rows.tolist()) for p in cut_rows(TASK, rows, sizes, [*columns])]


def test_few_sizes_are_a_part_each():
    assert cut([(30, 40), (10, 10), (30, 40)]) == [
        ("picture size", "10×10", [1]),
        ("picture size", "30×40", [0, 2]),
    ]


def test_one_size_is_no_part():
    assert cut([(30, 40)] * 3) == []


def test_many_sizes_are_cut_by_their_area():
    found = cut([(100 - n, 10) for n in range(40)])
    assert [(name, len(rows)) for _, name, rows in found] == [
        ("61×10 to 70×10", 10),
        ("71×10 to 80×10", 10),
        ("81×10 to 90×10", 10),
        ("91×10 to 100×10", 10),
    ]


def test_large_groups_are_named_by_their_first_row():
    found = cut(groups=["a"] * 3 + ["b"] * 9 + ["c"] * 8)
    assert [(name, len(rows)) for _, name, rows in found] == [
        ("Thing 3 and its like (b)", 9),
        ("Thing 12 and its like (c)", 8),
    ]


def test_a_column_is_cut_by_its_commonest_values():
    assert cut(brand=["x", "y", "x", None, "N.A."]) == [
        ("brand", "x", [0, 2]),
        ("brand", "y", [1]),
        ("brand", "no value", [3, 4]),
    ]


def test_a_column_of_many_numbers_is_cut_into_tenths():
    found = cut(weight=[float(n) for n in range(100)] + [None])
    assert [len(rows) for _, _, rows in found] == [10] * 10 + [1]
    assert found[0][1] == "0 to 9"
    assert found[-1] == ("weight", "no value", [100])


@pytest.mark.parametrize("values", [[True, False] * 20, [1, 2] * 20, [["a"], ["b"]] * 20])
def test_columns_of_few_values_are_cut_by_value(values):
    assert [len(rows) for _, _, rows in cut(column=values)] == [20, 20]
