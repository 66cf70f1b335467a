"""Whether a model is as sure as it says: intervals, confidences and what is withheld, on new rows.

Source of the interval of a share of rows that are taken one by one: Wilson, "Probable Inference,
the Law of Succession, and Statistical Inference", 1927. The other intervals draw groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from loupe.certainty import (
    CALIBRATION,
    Calibration,
    Scales,
    Selection,
    bins_of,
    calibration_error,
    risk_by_share,
    widened,
)
from loupe.evaluate.figures import show_number
from loupe.evaluate.intervals import Interval
from loupe.evaluate.look import Seen
from loupe.evaluate.scores import ROUNDING, row_scores
from loupe.evaluate.systems import Measures
from loupe.evaluate.weighted import Mean, Median, Statistic, Values
from loupe.options import EvaluateOptions

__all__ = [
    "Bin",
    "Certainty",
    "ChoiceCertainty",
    "PriceCertainty",
    "find_calibration",
    "measure_certainty",
]

USUAL_ERROR = 0.15  # whose share the risk curve shows where no other is asked for
CURVE_SHARES = np.linspace(0.05, 1, 20)


@dataclass(frozen=True)
class PriceCertainty:
    """Of a price field: its rows' intervals, and how often they hold the truth."""

    field: str
    intervals: Values
    """(rows, 2); NaN where the answer does not parse."""
    scores: dict[str, Interval]
    """`coverage`, `median_relative_width`, `mean_relative_width`."""
    coverage_by_rows: Interval
    """The coverage's interval if rows, not groups, were one piece of evidence each."""
    categories: dict[str, tuple[int, bool, dict[str, Interval]]]
    """By answered category: rows, whether its quantile is its own, scores."""
    error: float
    """What the risk is of: an error above this."""
    risk: list[tuple[float, float]]
    """Share of rows answered, the surest first, and share of those with a larger error."""
    expected_risk: list[tuple[float, float]]
    """The same on the calibration's rows."""
    selection: Selection | None
    """What is answered where errors are to be small, by the calibration; None if not asked."""
    given: dict[str, Interval]
    """Of these rows: `share` that is answered, `hits` of the answered with a small error."""


@dataclass(frozen=True)
class Bin:
    """Rows of nearly one confidence."""

    rows: int
    confidence: float
    right: float


@dataclass(frozen=True)
class ChoiceCertainty:
    """Of a choice field: how far confidence is from being right, before and after calibration."""

    field: str
    temperature: float
    confidences: Values
    """(rows,); NaN where the answer does not parse."""
    scores: dict[str, Interval]
    """`error_before`, `error_after`: expected calibration errors."""
    bins_before: list[Bin]
    bins_after: list[Bin]


@dataclass(frozen=True)
class Certainty:
    """How far a model's certainty can be trusted on the rows evaluated."""

    coverage: float
    calibration: Calibration
    is_shifted: bool
    """Whether the rows are of another dataset than the calibration's."""
    prices: tuple[PriceCertainty, ...]
    choices: tuple[ChoiceCertainty, ...]
    notes: tuple[str, ...]

    def between(self, field: str, row: int) -> str:
        """Write a row's interval and what it promises; empty where there is none."""
        for price in self.prices:
            low, high = price.intervals[row]
            if price.field == field and not np.isnan(low):
                share = f"{100 * self.coverage:g} %"
                return f"{share} from {show_number(low)} to {show_number(high)}"
        return ""

    def columns(self) -> dict[str, Values]:
        """Give what is kept of each row: the ends of intervals, confidences."""
        ends = {
            f"{price.field}_interval_{end}": price.intervals[:, side]
            for price in self.prices
            for side, end in enumerate(("low", "high"))
        }
        return ends | {f"{each.field}_confidence": each.confidences for each in self.choices}

    def to_dict(self) -> dict[str, Any]:
        """Give all of it but the rows as plain data."""
        return {
            "coverage_asked": self.coverage,
            "calibration": {
                "dataset": self.calibration.dataset,
                "split": self.calibration.split,
                "rows": self.calibration.rows,
                "groups": self.calibration.groups,
            },
            "is_shifted": self.is_shifted,
            "prices": {each.field: _price_to_dict(each) for each in self.prices},
            "choices": {each.field: _choice_to_dict(each) for each in self.choices},
            "notes": list(self.notes),
        }


def find_calibration(options: EvaluateOptions) -> Calibration | None:
    """Read the model's calibration; None where it has none, or certainty is left out.

    Raises:
        CalibrationError: it cannot be read, is another model's or has too few rows for the
            coverage, or there is none though prices are to be withheld.
        MissingExtraError: MAPIE is not installed.
    """
    is_there = (Path(options.model) / CALIBRATION).exists()
    if options.coverage is None or not (is_there or options.at_most_error is not None):
        return None
    calibration = Calibration.load(options.model)
    for field in calibration.prices:
        calibration.scales(field, options.price, options.coverage)  # refuses before the work
    return calibration


def measure_certainty(
    calibration: Calibration,
    measures: Measures,
    seen: Seen,
    options: EvaluateOptions,
    fingerprint: str | None,
) -> Certainty | None:
    """Compare intervals and confidences with what is true; None where no answer parses."""
    if all(answer.values is None for answer in seen.answers):
        return None
    coverage = options.coverage or 0.0
    return Certainty(
        coverage,
        calibration,
        fingerprint != calibration.dataset,
        tuple(
            _price(calibration, measures, seen, options, field)
            for field in calibration.prices
            if field in measures.task.fields
        ),
        tuple(
            _choice(calibration, measures, seen, field)
            for field in calibration.choices
            if field in measures.task.fields
        ),
        tuple(_notes(calibration, options, fingerprint)),
    )


def _notes(
    calibration: Calibration, options: EvaluateOptions, fingerprint: str | None
) -> list[str]:
    if fingerprint != calibration.dataset:
        return [
            "The calibration was made of another dataset than this one: what it promises holds for "
            "rows like its own, and here is shown what is left of it."
        ]
    if options.split == calibration.split:
        return ["These are the rows that the calibration was made of; they flatter it."]
    return []


def _price(
    calibration: Calibration,
    measures: Measures,
    seen: Seen,
    options: EvaluateOptions,
    field: str,
) -> PriceCertainty:
    scales = calibration.scales(field, options.price, options.coverage or 0.0)
    deviations = np.array([each.log_deviation(field) for each in seen.readings])
    intervals = calibration.intervals(field, scales, seen.answers, deviations)
    truths = np.array([float(truth[field]) for truth in measures.rows.truths])
    parsed = ~np.isnan(intervals[:, 0])
    holds = (intervals[:, 0] <= truths) & (truths <= intervals[:, 1])
    said = np.sqrt(intervals[:, 0] * intervals[:, 1])
    statistics: dict[str, Mean | Median] = {
        "coverage": Mean(np.where(parsed, holds.astype(float), np.nan)),
        "median_relative_width": Median((intervals[:, 1] - intervals[:, 0]) / said),
        "mean_relative_width": Mean((intervals[:, 1] - intervals[:, 0]) / said),
    }
    error = options.at_most_error or USUAL_ERROR
    ape = row_scores(measures.task, measures.rows.truths, seen.answers, [field])[f"{field}_ape"]
    counts = parsed & ~np.isnan(ape)
    spreads, is_near = widened(deviations), (ape <= error + ROUNDING).astype(float)
    selection, given = None, {}
    if options.at_most_error is not None:
        selection = calibration.select(field, options.price, error, options.error_confidence)
        is_given = counts & (spreads <= (selection.most_spread if selection else -1.0))
        hits = np.where(is_given, is_near, np.nan)
        given = _measure(measures, {"share": Mean(is_given.astype(float)), "hits": Mean(hits)})
    record = calibration.prices[field]
    was_near = record.relative_errors(options.price) <= error + ROUNDING
    return PriceCertainty(
        field,
        intervals,
        _measure(measures, statistics),
        _wilson(int(holds[parsed].sum()), int(parsed.sum()), measures.confidence),
        dict(_categories(calibration, measures, seen, statistics, scales)),
        error,
        _curve(spreads[counts], 1 - is_near[counts]),
        _curve(record.spreads(), 1.0 - was_near),
        selection,
        given,
    )


def _categories(
    calibration: Calibration,
    measures: Measures,
    seen: Seen,
    statistics: dict[str, Mean | Median],
    scales: Scales,
) -> Iterator[tuple[str, tuple[int, bool, dict[str, Interval]]]]:
    """Measure the rows of each answered category."""
    named = [str((each.values or {}).get(calibration.category or "", "")) for each in seen.answers]
    for name in sorted(set(named) - {""}):
        rows = np.flatnonzero(np.array(named, dtype=object) == name)
        part = {each: statistic.of_rows(rows) for each, statistic in statistics.items()}
        draws = measures.draw(part, [measures.rows.groups[row] for row in rows])
        scores = {each: drawn.interval(measures.confidence) for each, drawn in draws.items()}
        yield name, (len(rows), name in scales.own, scores)


def _measure(measures: Measures, statistics: Mapping[str, Statistic]) -> dict[str, Interval]:
    draws = measures.draw(statistics, measures.rows.groups)
    return {name: drawn.interval(measures.confidence) for name, drawn in draws.items()}


def _curve(spreads: Values, missed: Values) -> list[tuple[float, float]]:
    risks = risk_by_share(np.asarray(spreads), np.asarray(missed))
    if not len(risks):
        return []
    counts = np.unique(np.ceil(CURVE_SHARES * len(risks)).astype(int))
    return [(float(count / len(risks)), float(risks[count - 1])) for count in counts]


def _wilson(hits: int, rows: int, confidence: float) -> Interval:
    share, z = hits / rows, NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z * np.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2) / (1 + z * z / rows)
    return Interval(share, float(middle - reach), float(middle + reach))


def _choice(
    calibration: Calibration, measures: Measures, seen: Seen, field: str
) -> ChoiceCertainty:
    rows = [row for row, each in enumerate(seen.readings) if field in each.choices]
    said = [(seen.answers[row].values or {})[field] for row in rows]
    right = np.array(
        [one == measures.rows.truths[row][field] for one, row in zip(said, rows, strict=True)],
        dtype=float,
    )
    held = [seen.readings[row].choices[field] for row in rows]
    places = [each.choices.index(one) for each, one in zip(held, said, strict=True)]
    shares = np.array([each.log_shares for each in held])
    at = np.arange(len(rows)), np.array(places)
    before, after = np.exp(shares)[at], calibration.confidence(field, shares)[at]
    confidences = np.full(len(seen.answers), np.nan)
    confidences[rows] = after
    errors: dict[str, Statistic] = {
        "error_before": lambda weights: calibration_error(before, right, weights[:, rows]),
        "error_after": lambda weights: calibration_error(after, right, weights[:, rows]),
    }
    return ChoiceCertainty(
        field,
        calibration.choices[field].temperature,
        confidences,
        _measure(measures, errors),
        _bins(before, right),
        _bins(after, right),
    )


def _bins(confidences: Values, right: Values) -> list[Bin]:
    numbers = bins_of(confidences)
    return [
        Bin(int(rows.sum()), float(confidences[rows].mean()), float(right[rows].mean()))
        for rows in (numbers == number for number in np.unique(numbers))
    ]


def _price_to_dict(price: PriceCertainty) -> dict[str, Any]:
    selection = price.selection
    return {
        **{name: interval.to_dict() for name, interval in price.scores.items()},
        "coverage_by_rows": price.coverage_by_rows.to_dict(),
        "categories": {
            name: {"rows": rows, "has_own_quantile": own}
            | {each: interval.to_dict() for each, interval in scores.items()}
            for name, (rows, own, scores) in price.categories.items()
        },
        "risk": {
            "error_above": price.error,
            "by_share_answered": _rounded(price.risk),
            "expected_by_calibration": _rounded(price.expected_risk),
        },
        "answered": {
            "calibration_share": selection and round(selection.share, 6),
            "calibration_hits": selection and round(selection.hits, 6),
            **{name: interval.to_dict() for name, interval in price.given.items()},
        }
        if price.given
        else None,
    }


def _choice_to_dict(choice: ChoiceCertainty) -> dict[str, Any]:
    return {
        "temperature": round(choice.temperature, 4),
        **{name: interval.to_dict() for name, interval in choice.scores.items()},
        "bins_before": [_bin_to_dict(each) for each in choice.bins_before],
        "bins_after": [_bin_to_dict(each) for each in choice.bins_after],
    }


def _bin_to_dict(part: Bin) -> dict[str, Any]:
    return {
        "rows": part.rows,
        "confidence": round(part.confidence, 6),
        "right": round(part.right, 6),
    }


def _rounded(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[round(value, 6) for value in point] for point in points]
