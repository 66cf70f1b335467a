import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loupe.build.table import read_table
from loupe.errors import BuildError

from .conftest import draw, encode


def read(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(tmp_path / name)


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
        (["007", "12"], ["007", "12"]),
        (["1.290,00", "5"], ["1.290,00", "5"]),
        (["1e5", "2"], ["1e5", "2"]),
        (["N.A.", "5"], ["N.A.", "5"]),
        (["9" * 25, "1"], ["9" * 25, "1"]),
    ],
    ids=["integers", "decimals", "leading zero", "comma", "exponent", "gap", "too long"],
)
def test_csv_cells_become_numbers_only_where_nothing_is_lost(tmp_path, cells, values):
    text = "a,b\n" + "".join(f'x,"{cell}"\n' for cell in cells)
    assert [row["b"] for row in read(tmp_path, text).rows()] == values


def test_csv_row_with_a_missing_cell_is_a_problem_of_that_row(tmp_path):
    table = read(tmp_path, "a,b\n1,2\n3\n4,5\n")
    assert table.problems == {1: "1 cells, not 2: '3'"}
    assert table.arrow.num_rows == 3


def test_tsv_is_split_at_tabs(tmp_path):
    assert list(read(tmp_path, "a\tb\n1,5\tx\n", "t.tsv").rows()) == [{"a": "1,5", "b": "x"}]


def test_jsonl_line_that_is_not_an_object_is_a_problem_of_that_row(tmp_path):
    lines = ['{"a": 1}', "[1]", "{oops", '{"a": "\\ud800"}', "", '{"a": 2, "b": {"c": [1]}}']
    table = read(tmp_path, "\n".join(lines), "t.jsonl")
    assert sorted(table.problems) == [1, 2, 3]
    assert list(table.rows())[4] == {"a": 2, "b": '{"c": [1]}'}


def test_jsonl_column_of_several_types_becomes_text(tmp_path):
    rows = [{"a": 1}, {"a": "x"}, {"a": 2**70}, {"a": None}]
    table = read(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl")
    assert [row["a"] for row in table.rows()] == ["1", "x", str(2**70), None]


def test_parquet_is_read_as_it_is(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "image": [b"x", None]}), tmp_path / "t.parquet")
    rows = list(read_table(tmp_path / "t.parquet").rows())
    assert rows == [{"a": 1, "image": b"x"}, {"a": 2, "image": None}]


def test_folder_with_one_table_is_that_table(tmp_path):
    (tmp_path / "sample.json").write_text("{}")
    read(tmp_path, "a\n1\n", "products.csv")
    assert read_table(tmp_path).columns == ["a"]


def test_folder_without_a_table_lists_its_pictures_by_category(tmp_path):
    for name in ("bags/red.jpg", "bags/deep/blue.PNG", "loose.webp", ".hidden/x.jpg", "bags/n.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(draw()))
    assert list(read_table(tmp_path).rows()) == [
        {"image": "bags/deep/blue.PNG", "category": "bags", "name": "blue"},
        {"image": "bags/red.jpg", "category": "bags", "name": "red"},
        {"image": "loose.webp", "category": None, "name": "loose"},
    ]


def test_folder_with_several_tables_asks_which(tmp_path):
    read(tmp_path, "a\n1\n", "x.csv")
    read(tmp_path, "a\n1\n", "y.csv")
    with pytest.raises(BuildError, match=r"2 tables \('x.csv', 'y.csv'\).*path of the table"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "has no rows"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.jsonl", b"\n\n", "has no rows"),
        ("t.csv", b"a,a\n1,2\n", "several columns named 'a'"),
        ("t.csv", b"a\n\xe9\n", r"not UTF-8 text \(byte 2 is 0xe9\)"),
        ("t.csv", b'a,b\n"x,1\ny,2\n', "not a readable CSV at line 3"),
        ("t.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("t.xlsx", b"x", "not a table that Loupe reads; expected one of .csv"),
    ],
    ids=["empty", "header", "blank", "twice", "latin-1", "open quote", "parquet", "excel"],
)
def test_table_that_cannot_be_read_is_refused_in_words(tmp_path, name, content, words):
    with pytest.raises(BuildError, match=words):
        read(tmp_path, content, name)


def test_missing_source_and_empty_folder_are_refused_in_words(tmp_path):
    with pytest.raises(BuildError, match=r"There is no '.*nowhere.csv'.*Check the path of source"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(BuildError, match=r"holds neither a table .* nor a picture"):
        read_table(tmp_path)
