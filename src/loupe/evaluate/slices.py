"""Scores of parts of the rows: by category and by tenths of each number, with the worst named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loupe.evaluate.figures import show_number
from loupe.evaluate.intervals import Interval
from loupe.evaluate.scores import headline_statistics, is_lower_better, is_number
from loupe.evaluate.systems import Measures
from loupe.task import Answer, Task

__all__ = ["Slice", "measure_slices", "worst_slices"]

PARTS = 10
MIN_ROWS_OF_PART = 5
MIN_ROWS_TO_NAME = 8  # below, being the worst is mostly chance


@dataclass(frozen=True)
class Slice:
    """Rows that agree in something, with the headline scores on them."""

    by: str
    """The field that they agree in."""
    name: str
    rows: int
    scores: dict[str, Interval]


def measure_slices(measures: Measures, answers: Sequence[Answer]) -> tuple[Slice, ...]:
    """Score the answers on each slice; slices of a number come in its order."""
    task, rows = measures.task, measures.rows
    statistics = headline_statistics(task, rows.truths, answers)
    slices = []
    for by, name, numbers in _slices(task, rows.truths):
        part = {score: statistic.of_rows(numbers) for score, statistic in statistics.items()}
        draws = measures.draw(part, [rows.groups[number] for number in numbers])
        scores = {score: drawn.interval(measures.confidence) for score, drawn in draws.items()}
        slices.append(Slice(by, name, len(numbers), scores))
    return tuple(slices)


def worst_slices(slices: Sequence[Slice]) -> dict[str, Slice]:
    """Name the worst slice by each score, among those with rows enough to tell."""
    worst: dict[str, Slice] = {}
    for part in slices:
        if part.rows < MIN_ROWS_TO_NAME:
            continue
        for score, interval in part.scores.items():
            sign = 1 if is_lower_better(score) else -1
            held = worst.get(score)
            if held is None or sign * interval.value > sign * held.scores[score].value:
                worst[score] = part
    return worst


def _slices(
    task: Task, truths: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, NDArray[np.integer]]]:
    for field, kind in task.fields.items():
        values = [truth[field] for truth in truths]
        if kind.type == "choice":
            for value in sorted(set(values)):
                yield field, str(value), np.flatnonzero(np.array(values, dtype=object) == value)
        elif is_number(task, field):
            numbers = np.array([float(value) for value in values])
            for rows in _parts(numbers):
                low, high = numbers[rows].min(), numbers[rows].max()
                yield field, f"{show_number(low)} to {show_number(high)}", rows


def _parts(numbers: NDArray[np.floating]) -> Iterator[NDArray[np.integer]]:
    """Cut rows into tenths, or fewer where rows are few; equal numbers stay together."""
    count = min(PARTS, len(numbers) // MIN_ROWS_OF_PART)
    if count < 2:
        return
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, count + 1)[1:-1]))
    part_of_row = np.searchsorted(edges, numbers, side="left")
    for part in np.unique(part_of_row):
        yield np.flatnonzero(part_of_row == part)
