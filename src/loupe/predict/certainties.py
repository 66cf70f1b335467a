"""What is said beside an answer of how sure it is, by the model's calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loupe.certainty import Calibration, Scales, Selection, widened
from loupe.errors import CalibrationError
from loupe.options import Decoding, PredictOptions, PriceReading
from loupe.predict.readings import Reading
from loupe.task import Answer

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor
    from loupe.vlm import Pictures

__all__ = ["Certainties", "SureAnswer", "SureReader"]

WITHHELD = "less sure than the answers for which so small an error is shown"


@dataclass(frozen=True)
class SureAnswer(Answer):
    """An answer with how sure each of its fields is, as plain data; a withheld price is None."""

    certainty: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Certainties:
    """A calibration with what is asked of it."""

    calibration: Calibration
    price: PriceReading
    scales: Mapping[str, Scales]
    """By price field; none where no interval is asked for."""
    selections: Mapping[str, Selection]
    """By price field; none where all prices are given."""

    @classmethod
    def prepare(cls, options: PredictOptions) -> Certainties:
        """Work out the intervals that are asked for, and which prices are given.

        Raises:
            CalibrationError: there is no calibration of this model, it has too few rows, or errors
                are so small nowhere.
            MissingExtraError: MAPIE is not installed.
        """
        price, coverage, at_most_error = options.price, options.coverage, options.at_most_error
        calibration, confidence = Calibration.load(options.model), options.confidence
        fields = list(calibration.prices)
        scales = {field: calibration.scales(field, price, coverage) for field in fields if coverage}
        selections = {}
        for field in fields if at_most_error else []:
            found = calibration.select(field, price, at_most_error or 0.0, confidence)
            wanted = f"an error of at most {100 * (at_most_error or 0):g} %"
            if found is None:
                raise CalibrationError(
                    f"{field}: {wanted} is shown in {100 * confidence:g} % of cases for no share "
                    f"of the calibration's {calibration.rows} rows. Allow a larger error, ask for "
                    "less confidence, or calibrate on more rows."
                )
            selections[field] = found
        return cls(calibration, price, scales, selections)

    def shares_given(self) -> Iterator[str]:
        """Tell for which share of the calibration's rows each price is given."""
        for field, found in self.selections.items():
            yield (
                f"{field}: given for {100 * found.share:.0f} % of the calibration's rows, of which "
                f"{100 * found.hits:.1f} % are near enough; the rest is withheld"
            )

    def describe(
        self, predictor: Predictor, pictures: Sequence[Pictures], answers: Sequence[Answer]
    ) -> list[SureAnswer]:
        """Give one batch's answers, prices read as asked or withheld, and how sure each is.

        answers: with prices as they were said.
        """
        readings = predictor.read(pictures, answers, batch_size=max(1, len(pictures)))
        read = [each.read(predictor.task, self.price) for each in readings]
        intervals = {
            field: self.calibration.intervals(
                field, scales, read, [each.log_deviation(field) for each in readings]
            )
            for field, scales in self.scales.items()
        }
        return [
            self._describe(reading, answer, {field: held[row] for field, held in intervals.items()})
            for row, (reading, answer) in enumerate(zip(readings, read, strict=True))
        ]

    def _describe(
        self, reading: Reading, answer: Answer, intervals: Mapping[str, Sequence[float]]
    ) -> SureAnswer:
        given: dict[str, Any] = dict(answer.values or {})
        beside: dict[str, Any] = {}
        for field, each in reading.choices.items():
            sure = self.calibration.confidence(field, each.log_shares)
            beside[field] = {"confidence": round(float(sure[each.choices.index(given[field])]), 4)}
        for field, distribution in reading.prices.items():
            beside[field] = {"probability": round(distribution.probability(given[field]), 4)}
            if field in intervals:
                beside[field]["interval"] = [float(f"{end:.4g}") for end in intervals[field]]
            if field in self.selections and self._is_unsure(field, reading):
                given[field] = None
                beside[field]["withheld"] = WITHHELD
        return SureAnswer(answer.text, given if answer.values else None, answer.problem, beside)

    def _is_unsure(self, field: str, reading: Reading) -> bool:
        spread = widened([reading.log_deviation(field)])[0]
        return bool(spread > self.selections[field].most_spread)


class SureReader:
    """A predictor whose answers tell how sure they are.

    Raises:
        CalibrationError: the calibration is of another task or decoding.
    """

    def __init__(self, predictor: Predictor, certainties: Certainties, decoding: Decoding) -> None:
        certainties.calibration.check_use(predictor.task, decoding)
        self.task, self.processor = predictor.task, predictor.processor
        self._predictor, self._certainties = predictor, certainties

    def predict(
        self,
        pictures: Sequence[Pictures],
        *,
        batch_size: int,
        max_new_tokens: int,
        decoding: Decoding,
        price: PriceReading,
    ) -> list[Answer]:
        """Answer the task's question about each product, prices read as was prepared."""
        said = self._predictor.predict(
            pictures, batch_size=batch_size, max_new_tokens=max_new_tokens, decoding=decoding
        )
        return [*self._certainties.describe(self._predictor, pictures, said)]

    def check_pictures(self, most: int) -> None:
        """Refuse a model that cannot be asked about so many pictures of one product."""
        self._predictor.check_pictures(most)
