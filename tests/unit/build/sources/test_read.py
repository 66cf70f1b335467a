import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loupe.build.sources import read_table
from loupe.errors import BuildError

from ..conftest import draw, encode
from .conftest import FUZZ, read, write_sheets


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
        ("t.csv", b"a\n\xe9\x81\n", r"neither UTF-8 nor Latin-1 \(near byte 2.*--encoding"),
        ("t.csv", b'a,b\n"x,1\ny,2\n', "not a readable CSV at line 2"),
        ("t.csv", b'"a"x,b\n1,2\n', "no readable header"),
        ("t.csv", b"a,b;c\n1,2;3\n", "as well with the delimiter ',' as with ';'.*--delimiter"),
        ("t.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("t.xlsx", b"x", "cannot be read as a sheet"),
        ("t.doc", b"x", "not a table that Loupe reads; expected one of .csv"),
    ],
    ids=[
        "empty",
        "header",
        "blank",
        "twice",
        "latin-1",
        "open quote",
        "header quote",
        "two delimiters",
        "parquet",
        "excel",
        "other",
    ],
)
def test_table_that_cannot_be_read_is_refused_in_words(tmp_path, name, content, words):
    with pytest.raises(BuildError, match=words):
        read(tmp_path, content, name)


def test_missing_source_and_empty_folder_are_refused_in_words(tmp_path):
    with pytest.raises(BuildError, match=r"There is no '.*nowhere.csv'.*Check the path of source"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(BuildError, match=r"holds neither a table .* nor a picture"):
        read_table(tmp_path)


def test_shards_are_read_as_one_table_with_numbered_problems(tmp_path):
    (tmp_path / "b").mkdir()
    read(tmp_path, "a,b\n1,x\n2\n", "part-1.csv")
    read(tmp_path, "b,c\nx\ny,0.5\n", "b/part-2.csv")
    table = read_table(str(tmp_path / "**" / "part-*.csv"))
    rows = list(table.rows())
    assert sorted(table.problems) in ([0, 3], [1, 2])
    assert {"a": 1, "b": "x", "c": None} in rows
    assert {"a": None, "b": "y", "c": 0.5} in rows
    assert table.folder == tmp_path


def test_shards_of_several_kinds_and_patterns_without_files_are_refused(tmp_path):
    read(tmp_path, "a\n1\n", "x.csv")
    read(tmp_path, '{"a": 1}', "x.jsonl")
    with pytest.raises(BuildError, match=r"several kinds .*Narrow the pattern"):
        read_table(str(tmp_path / "x.*"))
    with pytest.raises(BuildError, match="No file matches the source"):
        read_table(str(tmp_path / "y*.csv"))


@FUZZ
@given(
    st.binary(max_size=300), st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.xlsx"])
)
def test_random_bytes_are_a_table_or_an_error_in_words(tmp_path, content, name):
    if name == "t.xlsx":
        pytest.importorskip("python_calamine", reason="the extra `excel`")
    with contextlib.suppress(BuildError):
        table = read(tmp_path, content, name)
        assert len(list(table.rows())) == table.arrow.num_rows


@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_damaged_file_is_a_table_or_an_error_in_words(tmp_path, kind):
    path = tmp_path / f"t.{kind}"
    columns = {"a": list(range(200)), "b": [f"Größe {row}" for row in range(200)]}
    if kind == "parquet":
        pictures = [bytes([row] * 9) for row in range(200)]
        pq.write_table(pa.table(columns | {"image": pictures}), path, row_group_size=90)
    else:
        pytest.importorskip("python_calamine", reason="the extra `excel`")
        write_sheets(path, one=[list(columns), *zip(*columns.values(), strict=True)])
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(120):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.choice([len(content), rng.integers(len(content))])])
        with contextlib.suppress(BuildError):
            table = read_table(path)
            assert len(list(table.rows())) == table.arrow.num_rows
