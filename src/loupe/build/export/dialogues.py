"""Rows as other trainers see them: a picture, a question and an answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from loupe.build.dataset import split_file
from loupe.task import Task

__all__ = ["Dialogue", "picture_type", "read_dialogues"]

_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True)
class Dialogue:
    """A row: the encoded picture with its file name, what is asked, what is to be said."""

    row_id: str
    picture: bytes
    file_name: str
    question: str
    answer: str
    values: dict[str, Any]


def read_dialogues(folder: Path, split: str, task: Task) -> Iterator[Dialogue]:
    """Give the rows of a split in order; one row group is in memory at a time."""
    columns = ["row_id", "image", *task.fields]
    with pq.ParquetFile(folder / split_file(split)) as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, columns=columns).to_pylist():
                values = {name: row[name] for name in task.fields}
                yield Dialogue(
                    row_id=row["row_id"],
                    picture=row["image"]["bytes"],
                    file_name=row["image"]["path"],
                    question=task.question,
                    answer=task.format(values),
                    values=values,
                )


def picture_type(file_name: str) -> str:
    """Give the media type of a stored picture."""
    return _TYPES[Path(file_name).suffix]
