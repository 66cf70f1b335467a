"""Scores of the model as it stands: loss on validation rows, and their free-running answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from loupe import vlm
from loupe.errors import TrainError
from loupe.evaluate.scores import row_scores, score_answers
from loupe.predict import Predictor
from loupe.task import Answer, Task
from loupe.tracking import PredictedRow
from loupe.train.batches import Collator, ExampleDataset, count_scored
from loupe.train.examples import Sample

__all__ = ["Validation", "check_best_metric"]

LOSS = "loss"
SPARE_TOKENS = 8  # beyond the longest true answer


class Validation:
    """Validation rows that are answered from time to time.

    Args:
        predictor: the model in training, with processor and task.
        rows: validation examples with their pictures, unvaried.
        truths: their typed values, in the same order.
        batch_size: samples at a time.
    """

    def __init__(
        self,
        predictor: Predictor,
        rows: ExampleDataset,
        truths: Sequence[Mapping[str, Any]],
        batch_size: int,
    ) -> None:
        self._predictor = predictor
        self._rows = rows
        self._truths = truths
        self._batch_size = batch_size
        self._collate = Collator(predictor.processor)
        longest = max((len(example.answer_ids) for example in rows.examples), default=0)
        self._max_new_tokens = longest + SPARE_TOKENS

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self._rows)

    def score(self) -> tuple[dict[str, float], list[Answer]]:
        """Give loss and scores, and the answers behind them."""
        pictures = [self._rows.picture(place) for place in range(len(self._rows))]
        answers = self._predictor.predict(
            pictures,
            batch_size=self._batch_size,
            max_new_tokens=self._max_new_tokens,
            decoding="free",
        )
        scores = score_answers(self._predictor.task, self._truths, answers)
        return {LOSS: self._loss(), **scores}, answers

    def predicted_rows(self, answers: Sequence[Answer], count: int) -> list[PredictedRow]:
        """Show the first answers beside their truths, pictures and scores."""
        answers = answers[:count]
        examples = self._rows.examples[: len(answers)]
        scores = row_scores(self._predictor.task, self._truths[: len(answers)], answers)
        return [
            PredictedRow(
                example.row_id,
                self._rows.picture(place),
                example.answer,
                answer.text,
                {name: _plain(values[place]) for name, values in scores.items()},
            )
            for place, (example, answer) in enumerate(zip(examples, answers, strict=True))
        ]

    @torch.no_grad()
    def _loss(self) -> float:
        """Mean cross-entropy of the answers' tokens, over all rows."""
        model = self._predictor.model
        was_training = model.training
        model.eval()
        total, count = 0.0, 0
        for batch in self._batches():
            scored = count_scored(batch["labels"])
            loss = _answer_loss(model, batch)
            total += float(loss) * scored
            count += scored
        model.train(was_training)
        return total / max(count, 1)

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        device = self._predictor.model.device
        for start in range(0, len(self._rows), self._batch_size):
            places = range(start, min(start + self._batch_size, len(self._rows)))
            samples = [
                Sample(self._rows.examples[place], self._rows.picture(place)) for place in places
            ]
            batch = self._collate(samples)
            del batch["row_ids"]
            yield {name: value.to(device) for name, value in batch.items()}


def _plain(value: float) -> float | None:
    """Write a score of one row as JSON can: None where the row does not count."""
    return float(value) if math.isfinite(value) else None


def _answer_loss(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    if vlm.has_answer_loss(model):
        loss: torch.Tensor = model(**batch, return_logits=False).loss
        return loss
    inputs, labels = vlm.set_answers_apart(model, batch)
    return vlm.answer_loss(model(**inputs), labels)


def check_best_metric(name: str, task: Task, truths: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a score that these rows cannot have.

    Raises:
        TrainError: there is no such score; the message lists those that there are.
    """
    if name == LOSS:
        return
    perfect = [Answer(task.format(truth), dict(truth)) for truth in truths]
    names = [LOSS, *score_answers(task, truths, perfect)]
    if name not in names:
        raise TrainError(f"best_metric {name!r} is no score of this task: {', '.join(names)}.")
