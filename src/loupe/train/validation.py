"""Scores of the model as it stands: loss on validation rows, and their free-running answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from loupe import vlm
from loupe.errors import TrainError
from loupe.evaluate.scores import row_scores, score_answers
from loupe.predict import Predictor
from loupe.task import Answer, Task
from loupe.tracking import PredictedRow
from loupe.train import processes
from loupe.train.batches import Collator, ExampleDataset, count_scored
from loupe.train.examples import Sample

__all__ = ["Validation", "check_best_metric"]

logger = logging.getLogger(__name__)

LOSS = "loss"
ANSWERED = "answered_rows"
SPARE_TOKENS = 8  # beyond the longest true answer


class Validation:
    """Validation rows that are answered from time to time, by all processes of a run together.

    Args:
        predictor: the model in training, with processor and task.
        rows: validation examples with their pictures, unvaried.
        truths: their typed values, in the same order.
        batch_size: samples at a time, in each process.
        seconds: time for the answers of all rows; what is not answered by then is not scored. None
            for any time.
    """

    def __init__(
        self,
        predictor: Predictor,
        rows: ExampleDataset,
        truths: Sequence[Mapping[str, Any]],
        batch_size: int,
        seconds: float | None = None,
    ) -> None:
        self._predictor = predictor
        self._rows = rows
        self._truths = truths
        self._batch_size = batch_size
        self._seconds = seconds
        self._now = processes.MainTime()
        self._collate = Collator(predictor.processor)
        longest = max((len(example.answer_ids) for example in rows.examples), default=0)
        self._max_new_tokens = longest + SPARE_TOKENS

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self._rows)

    def score(
        self, is_stopped: Callable[[], bool] = lambda: False
    ) -> tuple[dict[str, float], list[Answer]] | None:
        """Give loss and scores, and the answers behind them: of all rows, or of the first ones.

        `is_stopped` is asked after each batch; once it is so, there is nothing to give.
        """
        loss, count = self._loss(), len(self._rows)
        answers = self._answer(is_stopped)
        if answers is None:
            return None
        scores = {LOSS: loss, **self._score(answers)}
        if len(answers) < count:
            scores[ANSWERED] = float(len(answers))
            logger.info(
                "Only %s of %s validation rows were answered in the %.3g minutes of "
                "evaluation_minutes; their answers are scored, and the loss of all.",
                len(answers),
                count,
                (self._seconds or 0.0) / 60,
            )
        return scores, answers

    def _score(self, answers: Sequence[Answer]) -> dict[str, float]:
        return score_answers(self._predictor.task, self._truths[: len(answers)], answers)

    def _answer(self, is_stopped: Callable[[], bool]) -> list[Answer] | None:
        """Answer rows in their order as long as there is time; None once it is stopped."""
        own: dict[int, Answer] = {}
        self._now.tick()
        began = self._now()
        for places in self._own_shares():
            answers = self._predictor.predict(
                [self._rows.pictures(place) for place in places or [0]],
                batch_size=self._batch_size,
                max_new_tokens=self._max_new_tokens,
                decoding="free",
            )
            own |= zip(places, answers, strict=False)
            if is_stopped():
                return None
            self._now.tick()
            if self._seconds is not None and self._now() - began >= self._seconds:
                break
        told = {place: answer for each in processes.gather(own) for place, answer in each.items()}
        return [told[place] for place in sorted(told)]

    def _own_shares(self) -> Iterator[range]:
        """Give this process's share of each batch, as places of rows.

        An empty one still has to be computed for something: where the model is divided among the
        processes, each step of one is a step of all.
        """
        for start in range(0, len(self._rows), self._batch_size * processes.count()):
            begin = start + self._batch_size * processes.place()
            yield range(*slice(begin, begin + self._batch_size).indices(len(self._rows)))

    def predicted_rows(self, answers: Sequence[Answer], count: int) -> list[PredictedRow]:
        """Show the first answers beside their truths, main pictures and scores."""
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
        for places in self._own_shares():
            batch = self._batch(places or [0])
            scored = count_scored(batch["labels"]) if places else 0
            total += float(_answer_loss(model, batch)) * scored
            count += scored
        model.train(was_training)
        shares = processes.gather((total, count))
        return sum(total for total, _ in shares) / max(sum(count for _, count in shares), 1)

    def _batch(self, places: Sequence[int]) -> dict[str, torch.Tensor]:
        device = self._predictor.model.device
        samples = [
            Sample(self._rows.examples[place], self._rows.pictures(place)) for place in places
        ]
        batch = self._collate(samples)
        del batch["row_ids"]
        return {name: value.to(device) for name, value in batch.items()}


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
