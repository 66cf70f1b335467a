"""Bootstrap intervals: what a score might have been with other test rows.

Groups are resampled, not rows: variants of one product share their answer, so their rows are
less evidence than as many unrelated ones. Source: Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, chapters 8.4 (grouped data) and 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loupe.evaluate.weighted import Statistic, Values

__all__ = ["Draws", "Interval", "resample"]

MAX_BLOCK_CELLS = 5_000_000  # weights held at a time: 40 MB


@dataclass(frozen=True)
class Interval:
    """A score, and the range that holds it with the chosen confidence."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Give plain numbers, rounded to what a file needs."""
        names = ("value", "low", "high")
        return {name: round(float(getattr(self, name)), 6) for name in names}


@dataclass(frozen=True)
class Draws:
    """A score on the rows as they are, and on every resample of them."""

    value: float
    resamples: Values

    def interval(self, confidence: float) -> Interval:
        """Give the percentile interval; resamples in which no row counted are left out."""
        outside = (1 - confidence) / 2
        drawn = self.resamples[~np.isnan(self.resamples)]
        low, high = np.quantile(drawn, [outside, 1 - outside]) if len(drawn) else [self.value] * 2
        return Interval(self.value, float(low), float(high))

    def minus(self, other: Draws) -> Draws:
        """Give the paired difference: both scores are of the same resamples."""
        return Draws(self.value - other.value, self.resamples - other.resamples)


def resample(
    statistics: Mapping[str, Statistic],
    groups: Sequence[Hashable],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Draws]:
    """Draw groups of rows with replacement and score every draw.

    The draws depend on the groups and the seed alone, so scores of several systems on the same
    rows can be subtracted. Statistics for which no row counts are left out.
    """
    everyone = np.ones((1, len(groups)))
    values = {name: float(statistic(everyone)[0]) for name, statistic in statistics.items()}
    values = {name: value for name, value in values.items() if not np.isnan(value)}
    blocks: dict[str, list[Values]] = {name: [] for name in values}
    for weights in _weights(groups, resamples, seed):
        for name, block in blocks.items():
            block.append(statistics[name](weights))
    empty = np.empty(0)
    return {name: Draws(values[name], np.concatenate([empty, *blocks[name]])) for name in values}


def _weights(groups: Sequence[Hashable], resamples: int, seed: int) -> Iterator[Values]:
    """Give how often each row counts, in blocks of (resamples, rows)."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_of_row = np.array([numbers[group] for group in groups], dtype=np.int64)
    generator = np.random.default_rng(seed)
    shares = np.full(len(numbers), 1 / len(numbers))
    block = max(1, MAX_BLOCK_CELLS // len(group_of_row))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = generator.multinomial(len(numbers), shares, size=size)  # (resamples, groups)
        yield counts[:, group_of_row].astype(np.float64)
