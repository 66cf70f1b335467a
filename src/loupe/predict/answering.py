"""Answer a stream of products with one model: in batches by length, whatever a picture does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loupe.build.ledger import Reason, Rejection
from loupe.errors import PredictError
from loupe.options import Decoding, PredictOptions, PriceReading
from loupe.predict.opening import Opened, cut_batches, open_ahead
from loupe.predict.sources import Asked
from loupe.task import Answer, Task

if TYPE_CHECKING:
    from loupe.vlm import Pictures

__all__ = ["Answered", "Reader", "answer_each"]

_MOST_FAILURES = 8  # in a row: then it is not the pictures, but a model or a GPU that is lost

Answered = tuple[Asked, Answer | Rejection]


class Reader(Protocol):
    """Whatever answers products: a `Predictor`, or a model elsewhere."""

    task: Task
    processor: Any

    def predict(
        self,
        pictures: Sequence[Pictures],
        *,
        batch_size: int,
        max_new_tokens: int,
        decoding: Decoding,
        price: PriceReading,
    ) -> list[Answer]:
        """Answer the task's question about each product: its picture, or its pictures."""

    def check_pictures(self, most: int) -> None:
        """Refuse a model that cannot be asked about so many pictures of one product.

        Raises:
            LoupeError: it takes fewer at a time.
        """


def answer_each(
    reader: Reader,
    asked: Iterable[Asked],
    options: PredictOptions,
    scratch: Path | None = None,
) -> Iterator[list[Answered]]:
    """Answer products some at a time, as they come; who cannot be read or answered has a reason.

    Within a few batches the order is by length: each answer comes with what it answers.

    Raises:
        PredictError: products cannot be answered, one like the other.
        LoupeError: the model takes fewer pictures of one product.
    """
    answer = _Answering(reader, options)
    count = _token_counter(reader, options)
    for window in open_ahead(asked, reader.processor, options, scratch):
        rejected: list[Answered] = [(each.asked, each.lost) for each in window if each.lost]
        if rejected:
            yield rejected
        readable = [each for each in window if not each.lost]
        lengths = [count(each.sizes) for each in readable]
        budget = options.batch_tokens if any(lengths) else None
        for places in cut_batches(lengths, options.batch_size, budget):
            yield answer.answer([readable[place] for place in places])


class _Answering:
    """Answers batches; one that fails is halved until it is known which product is at fault."""

    def __init__(self, reader: Reader, options: PredictOptions) -> None:
        self._reader = reader
        self._options = options
        self._failures = 0  # in a row
        self._most_pictures = 1  # that the reader is known to take of one product

    def answer(self, batch: Sequence[Opened]) -> list[Answered]:
        """Answer a batch.

        Raises:
            PredictError: one failure after the other.
            LoupeError: the model takes fewer pictures of one product.
        """
        options = self._options
        most = max(len(each.pictures) for each in batch)
        if most > self._most_pictures:
            self._reader.check_pictures(most)
            self._most_pictures = most
        pictures = [each.pictures for each in batch]
        try:
            answers = self._reader.predict(
                pictures,
                batch_size=options.batch_size,
                max_new_tokens=options.max_new_tokens,
                decoding=options.decoding,
                price=options.price,
            )
        except (RuntimeError, ValueError, PredictError) as error:  # out of memory is the first
            why = _first_line(error)  # its traceback would hold the batch in memory
        else:
            self._failures = 0
            return [(each.asked, answer) for each, answer in zip(batch, answers, strict=True)]
        if len(batch) > 1:
            half = len(batch) // 2
            return self.answer(batch[:half]) + self.answer(batch[half:])
        return [(batch[0].asked, self._give_up_on(batch[0], why))]

    def _give_up_on(self, opened: Opened, why: str) -> Rejection:
        self._failures += 1
        if self._failures == _MOST_FAILURES:
            raise PredictError(
                f"{_MOST_FAILURES} products in a row cannot be answered: {why}. Where memory is "
                "short, lower num_crops in preprocessor_config.json; what is done is kept, and "
                "--retry failed tries these again."
            )
        sizes = " and ".join(f"{width}×{height}" for width, height in opened.sizes)
        detail = f"{sizes} px cannot be answered: {why}"
        return Rejection(Reason.UNANSWERABLE, detail)


def _token_counter(
    reader: Reader, options: PredictOptions
) -> Callable[[Sequence[tuple[int, int]]], int]:
    """Give how many tokens pictures of (width, height) take, with question and longest answer.

    0 for families of which it is not known beforehand.
    """
    from loupe.vlm import make_dialogue

    processor = reader.processor
    if not hasattr(processor.image_processor, "count_image_tokens"):
        return lambda _: 0
    prompt = make_dialogue(processor, reader.task.question).prompt
    others = len(processor.tokenizer(prompt)["input_ids"]) + options.max_new_tokens
    count = processor.image_processor.count_image_tokens
    return lambda sizes: sum(int(count(height, width)) for width, height in sizes) + others


def _first_line(error: Exception) -> str:
    """Give what an error says first, or what it is."""
    return (str(error).splitlines() or [type(error).__name__])[0]
