import contextlib
import csv
import datetime
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loupe.build.sources import Reading, read_table
from loupe.errors import BuildError

from ..conftest import draw, encode


def read(tmp_path, text, name="t.csv", **how):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(tmp_path / name, Reading(**how))


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


ACCENTED = "title;price\nCafé ‘crème’ — Größe;12,50\nÎle;7\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_text_is_read_in_every_encoding(tmp_path, encoding):
    rows = list(read(tmp_path, ACCENTED.encode(encoding)).rows())
    assert rows == [
        {"title": "Café ‘crème’ — Größe", "price": "12,50"},
        {"title": "Île", "price": "7"},
    ]


def test_text_that_is_not_utf8_is_read_as_windows_1252_and_this_is_said(tmp_path, caplog):
    rows = list(read(tmp_path, ACCENTED.encode("cp1252")).rows())
    assert rows[0]["title"] == "Café ‘crème’ — Größe"
    assert "is not UTF-8 (near byte 15: " in caplog.text
    assert "--encoding NAME" in caplog.text


def test_encoding_and_delimiter_that_are_given_are_used(tmp_path):
    text = "title^n\nСумка, красная^1\n".encode("cp1251")
    rows = list(read(tmp_path, text, encoding="cp1251", delimiter="^").rows())
    assert rows == [{"title": "Сумка, красная", "n": 1}]
    with pytest.raises(BuildError, match=r"not utf-8 text .near byte 8"):
        read(tmp_path, text, encoding="utf-8")
    with pytest.raises(BuildError, match="no encoding 'klingon'"):
        read(tmp_path, text, encoding="klingon")
    with pytest.raises(BuildError, match="no encoding 'zip'"):
        read(tmp_path, text, encoding="zip")
    with pytest.raises(BuildError, match="Delimiter 'ab' cannot be"):
        read(tmp_path, text, encoding="cp1251", delimiter="ab")


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


def test_parquet_shards_with_pictures_are_read_from_the_file_each_time(tmp_path):
    for shard, kind in enumerate((pa.int32(), pa.int64())):
        columns = {
            "a": pa.array([shard, None], kind),
            "image": [{"bytes": bytes([shard]) * 5, "path": "x"}] * 2,
            "kind": pa.array(["u", "v"]).dictionary_encode(),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{shard}.parquet", row_group_size=1)
    table = read_table(str(tmp_path / "*.parquet"), Reading(scratch=tmp_path))
    assert table.arrow.column_names == ["a", "kind"]
    assert set(table.columns) == {"a", "kind", "image"}
    rows = list(table.rows())
    assert rows == list(table.rows())
    assert [row["a"] for row in rows] == [0, None, 1, None]
    assert rows[2]["image"] == {"bytes": b"\1" * 5, "path": "x"}
    assert len(list(tmp_path.glob("*.arrow"))) == 1


def test_parquet_shards_that_disagree_on_a_type_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "1.parquet")
    with pytest.raises(BuildError, match=r"The 2 files of .* disagree on a column"):
        read_table(str(tmp_path / "*.parquet"))


def write_sheets(path, **sheets):
    openpyxl = pytest.importorskip("openpyxl", reason="writes the files that are read here")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)


def test_excel_sheet_is_read_with_the_types_of_its_cells(tmp_path):
    pytest.importorskip("python_calamine", reason="the extra `excel`")
    rows = [
        ["code", "title", "price", "day", None],
        [123456, "Bag", 1290.5, datetime.date(2024, 6, 3), "007"],
        [None] * 5,
        [7, None, "1.290,00 €", None, "8"],
    ]
    write_sheets(tmp_path / "t.xlsx", first=rows, second=[])
    assert list(read_table(tmp_path / "t.xlsx").rows()) == [
        {"code": 123456, "title": "Bag", "price": "1290.5", "day": "2024-06-03", "column_5": "007"},
        {"code": 7, "title": None, "price": "1.290,00 €", "day": None, "column_5": "8"},
    ]  # fmt: skip


def test_excel_file_with_several_sheets_asks_which(tmp_path):
    pytest.importorskip("python_calamine", reason="the extra `excel`")
    write_sheets(tmp_path / "t.xlsx", one=[["a"], [1]], two=[["a"], [2]])
    with pytest.raises(BuildError, match=r"sheets 'one', 'two'; expected one .*--source-part"):
        read_table(tmp_path / "t.xlsx")
    assert list(read_table(tmp_path / "t.xlsx", Reading(part="two")).rows()) == [{"a": 2}]


def make_dataset(tmp_path, rows=5, embedded=False):
    import datasets

    pictures = [tmp_path / f"{row}.png" for row in range(rows)]
    for row, path in enumerate(pictures):
        path.write_bytes(encode(draw(row), "PNG"))
    features = datasets.Features({
        "title": datasets.Value("string"),
        "image": datasets.Image(),
        "kind": datasets.ClassLabel(names=["bag", "belt"]),
    })  # fmt: skip
    columns = {
        "title": [f"T{row}" for row in range(rows)],
        "image": [path.read_bytes() if embedded else str(path) for path in pictures],
        "kind": [row % 2 for row in range(rows - 1)] + [-1],
    }
    return datasets.Dataset.from_dict(columns, features)


def check_dataset_rows(table, rows):
    assert [row["kind"] for row in rows] == ["bag", "belt", "bag", "belt", None]
    assert [row["title"] for row in rows] == [f"T{row}" for row in range(5)]
    assert rows == list(table.rows())


def test_saved_dataset_is_read_with_its_labels_and_the_paths_of_its_pictures(tmp_path):
    make_dataset(tmp_path).save_to_disk(tmp_path / "saved")
    table = read_table(tmp_path / "saved")
    rows = list(table.rows())
    check_dataset_rows(table, rows)
    assert rows[0]["image"]["path"].endswith("0.png")


def test_parquet_that_datasets_wrote_is_read_with_its_labels(tmp_path):
    make_dataset(tmp_path, embedded=True).to_parquet(tmp_path / "one.parquet")
    table = read_table(tmp_path / "one.parquet")
    check_dataset_rows(table, list(table.rows()))


def test_saved_splits_are_read_one_after_the_other(tmp_path):
    import datasets

    whole = make_dataset(tmp_path)
    splits = {"train": whole.select(range(3)), "test": whole.select(range(3, 5))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    table = read_table(tmp_path / "saved")
    check_dataset_rows(table, list(table.rows()))


@pytest.mark.parametrize("streaming", [False, True])
def test_folder_that_datasets_opens_is_read_with_the_bytes_of_its_pictures(tmp_path, streaming):
    (tmp_path / "scratch").mkdir()
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    make_dataset(tmp_path, embedded=True).to_parquet(
        folder / "data" / "train-00000-of-00001.parquet"
    )
    how = Reading(scratch=tmp_path / "scratch", streaming=streaming)
    table = read_table(folder, how)
    rows = list(table.rows())
    check_dataset_rows(table, rows)
    assert rows[3]["image"]["bytes"] == (tmp_path / "3.png").read_bytes()


def test_pictures_with_nested_metadata_are_read_as_an_image_folder(tmp_path):
    for kind in ("train", "test"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "a.png").write_bytes(encode(draw(1), "PNG"))
        line = json.dumps({"file_name": "a.png", "title": f"{kind} bag"})
        (tmp_path / kind / "metadata.jsonl").write_text(line + "\n")
    table = read_table(tmp_path)
    rows = list(table.rows())
    assert sorted(row["title"] for row in rows) == ["test bag", "train bag"]
    assert all(row["image"]["path"].endswith("a.png") for row in rows)


def test_dataset_that_cannot_be_opened_is_refused_in_words(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(BuildError, match="cannot be opened by `datasets`"):
        read_table(tmp_path)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
HEADERS = st.lists(
    st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=6),
    min_size=2, max_size=4, unique=True,
)  # fmt: skip
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@FUZZ
@given(
    st.lists(
        st.dictionaries(st.sampled_from("ab"), JSON, max_size=2) | JSON, min_size=1, max_size=6
    )
)
def test_fuzzed_json_lines_give_each_value_or_its_text(tmp_path, values):
    text = "\n".join(json.dumps(value) for value in [{"a": "x"}, *values])
    table = read(tmp_path, text, "t.jsonl")
    rows = list(table.rows())
    assert len(rows) == len(values) + 1
    for number, value in enumerate(values, start=1):
        if number in table.problems:
            continue
        for name, cell in value.items():
            shown = rows[number][name]
            assert repr(shown) == repr(cell) or shown in (
                cell,
                json.dumps(cell, ensure_ascii=False),
            )
