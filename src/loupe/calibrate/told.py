"""What a calibration says of its own rows, as data and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from loupe.certainty import Calibration, calibration_error
from loupe.errors import CalibrationError
from loupe.evaluate.figures import align_columns, figure_of
from loupe.evaluate.intervals import Draws, Interval, resample
from loupe.evaluate.scores import answer_statistics
from loupe.options import PriceReading
from loupe.predict.readings import Reading

__all__ = ["Answered", "describe", "measure"]

CONFIDENCE = 0.95  # of the intervals that are told
COVERAGE = 0.9  # of the widths that are told
SCORES = ("median_ape", "mae", "mean_abs_log_error")
AIMS = ((0.15, 0.9), (0.25, 0.8), (0.5, 0.9))  # an error, and the share of answers within it

READINGS: tuple[PriceReading, ...] = get_args(PriceReading)


@dataclass(frozen=True)
class Answered:
    """The calibration's rows: what is true, what was answered, which group each belongs to."""

    truths: Sequence[Mapping[str, Any]]
    readings: Sequence[Reading]
    groups: Sequence[str]
    resamples: int
    seed: int


def measure(calibration: Calibration, answered: Answered) -> dict[str, Any]:
    """Say how each reading of prices does, how wide intervals are, and what can be promised."""
    return {
        "rows": calibration.rows,
        "groups": calibration.groups,
        "unparsed": len(answered.readings) - calibration.rows,
        "prices": {
            field: _measure_price(calibration, field, answered) for field in calibration.prices
        },
        "choices": {
            field: _measure_choice(calibration, field, answered) for field in calibration.choices
        },
    }


def describe(calibration: Calibration, told: Mapping[str, Any]) -> Iterator[str]:
    """Write what `measure` found as lines of text."""
    yield (
        f"{told['rows']:,} {calibration.split} rows in {told['groups']:,} groups; "
        f"{told['unparsed']:,} answers do not parse."
    )
    for field, held in told["prices"].items():
        yield ""
        yield from align_columns(list(_price_table(calibration, field, held)))
        yield (
            f"  {100 * held['unread_share']:.1f} % of the prices' probability is not followed. The "
            "last columns: which share of the answers may be given."
        )
    for field, held in told["choices"].items():
        before, after = (Interval(**held[name]) for name in ("error_before", "error_after"))
        yield ""
        yield (
            f"{field}: temperature {held['temperature']:.3g}; calibration error in points "
            f"{_points(before)} before it, {_points(after)} with it, on the rows that chose it."
        )


def _measure_price(calibration: Calibration, field: str, answered: Answered) -> dict[str, Any]:
    unread = [each.prices[field].unread for each in answered.readings if field in each.prices]
    draws = {reading: _draw(calibration, field, reading, answered) for reading in READINGS}
    return {
        "unread_share": round(float(np.mean(unread)), 6),
        "readings": {
            reading: {
                "errors": {
                    name: {
                        **drawn.interval(CONFIDENCE).to_dict(),
                        "less_than_said": draws["said"][name]
                        .minus(drawn)
                        .interval(CONFIDENCE)
                        .to_dict(),
                    }
                    for name, drawn in draws[reading].items()
                },
                "interval_width": _width(calibration, field, reading),
                "answered": [
                    {"at_most_error": error, "confidence": share, "share": found and found.share}
                    for error, share in AIMS
                    for found in [calibration.select(field, reading, error, share)]
                ],
            }
            for reading in READINGS
        },
    }


def _draw(
    calibration: Calibration, field: str, reading: PriceReading, answered: Answered
) -> dict[str, Draws]:
    task = calibration.task
    answers = [each.read(task, reading) for each in answered.readings]
    statistics = answer_statistics(task, answered.truths, answers, [field])
    wanted = {f"{field}_{end}": statistics[f"{field}_{end}"] for end in SCORES}
    return resample(wanted, answered.groups, resamples=answered.resamples, seed=answered.seed)


def _width(calibration: Calibration, field: str, reading: PriceReading) -> float | None:
    """Give the median width relative to the answer; None where there are too few rows."""
    record = calibration.prices[field]
    try:
        scales = calibration.scales(field, reading, COVERAGE)
    except CalibrationError:
        return None
    reach = scales.widths(record.categories, record.spreads())
    return round(float(np.median(2 * np.sinh(reach))), 4)


def _measure_choice(calibration: Calibration, field: str, answered: Answered) -> dict[str, Any]:
    rows = [row for row, each in enumerate(answered.readings) if field in each.choices]
    said = [(answered.readings[row].answer.values or {})[field] for row in rows]
    shares = [answered.readings[row].choices[field] for row in rows]
    pairs = list(zip(shares, said, strict=True))
    right = np.array(
        [float(one == answered.truths[row][field]) for one, row in zip(said, rows, strict=True)]
    )
    before = np.array([each.probability(one) for each, one in pairs])
    after = np.array(
        [
            calibration.confidence(field, each.log_shares)[each.choices.index(one)]
            for each, one in pairs
        ]
    )
    drawn = resample(
        {
            "error_before": lambda weights: calibration_error(before, right, weights),
            "error_after": lambda weights: calibration_error(after, right, weights),
        },
        [answered.groups[row] for row in rows],
        resamples=answered.resamples,
        seed=answered.seed,
    )
    held = {name: each.interval(CONFIDENCE).to_dict() for name, each in drawn.items()}
    return {"temperature": round(calibration.choices[field].temperature, 4), **held}


def _price_table(
    calibration: Calibration, field: str, held: Mapping[str, Any]
) -> Iterator[list[str]]:
    figures = [figure_of(calibration.task, f"{field}_{end}") for end in SCORES]
    aims = [f"≤ {100 * error:g} % in {100 * share:g} %" for error, share in AIMS]
    gain = f"less than said ({100 * CONFIDENCE:g} %)"
    width = f"{100 * COVERAGE:g} % width"
    yield [field, figures[0].label, gain, *(each.label for each in figures[1:]), width, *aims]
    for reading, found in held["readings"].items():
        errors = list(found["errors"].values())
        less = Interval(**errors[0]["less_than_said"])
        reach = found["interval_width"]
        yield [
            f"  {reading}",
            figures[0].show(errors[0]["value"]),
            "" if reading == "said" else _points(less),
            *(f.show(each["value"]) for f, each in zip(figures[1:], errors[1:], strict=True)),
            "too few rows" if reach is None else f"{100 * reach:.0f} %",
            *(
                "none" if each["share"] is None else f"{100 * each['share']:.0f} %"
                for each in found["answered"]
            ),
        ]


def _points(interval: Interval) -> str:
    value, low, high = (100 * each for each in (interval.value, interval.low, interval.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})"
