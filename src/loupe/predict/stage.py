"""The predict stage: pictures to one JSON object each, or to a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.predict.pictures import find_pictures, open_picture
from loupe.predict.predictor import Predictor
from loupe.predict.tasks import choose_task
from loupe.task import Answer

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PredictResult", "predict_pictures"]

OWN_KEYS = ("picture", "answer", "problem")
WIDEST_CELL = 48


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


def predict_pictures(options: PredictOptions) -> PredictResult:
    """Answer the task's question about each picture; a bad picture gets its problem instead.

    Raises:
        PredictError: no picture is named, none can be read, or the task is not the model's.
        CheckpointError: no model can be loaded.
        TaskError: the task file declares no task.
    """
    paths = find_pictures(options.pictures)
    if not paths:
        raise PredictError(
            f"There is no picture in {', '.join(options.pictures)}; name picture files or folders."
        )
    predictor = Predictor.load(
        options.model,
        task=choose_task(options.model, options.task),
        device=options.device,
        threads=options.threads,
    )
    answered = list(_answer_each(predictor, paths, options))
    problems = [str(each["problem"]) for each in answered if each["answer"] is None]
    if len(problems) == len(answered):
        raise PredictError(f"None of the {len(answered)} pictures can be read. {problems[0]}")
    return PredictResult(answered, options.format)


def _answer_each(
    predictor: Predictor, paths: Sequence[Path], options: PredictOptions
) -> Iterator[dict[str, Any]]:
    from tqdm import tqdm

    with tqdm(total=len(paths), unit="picture", leave=False, disable=None) as bar:
        for start in range(0, len(paths), options.batch_size):
            batch = paths[start : start + options.batch_size]
            opened = [_try_to_open(path) for path in batch]
            readable = [each for each in opened if not isinstance(each, str)]
            answers = iter(
                predictor.predict(
                    readable,
                    batch_size=options.batch_size,
                    max_new_tokens=options.max_new_tokens,
                    decoding=options.decoding,
                    price=options.price,
                )
            )
            for path, each in zip(batch, opened, strict=True):
                yield _describe(path, each if isinstance(each, str) else next(answers))
            bar.update(len(batch))


def _try_to_open(path: Path) -> Image.Image | str:
    """Open a picture, or say why it cannot be: that is the picture's problem, not the run's."""
    try:
        return open_picture(path)
    except PredictError as error:
        return str(error)


def _describe(path: Path, answer: Answer | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"picture": str(path), "answer": None, "problem": answer}
    values = {
        f"{name}_field" if name in OWN_KEYS else name: value
        for name, value in (answer.values or {}).items()
    }
    return {"picture": str(path), **values, "answer": answer.text, "problem": answer.problem}


def format_table(described: Sequence[Mapping[str, Any]]) -> str:
    """Lay the objects out in columns; a picture with a problem shows it in place of its fields."""
    names = [name for each in described for name in each if name not in OWN_KEYS]
    names = ["picture", *dict.fromkeys(names), "problem"]
    rows = [names, *([_cell(each.get(name)) for name in names] for each in described)]
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= WIDEST_CELL else f"{text[: WIDEST_CELL - 1]}…"
