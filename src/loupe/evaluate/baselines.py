"""Answers that need no model, or only its eyes: what a score must beat to mean something.

All of them know the training rows alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loupe.evaluate.scores import is_number
from loupe.evaluate.weighted import Values
from loupe.task import Answer, Task

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["centred", "constant_answer", "copied_answers", "median_answers", "nearest", "pixels"]

Rows = Sequence[Mapping[str, Any]]

MAX_DISTANCES = 20_000_000  # held at a time: 80 MB


def constant_answer(task: Task, train: Rows) -> Answer:
    """Say the commonest text and choice, and the median number, whatever the picture."""
    values = {
        field: median(float(row[field]) for row in train)
        if is_number(task, field)
        else Counter(row[field] for row in train).most_common(1)[0][0]
        for field in task.fields
    }
    return Answer("", values)


def median_answers(
    train: Rows, choice: str, said: Sequence[str | None], numbers: Sequence[str]
) -> list[Answer]:
    """Say the median number of the category that was named; of all rows where it is unknown."""
    of_choice: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for row in train:
        of_choice[row[choice]].append(row)
    medians = {value: _medians(rows, numbers) for value, rows in of_choice.items()}
    overall = _medians(train, numbers)
    return [Answer("", medians.get(value, overall)) for value in said]


def copied_answers(train: Rows, neighbours: Sequence[int]) -> list[Answer]:
    """Say what is true of each row's neighbour."""
    return [Answer("", dict(train[neighbour])) for neighbour in neighbours]


def pixels(picture: Image, side_px: int) -> Values:
    """Shrink a picture to a square and give its pixels: (side * side * 3,), 0 to 1."""
    from PIL import Image

    small = picture.convert("RGB").resize((side_px, side_px), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 255


def nearest(
    train: Values,
    test: Values,
    train_groups: Sequence[Hashable],
    test_groups: Sequence[Hashable],
    count: int = 1,
) -> NDArray[np.integer]:
    """Find for each test row the training rows at the smallest Euclidean distances, nearest first.

    train, test: (rows, width). Gives (test rows, count), less where there are fewer training rows.
    Rows of the same group are passed over, which matters only when
    training rows are themselves evaluated; where nothing else is left, they are taken.
    """
    numbers = {group: n for n, group in enumerate(dict.fromkeys([*train_groups, *test_groups]))}
    theirs = np.array([numbers[group] for group in train_groups])
    ours = np.array([numbers[group] for group in test_groups])
    squares = np.einsum("ij,ij->i", train, train)
    step = max(1, MAX_DISTANCES // len(train))
    found = []
    for start in range(0, len(test), step):
        rows = slice(start, start + step)
        distance = (
            squares - 2 * test[rows] @ train.T
        )  # (test rows, training rows), up to a constant
        is_same = ours[rows, None] == theirs
        apart = np.where(is_same, np.inf, distance)
        few = np.argpartition(apart, min(count, len(train)) - 1, axis=1)[:, :count]
        order = np.take_along_axis(apart, few, axis=1).argsort(axis=1, kind="stable")
        found.append(np.take_along_axis(few, order, axis=1))
    return np.concatenate(found)


def centred(train: Values, test: Values) -> tuple[Values, Values]:
    """Move the training rows' mean to the origin, for distances that floats can tell apart."""
    mean = train.mean(axis=0)
    return train - mean, test - mean


def _medians(rows: Rows, numbers: Sequence[str]) -> dict[str, Any]:
    return {field: median(float(row[field]) for row in rows) for field in numbers}
