"""Scores of parts of the rows, with the worst named, and how bad the worst would be by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loupe.evaluate.intervals import Interval
from loupe.evaluate.parts import Part, cut_rows
from loupe.evaluate.scores import headline_statistics, is_lower_better
from loupe.evaluate.systems import Measures
from loupe.evaluate.weighted import Mean, Median, Values
from loupe.task import Answer

__all__ = ["Chance", "Slice", "Slices", "measure_slices", "worst_slices"]

MIN_ROWS_TO_NAME = 8  # below, being the worst is mostly chance
CHANCE_DRAWS = 200


@dataclass(frozen=True)
class Slice:
    """Rows that agree in something, with the headline scores on them."""

    by: str
    """The field or column that they agree in, `group`, or `picture size`."""
    name: str
    rows: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class Chance:
    """How bad the worst of parts of the same sizes is, where rows are put into them at random."""

    parts: int
    worst: float
    """In half of the draws it is this bad, or worse."""
    share: float
    """Of the draws, those in which it is as bad as the worst slice, or worse."""

    def to_dict(self) -> dict[str, float]:
        """Give plain numbers."""
        return {"parts": self.parts, "worst": round(self.worst, 6), "share": round(self.share, 4)}


@dataclass(frozen=True)
class Slices:
    """All slices, the worst of them by each score, and what chance alone would name."""

    all: tuple[Slice, ...]
    worst: dict[str, Slice]
    by_chance: dict[str, Chance]


def measure_slices(
    measures: Measures,
    answers: Sequence[Answer],
    sizes_px: Sequence[tuple[int, int]],
    columns: Sequence[str] = (),
) -> Slices:
    """Score the answers on each slice; slices of a number come in its order.

    Where rows are one group, its rows are resampled for the interval, and otherwise groups.
    """
    statistics = headline_statistics(measures.task, measures.rows.truths, answers)
    parts = list(cut_rows(measures.task, measures.rows, sizes_px, columns))
    slices = tuple(_measure(measures, statistics, part) for part in parts)
    worst = worst_slices(slices)
    return Slices(slices, worst, _draw_by_chance(measures, statistics, slices, worst))


def _measure(measures: Measures, statistics: Mapping[str, Mean | Median], part: Part) -> Slice:
    held = {score: statistic.of_rows(part.rows) for score, statistic in statistics.items()}
    units = measures.rows.ids if part.is_group else measures.rows.groups
    draws = measures.draw(held, [units[number] for number in part.rows])
    scores = {score: drawn.interval(measures.confidence) for score, drawn in draws.items()}
    return Slice(part.by, part.name, len(part.rows), scores)


def worst_slices(slices: Sequence[Slice]) -> dict[str, Slice]:
    """Name the worst slice by each score, among two or more with rows enough to tell."""
    worst: dict[str, Slice] = {}
    told = [part for part in slices if part.rows >= MIN_ROWS_TO_NAME]
    for part in told if len(told) > 1 else ():
        for score, interval in part.scores.items():
            sign = 1 if is_lower_better(score) else -1
            held = worst.get(score)
            if held is None or sign * interval.value > sign * held.scores[score].value:
                worst[score] = part
    return worst


def _draw_by_chance(
    measures: Measures,
    statistics: Mapping[str, Mean | Median],
    slices: Sequence[Slice],
    worst: Mapping[str, Slice],
) -> dict[str, Chance]:
    """Put rows into parts of the slices' sizes at random, groups together, and find the worst."""
    sizes = [part.rows for part in slices if part.rows >= MIN_ROWS_TO_NAME]
    generator = np.random.default_rng(measures.seed)
    numbers = {group: n for n, group in enumerate(dict.fromkeys(measures.rows.groups))}
    group_of_row = np.array([numbers[group] for group in measures.rows.groups])
    found: dict[str, list[float]] = {score: [] for score in worst}
    for _ in range(CHANCE_DRAWS if worst else 0):
        place = generator.permutation(len(numbers))[group_of_row]
        order = np.argsort(place, kind="stable")
        twice = np.concatenate([order, order])
        firsts = np.flatnonzero(np.diff(place[order], prepend=-1))  # of the groups, in this order
        begins = generator.choice(firsts, len(sizes))
        rows = [twice[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]
        for score in found:
            drawn = (_value(statistics[score].of_rows(part)) for part in rows)
            held = [value for value in drawn if not np.isnan(value)]
            worse = max if is_lower_better(score) else min
            found[score] += [worse(held)] if held else []
    return {
        score: _chance(np.array(values), worst[score].scores[score].value, len(sizes), score)
        for score, values in found.items()
        if values
    }


def _chance(drawn: Values, worst: float, parts: int, score: str) -> Chance:
    is_as_bad = drawn >= worst if is_lower_better(score) else drawn <= worst
    return Chance(parts, float(np.median(drawn)), float(is_as_bad.mean()))


def _value(statistic: Mean | Median) -> float:
    return float(statistic(np.ones((1, len(statistic.values))))[0])
