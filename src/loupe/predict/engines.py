"""Where pictures are answered: in this process, on a Ray cluster, or by vLLM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from loupe.options import PredictOptions
from loupe.predict.answering import Answered, Reader, answer_each
from loupe.predict.predictor import Predictor
from loupe.predict.sources import Asked
from loupe.task import Task

__all__ = ["Engine", "load_predictor", "start_engine"]


class Engine(Protocol):
    """Answers a stream of pictures."""

    task: Task

    def answer(
        self, asked: Iterable[Asked], options: PredictOptions, scratch: Path | None
    ) -> Iterator[list[Answered]]:
        """Give answers as they come, each with what it answers."""


def start_engine(options: PredictOptions) -> Engine:
    """Start what the option engine names.

    Raises:
        MissingExtraError: it is not installed.
        CheckpointError: no model can be loaded.
        TaskError: the task file declares no task.
        PredictError: the cluster cannot be reached, or vLLM cannot read the model.
    """
    return OneReader(load_predictor(options))


class OneReader:
    """An engine of one model that this process talks to."""

    def __init__(self, reader: Reader) -> None:
        self.task = reader.task
        self._reader = reader

    def answer(
        self, asked: Iterable[Asked], options: PredictOptions, scratch: Path | None
    ) -> Iterator[list[Answered]]:
        """Give answers as they come."""
        return answer_each(self._reader, asked, options, scratch)


def load_predictor(options: PredictOptions) -> Predictor:
    """Load the model with its task."""
    return Predictor.load(
        options.model,
        task=Task.load(options.task) if options.task else None,
        device=options.device,
        threads=options.threads,
    )
