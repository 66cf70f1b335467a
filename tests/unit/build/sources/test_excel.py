import datetime

import pytest

from loupe.build.sources import Reading, read_table
from loupe.errors import BuildError

from .conftest import write_sheets


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
