"""How tests of every kind of source write and read one."""

import pytest
from hypothesis import HealthCheck, settings

from loupe.build.sources import Reading, read_table

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read(tmp_path, text, name="t.csv", **how):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(tmp_path / name, Reading(**how))


def write_sheets(path, **sheets):
    openpyxl = pytest.importorskip("openpyxl", reason="writes the files that are read here")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
