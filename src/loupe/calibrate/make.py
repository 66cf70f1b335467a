"""Answers and truths of the calibration's rows become a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from loupe.certainty import Calibration, ChoiceRecord, PriceRecord, fit_temperature, log_error
from loupe.errors import CalibrationError
from loupe.options import PriceReading
from loupe.predict.readings import Reading
from loupe.task import Answer, Task

__all__ = ["FEWEST_ROWS", "make_calibration"]

FEWEST_ROWS = 20

Row = Mapping[str, Any]


def make_calibration(
    task: Task,
    truths: Sequence[Row],
    readings: Sequence[Reading],
    groups: Sequence[str],
    origin: Mapping[str, Any],
) -> Calibration:
    """Make a calibration of answers, their distributions and what is true.

    Rows whose answer does not parse are left out: they get no interval later either.

    Args:
        task: the model's.
        truths: the rows' true values.
        readings: the answers, one per row.
        groups: of the rows.
        origin: `training`, `dataset`, `split` and `decoding` of the calibration.

    Raises:
        CalibrationError: too few answers parse.
    """
    rows = [row for row, each in enumerate(readings) if each.answer.values is not None]
    if len(rows) < FEWEST_ROWS:
        raise CalibrationError(
            f"{len(rows)} of the {len(readings)} answers parse; a calibration needs at least "
            f"{FEWEST_ROWS}. Calibrate on more validation rows."
        )
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = [names[groups[row]] for row in rows]
    kept = [truths[row] for row in rows], [readings[row] for row in rows]
    category = next((name for name, each in task.fields.items() if each.type == "choice"), None)
    return Calibration(
        task=task,
        prices={
            name: _price_record(task, name, category, *kept, numbers)
            for name, each in task.fields.items()
            if each.type == "price"
        },
        choices={name: _choice_record(name, *kept) for name in kept[1][0].choices},
        rows=len(rows),
        groups=len(set(numbers)),
        **origin,
    )


def _price_record(
    task: Task,
    field: str,
    category: str | None,
    truths: Sequence[Row],
    readings: Sequence[Reading],
    groups: Sequence[int],
) -> PriceRecord:
    return PriceRecord(
        errors={
            each: [
                log_error(task, field, truth[field], _said(reading.read(task, each), field))
                for truth, reading in zip(truths, readings, strict=True)
            ]
            for each in get_args(PriceReading)
        },
        deviations=[reading.log_deviation(field) for reading in readings],
        categories=[
            str(_said(reading.answer, category)) if category else "" for reading in readings
        ],
        groups=groups,
    )


def _choice_record(field: str, truths: Sequence[Row], readings: Sequence[Reading]) -> ChoiceRecord:
    shares = np.array([reading.choices[field].log_shares for reading in readings])
    said = [_said(reading.answer, field) for reading in readings]
    places = [
        each.choices[field].choices.index(one) for each, one in zip(readings, said, strict=True)
    ]
    right = [float(one == truth[field]) for one, truth in zip(said, truths, strict=True)]
    return ChoiceRecord(fit_temperature(shares, np.array(places), np.array(right)))


def _said(answer: Answer, field: str) -> Any:
    return (answer.values or {})[field]
