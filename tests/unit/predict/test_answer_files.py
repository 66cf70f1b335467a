import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loupe.predict import answer_files
from loupe.predict.answer_files import JsonLines, ParquetParts

SCHEMA = pa.schema([("key", pa.string()), ("problem", pa.string()), ("stock", pa.int64())])


def row(key, **others):
    return {"key": key, "problem": None, **others}


def test_line_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = JsonLines(path)
    first.add([row("a", title="Größe \udc80"), row("b")])
    first.close()
    with path.open("ab") as file:
        file.write(b'{"key": "c", "prob')
    again = JsonLines(path)
    assert [each["key"] for each in again.read()] == ["a", "b"]
    again.add([row("d")])
    assert [each["key"] for each in again.read()] == ["a", "b", "d"]
    again.close()
    assert "Größe" in path.read_text("utf-8")


def test_disk_that_takes_half_a_line_is_an_error():
    from pathlib import Path

    file = JsonLines.__new__(JsonLines)
    file._path = Path("/dev/full")
    file._file = open("/dev/full", "ab", buffering=0)  # noqa: PTH123, SIM115
    with pytest.raises(OSError, match="No space left"):
        file.add([row("a")])
    file.close()


def test_parts_are_written_when_full_or_old_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(answer_files, "_PART_ROWS", 3)
    now = [0.0]
    monkeypatch.setattr(answer_files.time, "monotonic", lambda: now[0])
    parts = ParquetParts(tmp_path, SCHEMA)

    def sizes():
        return [pq.read_metadata(path).num_rows for path in sorted(tmp_path.iterdir())]

    parts.add([row("a"), row("b")])
    assert sizes() == []
    parts.add([row("c")])
    assert sizes() == [3]
    parts.add([row("d")])
    now[0] = 61
    parts.add([row("e")])
    assert sizes() == [3, 2]
    parts.add([row("f")])
    parts.close()
    again = ParquetParts(tmp_path, SCHEMA)
    assert [each["key"] for each in again.read()] == list("abcdef")
    again.add([row("g")])
    again.close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"answers-0000{part}.parquet" for part in range(4)
    ]


def test_number_that_fits_no_column_is_empty_and_costs_no_part(tmp_path):
    parts = ParquetParts(tmp_path, SCHEMA)
    parts.add([row("a", stock=5), row("b", stock=10**30), row("c", colour="red")])
    parts.close()
    (path,) = tmp_path.iterdir()
    found = pq.read_table(path).to_pylist()
    assert [each["stock"] for each in found] == [5, None, None]
    assert [each["colour"] for each in found] == [None, None, "red"]
