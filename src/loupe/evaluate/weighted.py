"""Statistics of rows that may count several times, so that one bootstrap serves every score.

A resample is a row of counts: how often each test row was drawn. A statistic turns
weights: (resamples, rows) into values: (resamples,); all weights 1 is the plain score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["CorpusChrf", "MacroF1", "Mean", "Median", "Statistic", "Values"]

Values: TypeAlias = NDArray[np.floating]
Statistic: TypeAlias = Callable[[Values], Values]


def _divide(numerator: Values, denominator: Values, *, empty: float = np.nan) -> Values:
    """Quotient, with `empty` where nothing was counted."""
    safe = np.where(denominator > 0, denominator, 1)
    return np.where(denominator > 0, numerator / safe, empty)


@dataclass(frozen=True)
class Mean:
    """Mean of the rows' values; rows whose value is NaN are not counted."""

    values: Values

    def of_rows(self, rows: NDArray[np.integer]) -> Mean:
        """Give the same statistic of some of the rows."""
        return Mean(self.values[rows])

    def __call__(self, weights: Values) -> Values:
        """Give the value for each resample."""
        counted = ~np.isnan(self.values)
        drawn = weights[:, counted]
        return _divide(drawn @ self.values[counted], drawn.sum(axis=1))


@dataclass(frozen=True)
class Median:
    """Median of the rows' values; rows whose value is NaN are not counted."""

    values: Values

    def of_rows(self, rows: NDArray[np.integer]) -> Median:
        """Give the same statistic of some of the rows."""
        return Median(self.values[rows])

    def __call__(self, weights: Values) -> Values:
        """Give the value for each resample."""
        counted = np.flatnonzero(~np.isnan(self.values))
        if not len(counted):
            return np.full(len(weights), np.nan)
        order = counted[np.argsort(self.values[counted], kind="stable")]
        counts = np.cumsum(weights[:, order], axis=1)
        half = counts[:, -1:] / 2
        lower = self.values[order][np.argmax(counts >= half, axis=1)]
        upper = self.values[order][np.argmax(counts > half, axis=1)]
        return np.where(half[:, 0] > 0, (lower + upper) / 2, np.nan)


@dataclass(frozen=True)
class MacroF1:
    """F1 of each class, averaged over the classes that the drawn rows' truths contain."""

    truths: NDArray[np.integer]
    predictions: NDArray[np.integer]
    """Class numbers; -1 is an answer that names none of the truths' classes."""

    def __call__(self, weights: Values) -> Values:
        """Give the value for each resample."""
        total, classes = np.zeros(len(weights)), np.zeros(len(weights))
        for number in np.unique(self.truths):
            is_true, is_predicted = self.truths == number, self.predictions == number
            true = weights[:, is_true].sum(axis=1)
            named = true + weights[:, is_predicted].sum(axis=1)
            both = weights[:, is_true & is_predicted].sum(axis=1)
            total += np.where(true > 0, _divide(2 * both, named, empty=0.0), 0.0)
            classes += true > 0
        return _divide(total, classes)


@dataclass(frozen=True)
class CorpusChrf:
    """Character n-gram F-score of all drawn rows together, 0 to 1.

    Source: Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015,
    https://aclanthology.org/W15-3049/, with sacrebleu's defaults: recall counts twice (beta 2),
    and orders for which either side has no n-gram are left out of the mean.
    """

    counts: Values
    """(rows, orders, 3): n-grams of the answer, of the truth, and in both."""

    def __call__(self, weights: Values) -> Values:
        """Give the value for each resample."""
        rows, orders, _ = self.counts.shape
        sums = (weights @ self.counts.reshape(rows, orders * 3)).reshape(-1, orders, 3)
        answered, true, both = np.moveaxis(sums, 2, 0)  # each (resamples, orders)
        usable = (answered > 0) & (true > 0)
        number = usable.sum(axis=1)
        precision = _divide((_divide(both, answered) * usable).sum(axis=1, where=usable), number)
        recall = _divide((_divide(both, true) * usable).sum(axis=1, where=usable), number)
        return _divide(5 * precision * recall, 4 * precision + recall, empty=0.0)
