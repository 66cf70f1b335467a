"""The calibration of a model: what its validation answers told, in a JSON file beside the model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from loupe.certainty.confidence import tempered
from loupe.certainty.conformal import Scales, scale_by_category
from loupe.certainty.selection import Selection, select
from loupe.errors import CalibrationError, TaskError
from loupe.options import PriceReading
from loupe.task import Answer, Task

__all__ = [
    "CALIBRATION",
    "Calibration",
    "ChoiceRecord",
    "PriceRecord",
    "identify",
    "least_price",
    "log_error",
    "widened",
]

CALIBRATION = "calibration.json"
FORMAT = 1
TRAINING_RECORD = "training.json"
LEAST_DEVIATION = 0.02  # of a price's logarithm: surer than this no distribution is taken to be
MOST_DEVIATION = 1.0  # a factor of e either way: who is less sure knows nothing of the price
AGAIN = "Calibrate again: `loupe calibrate --model MODEL --dataset DATASET --overwrite`"

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class PriceRecord:
    """A price field's errors on the calibration's rows; every sequence has one entry per row."""

    errors: Mapping[str, Sequence[float]]
    """By how prices are read: the logarithm of the truth divided by the answer."""
    deviations: Sequence[float]
    """Standard deviation of the price's logarithm, by the model's own distribution."""
    categories: Sequence[str]
    """What the answers named in the task's first choice field; empty texts where it has none."""
    groups: Sequence[int]
    """Numbers of the rows' groups."""

    def spreads(self) -> Floats:
        """Give how unsure each row is: (rows,)."""
        return widened(self.deviations)

    def relative_errors(self, reading: str) -> Floats:
        """Give |answer - truth| / truth of each row: (rows,)."""
        return np.asarray(np.abs(np.expm1(-np.array(self.errors[reading]))))


@dataclass(frozen=True)
class ChoiceRecord:
    """How a choice field's probabilities become confidences."""

    temperature: float


@dataclass(frozen=True)
class Calibration:
    """What is known of a model's errors, from rows that it was not trained on."""

    task: Task
    """The model's."""
    training: str | None
    """SHA-256 of the model's training record; None where it had none."""
    dataset: str
    """Fingerprint of the dataset."""
    split: str
    decoding: str
    prices: Mapping[str, PriceRecord]
    choices: Mapping[str, ChoiceRecord]
    rows: int
    groups: int

    @property
    def category(self) -> str | None:
        """The field whose answers part the rows of price fields; None where the task has none."""
        return next(
            (name for name, each in self.task.fields.items() if each.type == "choice"), None
        )

    def scales(self, field: str, reading: str, coverage: float) -> Scales:
        """Tell how wide a price field's intervals must be to hold the truth in this share of cases.

        Raises:
            CalibrationError: there are too few rows for this coverage.
            MissingExtraError: MAPIE is not installed.
        """
        record = self.prices[field]
        errors = np.abs(np.array(record.errors[reading])) / record.spreads()
        return scale_by_category(errors, record.categories, record.groups, coverage)

    def intervals(
        self,
        field: str,
        scales: Scales,
        answers: Sequence[Answer],
        deviations: Sequence[float] | Floats,
    ) -> Floats:
        """Give the interval of each answer's price: (rows, 2); NaN where it does not parse.

        Args:
            field: a price field.
            scales: of the field, for the coverage asked for.
            answers: with prices as they are read.
            deviations: of the logarithms of the answers' prices, (rows,).
        """
        values = [answer.values or {} for answer in answers]
        categories = [str(each.get(self.category or "", "")) for each in values]
        least = least_price(self.task, field)
        prices = np.array([max(float(each.get(field, np.nan)), least) for each in values])
        prices[[not each for each in values]] = np.nan
        reach = np.exp(scales.widths(categories, widened(deviations)))
        return np.stack([prices / reach, prices * reach], axis=1)

    def select(self, field: str, reading: str, error: float, confidence: float) -> Selection | None:
        """Tell which answers of a price field have errors small enough; None where none are."""
        record = self.prices[field]
        is_hit = (record.relative_errors(reading) <= error + 1e-9).astype(np.float64)
        return select(record.spreads(), is_hit, confidence)

    def confidence(self, field: str, log_shares: Floats) -> Floats:
        """Give the calibrated probabilities of choices; (..., choices) in and out."""
        return np.asarray(tempered(log_shares, self.choices[field].temperature), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain data: the content of calibration.json."""
        return {
            "format": FORMAT,
            "made_of": {
                "dataset": self.dataset,
                "split": self.split,
                "rows": self.rows,
                "groups": self.groups,
                "decoding": self.decoding,
            },
            "model": {"training": self.training, "task": self.task.to_dict()},
            "prices": {
                name: {
                    "log_errors": {each: _rounded(held) for each, held in record.errors.items()},
                    "log_deviations": _rounded(np.minimum(record.deviations, MOST_DEVIATION)),
                    "categories": list(record.categories),
                    "groups": list(record.groups),
                }
                for name, record in self.prices.items()
            },
            "choices": {
                name: {"temperature": round(record.temperature, 6)}
                for name, record in self.choices.items()
            },
        }

    def digest(self) -> str:
        """Give the SHA-256 of its content."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()

    def save(self, model: str | Path) -> Path:
        """Write it beside a model, whole or not at all."""
        path = Path(model) / CALIBRATION
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(self.to_dict(), allow_nan=False) + "\n", "utf-8")
        partial.replace(path)
        return path

    @classmethod
    def load(cls, model: str | Path) -> Calibration:
        """Read the calibration beside a model.

        Raises:
            CalibrationError: there is none, it cannot be read, or it was made of another model.
        """
        path = Path(model) / CALIBRATION
        if not path.parent.is_dir():
            raise CalibrationError(
                f"There is no model folder {str(model)!r}; a calibration stands in the folder that "
                "`loupe train` wrote. Correct the path, or leave out what asks for certainty."
            )
        if not path.is_file():
            raise CalibrationError(
                f"Model {str(model)!r} has no {CALIBRATION}. Make one: `loupe calibrate --model "
                f"{model} --dataset DATASET`."
            )
        try:
            made = _read(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, TaskError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CalibrationError(
                f"{str(path)!r} cannot be read as a calibration ({reason}). {AGAIN}."
            ) from error
        if made.training != identify(model):
            raise CalibrationError(
                f"{str(path)!r} was made of another model than stands beside it: their training "
                f"records differ. {AGAIN}."
            )
        return made

    def check_use(self, task: Task, decoding: str) -> None:
        """Refuse answers of another form than those that were calibrated.

        Raises:
            CalibrationError: the task or the decoding is another.
        """
        if task.to_dict() != self.task.to_dict():
            raise CalibrationError(
                "The calibration was made for another task than the one asked now. Leave out "
                f"--task, or calibrate the model that learnt this task. {AGAIN}."
            )
        if decoding != self.decoding:
            raise CalibrationError(
                f"The calibration was made with --decoding {self.decoding}, and answers are asked "
                f"for with {decoding}. Use the same for both, or leave certainty out with "
                "--coverage null."
            )


def log_error(task: Task, field: str, true: float, said: float) -> float:
    """Give log(true / said) of a price, both taken to be at least its smallest unit."""
    least = least_price(task, field)
    return math.log(max(true, least) / max(said, least))


def least_price(task: Task, field: str) -> float:
    """Give the smallest unit of a price field, below which its logarithms are not told apart."""
    return float(10.0 ** -getattr(task.fields[field], "decimals", 0))


def widened(deviations: Sequence[float] | Floats) -> Floats:
    """Give spreads from standard deviations of logarithms: (rows,), none quite 0 or endless."""
    known = np.minimum(np.asarray(deviations, dtype=np.float64), MOST_DEVIATION)
    return np.asarray(np.hypot(known, LEAST_DEVIATION))


def identify(model: str | Path) -> str | None:
    """Give the SHA-256 of a model's training record, None where it has none."""
    record = Path(model) / TRAINING_RECORD
    return hashlib.sha256(record.read_bytes()).hexdigest() if record.is_file() else None


def _read(held: Any) -> Calibration:
    """Make a calibration of the content of its file; what it lacks raises KeyError or the like."""
    if held["format"] != FORMAT:
        raise ValueError(f"its format is {held['format']}, expected {FORMAT}")
    task, made_of = Task.from_dict(held["model"]["task"]), held["made_of"]
    prices = {name: _read_price(held["prices"][name]) for name in held["prices"]}
    choices = {
        name: ChoiceRecord(_number(each["temperature"])) for name, each in held["choices"].items()
    }
    unknown = sorted({*prices, *choices} - set(task.fields))
    if unknown or any(each.temperature <= 0 for each in choices.values()):
        raise ValueError(f"fields {unknown} are not the task's, or a temperature is not above 0")
    return Calibration(
        task=task,
        training=held["model"]["training"],
        dataset=str(made_of["dataset"]),
        split=str(made_of["split"]),
        decoding=str(made_of["decoding"]),
        prices=prices,
        choices=choices,
        rows=int(made_of["rows"]),
        groups=int(made_of["groups"]),
    )


def _read_price(held: Any) -> PriceRecord:
    record = PriceRecord(
        {str(name): tuple(map(_number, each)) for name, each in held["log_errors"].items()},
        tuple(map(_number, held["log_deviations"])),
        tuple(map(str, held["categories"])),
        tuple(map(int, held["groups"])),
    )
    columns = [*record.errors.values(), record.deviations, record.categories, record.groups]
    if set(record.errors) != set(get_args(PriceReading)) or len(set(map(len, columns))) != 1:
        raise ValueError(
            "a price has other readings than this Loupe's, or columns of unlike length"
        )
    return record


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number


def _rounded(values: Sequence[float] | Floats) -> list[float]:
    return [round(float(value), 6) for value in values]
