"""The predict stage: products to one JSON object each, or to a table for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.task import Answer

if TYPE_CHECKING:
    from loupe.predict.answering import Answered
    from loupe.predict.run import PredictedFolder

__all__ = ["PredictResult", "predict_pictures"]

WIDEST_CELL = 48
TOLD_APART = {"answer", "certainty", "left_out", "more_pictures", "problem"}
"""Have no column, or come last."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictResult:
    """One object per picture: its path, its fields (where the answer parsed), answer, problem."""

    pictures: list[dict[str, Any]]
    format: str

    def summary(self) -> str:
        """Give one JSON object per line, or a table."""
        if self.format == "table":
            return format_table(self.pictures)
        return "\n".join(json.dumps(each, ensure_ascii=False) for each in self.pictures)

    def to_dict(self) -> dict[str, Any]:
        """Give the objects as one."""
        return {"pictures": self.pictures}


def predict_pictures(options: PredictOptions) -> PredictResult | PredictedFolder:
    """Answer the task's question about each product; one without a picture gets its problem.

    With an output folder answers are written there as they come, else they are given at the end,
    in the order of the products.

    Raises:
        PredictError: no picture is named, or none can be read; the task is not the model's; the
            folder cannot be written.
        StoppedError: a signal ended the run; what is in the folder is kept.
        CalibrationError: certainty is asked for, and the model's calibration cannot give it.
        CheckpointError: no model can be loaded.
        TaskError: the task file declares no task.
        BuildError: a table cannot be read.
        DatasetError: a dataset is not finished.
        MissingExtraError: the engine is not installed.
    """
    # Here, because training and evaluating have no use for tables and downloads.
    from loupe.build.ledger import Rejection
    from loupe.build.progress import Progress
    from loupe.predict.engines import start_engine
    from loupe.predict.run import predict_into_folder
    from loupe.predict.sources import ask_each, find_sources

    if options.asks_certainty:
        _tell_certainty(options)
    if options.output is not None:
        return predict_into_folder(options, describe)
    sources = find_sources(options, None)
    engine = start_engine(options)
    answered: list[Answered] = []
    with Progress(sum(source.count for source in sources), "Answered") as progress:
        for some in engine.answer(ask_each(sources, engine.task), options, None):
            answered += some
            for _, found in some:
                progress.count_one(found if isinstance(found, Rejection) else None)
    answered.sort(key=lambda each: each[0].number)
    if all(isinstance(found, Rejection) for _, found in answered):
        problem = describe(answered[0])["problem"]
        raise PredictError(f"None of the {len(answered)} products can be read. {problem}")
    return PredictResult([describe(each) for each in answered], options.format)


def _tell_certainty(options: PredictOptions) -> None:
    """Tell what can be promised, or refuse, before anything is read."""
    from loupe.predict.certainties import Certainties

    for line in Certainties.prepare(options).shares_given():
        logger.info(line)


def describe(answered: Answered) -> dict[str, Any]:
    """Give the row of a picture: where it is, its fields or none, answer, problem."""
    asked, found = answered
    columns = dict(asked.columns)
    return columns | _describe(found if isinstance(found, Answer) else found.detail)


def _describe(answer: Answer | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"answer": None, "problem": answer}
    from loupe.predict.sources import name_field

    values = {name_field(name): value for name, value in (answer.values or {}).items()}
    # Of a SureAnswer, whose module loads torch: an answer may come from elsewhere.
    certainty = getattr(answer, "certainty", None)
    beside = {} if certainty is None else {"certainty": certainty}
    return {**values, **beside, "answer": answer.text, "problem": answer.problem}


def format_table(described: Sequence[Mapping[str, Any]]) -> str:
    """Lay the objects out in columns; a picture with a problem shows it in place of its fields."""
    found = dict.fromkeys(name for each in described for name in each)
    names = [*(name for name in found if name not in TOLD_APART), "problem"]
    rows = [names, *([_cell(_shown(each, name)) for name in names] for each in described)]
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _shown(described: Mapping[str, Any], name: str) -> Any:
    """Give a field's value, with its interval or how sure it is where that is told."""
    value, beside = described.get(name), (described.get("certainty") or {}).get(name, {})
    if "withheld" in beside:
        return "(withheld)"
    if "interval" in beside:
        low, high = beside["interval"]
        return f"{value} ({low:.6g} to {high:.6g})"
    return f"{value} ({100 * beside['confidence']:.0f} %)" if "confidence" in beside else value


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= WIDEST_CELL else f"{text[: WIDEST_CELL - 1]}…"
