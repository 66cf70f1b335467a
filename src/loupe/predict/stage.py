"""The predict stage: pictures to one JSON object each, or to a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.predict.pictures import find_pictures, find_products, open_picture
from loupe.predict.predictor import Predictor
from loupe.task import Answer, Task

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PredictResult", "predict_pictures"]

OWN_KEYS = ("picture", "more_pictures", "left_out", "answer", "problem")
WIDEST_CELL = 48


@dataclass(frozen=True)
class PredictResult:
    """One object per product: picture, its fields (where the answer parsed), answer, problem."""

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
    """Answer the task's question about each product; a bad picture gets its problem instead.

    Raises:
        PredictError: no picture is named, or none can be read.
        CheckpointError: no model can be loaded.
        TaskError: the task file declares no task.
    """
    products = (
        find_products(options.pictures)
        if options.together
        else [[path] for path in find_pictures(options.pictures)]
    )
    if not products:
        raise PredictError(
            f"There is no picture in {', '.join(options.pictures)}; name picture files or folders."
        )
    predictor = Predictor.load(
        options.model,
        task=Task.load(options.task) if options.task else None,
        device=options.device,
        threads=options.threads,
    )
    if (most := max(map(len, products))) > 1:
        predictor.check_pictures(most)
    answered = list(_answer_each(predictor, products, options))
    problems = [str(each["problem"]) for each in answered if each["answer"] is None]
    if len(problems) == len(answered):
        raise PredictError(f"None of the {len(answered)} pictures can be read. {problems[0]}")
    return PredictResult(answered, options.format)


def _answer_each(
    predictor: Predictor, products: Sequence[Sequence[Path]], options: PredictOptions
) -> Iterator[dict[str, Any]]:
    from tqdm import tqdm

    with tqdm(total=len(products), unit="picture", leave=False, disable=None) as bar:
        for start in range(0, len(products), options.batch_size):
            batch = products[start : start + options.batch_size]
            opened = [[_try_to_open(path) for path in product] for product in batch]
            shown = [[each for each in one if not isinstance(each, str)] for one in opened]
            readable = [pictures for pictures in shown if pictures]
            answers = iter(
                predictor.predict(
                    readable,
                    batch_size=options.batch_size,
                    max_new_tokens=options.max_new_tokens,
                    decoding=options.decoding,
                    price=options.price,
                )
            )
            for product, one in zip(batch, opened, strict=True):
                problems = [each for each in one if isinstance(each, str)]
                is_lost = len(problems) == len(one)
                yield _describe(product, problems, None if is_lost else next(answers))
            bar.update(len(batch))


def _try_to_open(path: Path) -> Image.Image | str:
    """Open a picture, or say why it cannot be: that is the picture's problem, not the run's."""
    try:
        return open_picture(path)
    except PredictError as error:
        return str(error)


def _describe(
    product: Sequence[Path], problems: Sequence[str], answer: Answer | None
) -> dict[str, Any]:
    """Tell of one product; of pictures that cannot be read where others can, in `left_out`."""
    main, *more = map(str, product)
    told: dict[str, Any] = {"picture": main} | ({"more_pictures": more} if more else {})
    if answer is None:
        return {**told, "answer": None, "problem": " ".join(problems)}
    if problems:
        told["left_out"] = list(problems)
    values = {
        f"{name}_field" if name in OWN_KEYS else name: value
        for name, value in (answer.values or {}).items()
    }
    return {**told, **values, "answer": answer.text, "problem": answer.problem}


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
