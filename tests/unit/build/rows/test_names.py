import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loupe.build.rows.names import RowNames, name_key


def name_all(cells):
    names = RowNames(np.array([name_key(cell) for cell in cells], np.uint64))
    return list(map(names.name, cells))


def test_rows_are_named_by_their_id_once_each():
    assert name_all([7, 7, None, "N.A.", "7#2", 7]) == [
        "7", "7#3", "row-3", "row-4", "7#2", "7#4",
    ]  # fmt: skip


def test_a_row_without_id_takes_no_name_of_another():
    assert name_all([None, "row-1", "row-1", "row-4", None]) == [
        "row-1#2", "row-1#3", "row-1#4", "row-4", "row-5",
    ]  # fmt: skip


IDS = st.one_of(st.none(), st.sampled_from(["a", "a#2", "a#2#2", "row-1", "row-2", "row-2#2"]))


@given(st.lists(IDS, max_size=12))
def test_no_two_rows_share_a_name_and_an_id_that_stands_once_is_the_name(cells):
    names = name_all(cells)
    assert len(set(names)) == len(names)
    for cell, name in zip(cells, names, strict=True):
        if cell is not None and cells.count(cell) == 1:
            assert name == cell
