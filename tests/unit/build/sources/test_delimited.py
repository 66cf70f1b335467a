import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import FUZZ, read


def test_csv_keeps_quotes_line_ends_and_delimiters_within_cells(tmp_path):
    table = read(tmp_path, 'title,n\n"A ""b"", c\nd",1\nplain,2\n')
    assert list(table.rows()) == [{"title": 'A "b", c\nd', "n": 1}, {"title": "plain", "n": 2}]


def test_csv_with_a_byte_order_mark_and_an_unnamed_index_is_read(tmp_path):
    table = read(tmp_path, b"\xef\xbb\xbf,title\r\n0,a\r\n")
    assert table.columns == ["column_1", "title"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-20", ""], [1, -20, None]),
        (["1.50", "2", ""], [1.5, 2.0, None]),
        (["1.250", "0.5"], [1.25, 0.5]),
        (["1.290", "2.500", "7"], ["1.290", "2.500", "7"]),
        (["007", "12"], ["007", "12"]),
        (["1.290,00", "5"], ["1.290,00", "5"]),
        (["1e5", "2"], ["1e5", "2"]),
        (["N.A.", "5"], ["N.A.", "5"]),
        (["9" * 25, "1"], ["9" * 25, "1"]),
    ],
    ids=[
        "integers",
        "decimals",
        "three decimals",
        "thousands?",
        "leading zero",
        "comma",
        "exponent",
        "gap",
        "too long",
    ],
)
def test_csv_cells_become_numbers_only_where_nothing_is_lost(tmp_path, cells, values):
    text = "a,b\n" + "".join(f'x,"{cell}"\n' for cell in cells)
    assert [row["b"] for row in read(tmp_path, text).rows()] == values


def test_csv_cells_with_a_point_stay_text_where_a_comma_is_the_decimal_mark(tmp_path):
    table = read(tmp_path, "a,b\n1.25,7\n", has_decimal_comma=True)
    assert list(table.rows()) == [{"a": "1.25", "b": 7}]


def test_csv_row_with_a_missing_cell_is_a_problem_of_that_row(tmp_path):
    table = read(tmp_path, "a,b\n1,2\n3\n4,5\n")
    assert table.problems == {1: "1 cells, not 2: '3'"}
    assert table.arrow.num_rows == 3


def test_tsv_is_split_at_tabs(tmp_path):
    assert list(read(tmp_path, "a\tb\n1,5\tx\n", "t.tsv").rows()) == [{"a": "1,5", "b": "x"}]


@pytest.mark.parametrize(
    "text",
    [
        'title,price\n"a;b",1\nc,2\n',
        'title;price\n"a,b";1\nc;2\n',
        "title\tprice\na,b\t1\nc;d\t2\n",
        "title|price\na|1\nb|2\n",
        "Title, long;price\na;1,5\nb, c;2,5\nd;3\n",
        "sep=;\ntitle;price\na,b;1\n",
    ],
    ids=["comma", "semicolon", "tab", "bar", "comma in header", "excel hint"],
)
def test_delimiter_is_found(tmp_path, text):
    table = read(tmp_path, text)
    assert len(table.columns) == 2
    assert table.columns[1] == "price"
    assert not table.problems


def test_one_column_needs_no_delimiter(tmp_path):
    assert list(read(tmp_path, "image\na.jpg\nb.jpg\n").rows())[1] == {"image": "b.jpg"}


def test_quote_in_the_wrong_place_spoils_its_own_row_only(tmp_path):
    table = read(tmp_path, 'a,b\n"x" y,1\n2,3\n"p\nq"z,4\n5,6\n')
    assert [row["a"] for row in table.rows()] == [None, 2, None, 5]
    assert table.problems[0].startswith("lines 2 to 2: ")
    assert table.problems[2].startswith("lines 4 to 5: ")


def test_empty_cells_beyond_the_header_are_dropped(tmp_path):
    table = read(tmp_path, "a,b\n1,2,,\n3,4,5\n")
    assert table.problems == {1: "3 cells, not 2: '3,4,5'"}


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
HEADERS = st.lists(
    st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=6),
    min_size=2, max_size=4, unique=True,
)  # fmt: skip


@FUZZ
@given(st.data())
def test_fuzzed_csv_gives_back_its_cells(tmp_path, data):
    header = data.draw(HEADERS)
    row = st.lists(CELLS, min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    table = read(tmp_path, file.getvalue().encode(encoding), delimiter=delimiter)
    assert not table.problems
    found = [["" if cell is None else cell for cell in row.values()] for row in table.rows()]
    for asked, given_back in zip(rows, found, strict=True):
        for cell, again in zip(asked, given_back, strict=True):
            assert again == cell or float(again) == float(cell)
