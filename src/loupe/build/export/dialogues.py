"""Rows as other trainers see them: pictures, a question and an answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from loupe.build.dataset import split_file
from loupe.build.output import MORE_LEDGER
from loupe.task import Task

__all__ = ["Dialogue", "Picture", "picture_type", "read_dialogues"]

_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True)
class Picture:
    """An encoded picture with its file name."""

    content: bytes
    file_name: str


@dataclass(frozen=True)
class Dialogue:
    """A row: its pictures, the main one first, what is asked, what is to be said."""

    row_id: str
    pictures: tuple[Picture, ...]
    question: str
    answer: str
    values: dict[str, Any]


def read_dialogues(folder: Path, split: str, task: Task) -> Iterator[Dialogue]:
    """Give the rows of a split in order; one row group is in memory at a time."""
    has_more = (folder / MORE_LEDGER).is_file()
    columns = ["row_id", "image", *(["more_images"] if has_more else []), *task.fields]
    with pq.ParquetFile(folder / split_file(split)) as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, columns=columns).to_pylist():
                values = {name: row[name] for name in task.fields}
                stored = [row["image"], *row.get("more_images", ())]
                yield Dialogue(
                    row_id=row["row_id"],
                    pictures=tuple(Picture(each["bytes"], each["path"]) for each in stored),
                    question=task.question,
                    answer=task.format(values),
                    values=values,
                )


def picture_type(file_name: str) -> str:
    """Give the media type of a stored picture."""
    return _TYPES[Path(file_name).suffix]
