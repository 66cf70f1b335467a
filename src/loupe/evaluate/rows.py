"""The rows to be answered and the rows the baselines know, checked before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loupe.errors import EvaluateError
from loupe.evaluate.words import Words
from loupe.task import Answer, FieldError, Task, is_missing

if TYPE_CHECKING:
    from loupe.build.dataset import Dataset, Split

__all__ = ["Rows", "best_answers", "read_rows", "read_words"]


@dataclass(frozen=True)
class Rows:
    """Some rows of a split; every sequence has one entry per row."""

    split: Split
    numbers: tuple[int, ...]
    """Which rows of the split."""
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    truths: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str) -> list[Any]:
        """Give a column's value for each of these rows."""
        values = self.split.column(name)
        return [values[number] for number in self.numbers]


def read_rows(split: Split, *, max_rows: int | None, seed: int) -> Rows:
    """Read the truths of all rows, or of `max_rows` drawn by the seed, in the split's order."""
    numbers = list(range(len(split)))
    if max_rows is not None and max_rows < len(numbers):
        drawn = np.random.default_rng(seed).choice(len(numbers), max_rows, replace=False)
        numbers = sorted(drawn.tolist())
    ids, groups = split.column("row_id"), split.column("group_id")
    return Rows(
        split,
        tuple(numbers),
        tuple(str(ids[number]) for number in numbers),
        tuple(str(groups[number]) for number in numbers),
        tuple(split.values(number) for number in numbers),
    )


def read_words(
    dataset: Dataset, task: Task, rows: Rows, columns: Sequence[str]
) -> tuple[Words, ...]:
    """Prepare the word scores of the columns.

    Raises:
        EvaluateError: a column is missing, the task has no text field, or no text says a value.
    """
    fields = [name for name, field in task.fields.items() if field.type == "text"]
    if columns and not fields:
        raise EvaluateError(
            f"words {list(columns)} are looked for in text fields, and the task has none: its "
            f"fields are {list(task.fields)}. Leave words out."
        )
    return tuple(_read_word_column(dataset, rows, column, fields) for column in columns)


def _read_word_column(dataset: Dataset, rows: Rows, column: str, fields: list[str]) -> Words:
    _check_column(rows, "words", column)
    train = dataset.rows("train")
    known = train.column(column) if column in train.columns else []
    words = Words.of(column, rows.column(column), rows.truths, fields, known)
    if not any(words.is_asked):
        raise EvaluateError(
            f"words names column {column!r}, but no row's {' or '.join(fields)} says its value "
            f"(for example {next((v for v in known if not is_missing(v)), None)!r}). Name a column "
            "of words that stand in the text."
        )
    return words


def best_answers(task: Task, rows: Rows, columns: dict[str, str]) -> list[Answer] | None:
    """Read the best answers that any reader of the pictures could give, where columns hold them.

    Raises:
        EvaluateError: a column is missing or holds a value that its field does not take.
    """
    unknown = sorted(set(columns) - set(task.fields))
    if unknown:
        raise EvaluateError(
            f"best_columns names the fields {unknown}; the task's are {list(task.fields)}."
        )
    for column in columns.values():
        _check_column(rows, "best_columns", column)
    found = {f: f"best_{f}" for f in task.fields if f"best_{f}" in rows.split.columns} | columns
    if not found:
        return None
    held = {field: rows.column(column) for field, column in found.items()}
    return [_best_answer(task, held, row) for row in range(len(rows))]


def _best_answer(task: Task, held: dict[str, list[Any]], row: int) -> Answer:
    try:
        values = {field: _typed(task, field, column[row]) for field, column in held.items()}
    except FieldError as error:
        raise EvaluateError(
            f"The column of best answers for {error.field!r} holds a value that the field does not "
            f"take: {error.problem}. Correct it, or rename the column and leave it out of "
            "best_columns."
        ) from error
    return Answer("", values)


def _typed(task: Task, field: str, value: Any) -> Any:
    if is_missing(value):
        raise FieldError(field, f"the value is missing ({value!r})")
    try:
        return task.fields[field].normalise(value)
    except ValueError as error:
        raise FieldError(field, str(error)) from error


def _check_column(rows: Rows, option: str, column: str) -> None:
    if column not in rows.split.columns:
        raise EvaluateError(
            f"{option} names column {column!r}, which the dataset does not have. It has "
            f"{', '.join(sorted(rows.split.columns))}."
        )
