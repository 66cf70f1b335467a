import json

from hypothesis import given
from hypothesis import strategies as st

from .conftest import FUZZ, read


def test_jsonl_line_that_is_not_an_object_is_a_problem_of_that_row(tmp_path):
    lines = ['{"a": 1}', "[1]", "{oops", '{"a": "\\ud800"}', "", '{"a": 2, "b": {"c": [1]}}']
    table = read(tmp_path, "\n".join(lines), "t.jsonl")
    assert sorted(table.problems) == [1, 2, 3]
    assert list(table.rows())[4] == {"a": 2, "b": '{"c": [1]}'}


def test_jsonl_column_of_several_types_becomes_text(tmp_path):
    rows = [{"a": 1}, {"a": "x"}, {"a": 2**70}, {"a": None}]
    table = read(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl")
    assert [row["a"] for row in table.rows()] == ["1", "x", str(2**70), None]


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
