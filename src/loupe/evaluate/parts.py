"""Parts of the rows: by category, tenths of numbers, group, picture size, and any column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loupe.errors import EvaluateError
from loupe.evaluate.figures import show_number
from loupe.evaluate.rows import Rows
from loupe.evaluate.scores import is_number
from loupe.task import Task, is_missing

__all__ = ["Part", "check_slice_columns", "cut_rows"]

Numbers = NDArray[np.integer]

PARTS = 10
MIN_ROWS_OF_PART = 5
MIN_ROWS_OF_GROUP = 8
MOST_GROUPS = 20
MOST_SIZES = 8  # pictures of more sizes are cut into quarters by their area
MOST_VALUES = 40  # of a column


@dataclass(frozen=True)
class Part:
    """Rows that agree in something."""

    by: str
    name: str
    rows: Numbers
    is_group: bool = False
    """Whether they are one group, within which rows are the only evidence."""


def check_slice_columns(rows: Rows, columns: Sequence[str]) -> None:
    """Refuse columns that the dataset does not have.

    Raises:
        EvaluateError: one is missing.
    """
    for column in columns:
        if column not in rows.split.columns:
            raise EvaluateError(
                f"slice_by names column {column!r}, which the dataset does not have. It has "
                f"{', '.join(sorted(rows.split.columns))}."
            )


def cut_rows(
    task: Task, rows: Rows, sizes_px: Sequence[tuple[int, int]], columns: Sequence[str] = ()
) -> Iterator[Part]:
    """Cut the rows by each thing that they may agree in; `sizes_px` are (width, height) per row."""
    for field, kind in task.fields.items():
        values = [truth[field] for truth in rows.truths]
        if kind.type == "choice":
            yield from _by_value(field, values, sorted(set(values)))
        elif is_number(task, field):
            yield from _by_number(field, [float(value) for value in values])
    yield from _by_group(task, rows)
    yield from _by_size(sizes_px)
    for column in columns:
        yield from _by_column(column, rows.column(column))


def _by_value(by: str, values: Sequence[Any], shown: Sequence[Any]) -> Iterator[Part]:
    held = np.array([*values, None], dtype=object)[:-1]  # None keeps lists from becoming axes
    for value in shown:
        yield Part(by, str(value), np.flatnonzero(held == value))


def _by_number(by: str, values: Sequence[float]) -> Iterator[Part]:
    """Cut rows into tenths, or fewer where rows are few; rows without a number stay out."""
    numbers = np.array(values)
    for rows in _quantiles(numbers, PARTS):
        low, high = numbers[rows].min(), numbers[rows].max()
        name = show_number(low) if low == high else f"{show_number(low)} to {show_number(high)}"
        yield Part(by, name, rows)


def _by_group(task: Task, rows: Rows) -> Iterator[Part]:
    """Cut out the largest groups, each named by its first row's text."""
    texts = [field for field, kind in task.fields.items() if kind.type == "text"]
    for group, count in Counter(rows.groups).most_common(MOST_GROUPS):
        if count >= MIN_ROWS_OF_GROUP:
            places = np.flatnonzero(np.array(rows.groups) == group)
            name = rows.truths[places[0]][texts[0]] if texts else rows.ids[places[0]]
            yield Part("group_id", f"{name} and its like ({group})", places, is_group=True)


def _by_size(sizes_px: Sequence[tuple[int, int]]) -> Iterator[Part]:
    distinct = sorted(set(sizes_px), key=lambda size: (size[0] * size[1], size))
    if len(distinct) <= MOST_SIZES:
        names = [f"{width}×{height}" for width, height in sizes_px]
        shown = [f"{width}×{height}" for width, height in distinct]
        yield from _by_value("picture size", names, shown if len(shown) > 1 else [])
        return
    areas = np.array([width * height for width, height in sizes_px], dtype=float)
    for rows in _quantiles(areas, 4):
        order = rows[np.argsort(areas[rows], kind="stable")]
        (w, h), (wide, high) = sizes_px[order[0]], sizes_px[order[-1]]
        yield Part("picture size", f"{w}×{h} to {wide}×{high}", rows)


def _by_column(column: str, values: Sequence[Any]) -> Iterator[Part]:
    """Cut by a column's numbers in tenths, or by its commonest values."""
    named = [None if is_missing(value) else value for value in values]
    is_none = np.array([value is None for value in named])
    known = [value for value in named if value is not None]
    is_numeric = all(isinstance(value, int | float) for value in known)
    if is_numeric and not all(isinstance(v, bool) for v in known) and len(set(known)) > PARTS:
        yield from _by_number(column, [np.nan if v is None else float(v) for v in named])
    else:
        texts = [None if value is None else str(value) for value in named]
        counts = Counter(text for text in texts if text is not None)
        yield from _by_value(column, texts, [text for text, _ in counts.most_common(MOST_VALUES)])
    if is_none.any():
        yield Part(column, "no value", np.flatnonzero(is_none))


def _quantiles(numbers: NDArray[np.floating], parts: int) -> Iterator[Numbers]:
    """Cut rows into parts of about equal size; equal numbers stay together."""
    known = np.flatnonzero(~np.isnan(numbers))
    count = min(parts, len(known) // MIN_ROWS_OF_PART)
    if count < 2:
        return
    held = numbers[known]
    edges = np.unique(np.quantile(held, np.linspace(0, 1, count + 1)[1:-1]))
    part_of_row = np.searchsorted(edges, held, side="left")
    for part in np.unique(part_of_row):
        yield known[part_of_row == part]
