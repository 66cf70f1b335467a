"""Read JSON lines; a line that is no object is a row's problem."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loupe.build.sources.encoding import find_encoding
from loupe.build.sources.reading import Reading, complain_of_empty, folder_of
from loupe.build.sources.values import keep_values
from loupe.build.table import Table

__all__ = ["read_jsonl"]


def read_jsonl(paths: Sequence[Path], name: str, how: Reading) -> Table:
    """Read files of one JSON object a line, one after the other.

    Raises:
        BuildError: a file is not text, or there is no row.
    """
    opened = [(path, find_encoding(path, how.encoding)) for path in paths]
    problems: dict[int, str] = {}

    def read() -> Iterator[Mapping[str, Any]]:
        for number, line in enumerate(_read_lines(opened)):
            row = _read_object(line)
            if isinstance(row, str):
                problems[number] = row
            yield {} if isinstance(row, str) else row

    arrow = keep_values(read, how.scratch)
    if not arrow.num_columns:
        complain_of_empty(name)
    return Table(name, folder_of(paths), arrow, problems)


def _read_lines(opened: Sequence[tuple[Path, str]]) -> Iterator[str]:
    for path, encoding in opened:
        with path.open(encoding=encoding, newline="\n") as file:
            yield from filter(str.strip, file)


def _read_object(line: str) -> dict[str, Any] | str:
    """Give the object of a line, or what is wrong with it."""
    shown = repr(line.rstrip()[:100])
    try:
        value = json.loads(line)
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair fails here
    except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
        return f"the line is not JSON ({error}): {shown}"
    return value if isinstance(value, dict) else f"the line is not a JSON object: {shown}"
