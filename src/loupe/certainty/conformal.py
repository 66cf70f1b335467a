"""Split-conformal intervals: how wide they must be to hold the truth in a given share of cases.

Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005 (Mondrian
categories); Lei et al., "Distribution-Free Predictive Inference for Regression", 2018, section 5.2
(errors scaled by how hard a row is). The rank of the quantile is MAPIE's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loupe.errors import CalibrationError, MissingExtraError

__all__ = ["Scales", "enough_rows", "error_quantile", "scale_by_category"]

ROWS_OUTSIDE = 5  # a category's own quantile leaves at least so many rows out
GROUPS_OF_CATEGORY = 10  # rows of a group share their errors: few groups say little

Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def error_quantile(errors: Floats, coverage: float) -> float:
    """Give the error that a further row's stays below with probability `coverage`.

    errors: (rows,), of rows that are exchangeable with the further one, at least 0.

    Raises:
        CalibrationError: there are too few rows for this coverage.
        MissingExtraError: MAPIE is not installed.
    """
    least = enough_rows(coverage)
    if len(errors) < least:
        raise CalibrationError(
            f"The calibration has {len(errors)} rows; an interval of {100 * coverage:g} % needs at "
            f"least {least}. Calibrate on more validation rows, or ask for less coverage."
        )
    try:
        from mapie.regression import SplitConformalRegressor
    except ImportError as error:
        raise MissingExtraError("Calibrated intervals", "MAPIE", "calibrate") from error
    places = np.zeros((len(errors), 1))
    regressor = SplitConformalRegressor(_Zero(), confidence_level=coverage, prefit=True)
    regressor.conformalize(places, errors)
    _, bounds = regressor.predict_interval(places[:1])
    return float(bounds[0, 1, 0])


def enough_rows(coverage: float) -> int:
    """Give the least number of rows of which a quantile of this coverage can be had at all."""
    return int(max(1 / coverage, 1 / (1 - coverage)) + 1e-9) + 1


@dataclass(frozen=True)
class Scales:
    """How many spreads an interval reaches to either side: by category, and for all others."""

    own: dict[str, float]
    others: float

    def widths(self, categories: Sequence[Any], spreads: Floats) -> Floats:
        """Give how far the intervals of answers reach to either side: (rows,), as `spreads`."""
        return np.array([self.own.get(name, self.others) for name in categories]) * spreads


def scale_by_category(
    errors: Floats, categories: Sequence[str], groups: Sequence[Any], coverage: float
) -> Scales:
    """Give the quantile of each category that has rows enough, and that of all other ones.

    The others are taken together; where they, too, are few, theirs is the quantile of all rows.

    Raises:
        CalibrationError: there are too few rows for this coverage.
        MissingExtraError: MAPIE is not installed.
    """
    named, numbers = np.array(categories, dtype=object), np.array(groups)
    least = int(np.ceil(ROWS_OUTSIDE / (1 - coverage) - 1e-9))

    def is_enough(rows: Flags) -> bool:
        return rows.sum() >= least and len(set(numbers[rows])) >= GROUPS_OF_CATEGORY

    own = [name for name in sorted(set(categories)) if is_enough(named == name)]
    rest = np.array([name not in own for name in categories], dtype=bool)
    others = rest if is_enough(rest) else np.ones(len(errors), dtype=bool)
    return Scales(
        {name: error_quantile(errors[named == name], coverage) for name in own},
        error_quantile(errors[others], coverage),
    )


class _Zero:
    """A regressor that says 0, fitted already: what is made conformal are errors themselves."""

    fitted_ = True

    def fit(self, *_: Any) -> _Zero:
        """Stay as it is."""
        return self

    def predict(self, places: Floats) -> Floats:
        """Give 0 for each row."""
        return np.zeros(len(places))
