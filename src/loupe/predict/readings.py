"""What a model might have said beside what it said: its prices and choices as distributions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from loupe.options import PriceReading
from loupe.predict.choices import ChoiceDistribution, read_choices
from loupe.predict.prices import PriceDistribution, read_prices
from loupe.task import Answer, Task

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor
    from loupe.vlm import Pictures

__all__ = ["Reading", "read_batch"]

T = TypeVar("T")

POINTS: dict[PriceReading, Callable[[PriceDistribution], float]] = {
    "median": PriceDistribution.median,
    "mean": PriceDistribution.mean,
    "geometric": PriceDistribution.geometric_mean,
}


@dataclass(frozen=True)
class Reading:
    """An answer as it was said, and the distributions of its prices and choices by field.

    There are none where the answer does not parse.
    """

    answer: Answer
    prices: Mapping[str, PriceDistribution] = field(default_factory=dict)
    choices: Mapping[str, ChoiceDistribution] = field(default_factory=dict)

    def read(self, task: Task, price: PriceReading) -> Answer:
        """Give the answer with its prices read in this way, its text as it was said.

        A price stays as it was said where nothing was read.
        """
        if self.answer.values is None or price == "said":
            return self.answer
        points = {
            name: task.fields[name].normalise(POINTS[price](each))
            for name, each in self.prices.items()
            if len(each.values)
        }
        return replace(self.answer, values={**self.answer.values, **points})

    def log_deviation(self, field: str) -> float:
        """Give the standard deviation of a price's logarithm; NaN where no answer parsed."""
        return self.prices[field].log_deviation() if field in self.prices else float("nan")


def read_batch(
    predictor: Predictor,
    pictures: Sequence[Pictures],
    answers: Sequence[Answer],
    *,
    choices: bool = True,
) -> list[Reading]:
    """Read the distributions of one batch, given what was answered; without `choices` of prices."""
    said = {place: answer.values for place, answer in enumerate(answers) if answer.values}
    shown, values = [pictures[place] for place in said], list(said.values())

    def read(names: Iterable[str], reader: Callable[..., Sequence[T]]) -> dict[str, dict[int, T]]:
        return {
            name: dict(zip(said, reader(predictor, shown, values, name), strict=True))
            for name in names
            if said
        }

    fields = predictor.task.fields
    prices = read([name for name, each in fields.items() if each.type == "price"], read_prices)
    closed = [name for name, each in fields.items() if getattr(each, "choices", None)]
    chosen = read(closed if choices else [], read_choices)
    return [
        Reading(answer, _of_row(prices, place), _of_row(chosen, place))
        for place, answer in enumerate(answers)
    ]


def _of_row(found: Mapping[str, Mapping[int, T]], place: int) -> dict[str, T]:
    return {name: of_row[place] for name, of_row in found.items() if place in of_row}
