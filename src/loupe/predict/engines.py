"""Where pictures are answered: in this process, on a Ray cluster, or by vLLM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from loupe.options import PredictOptions
from loupe.predict.answering import Answered, Reader, answer_each
from loupe.predict.predictor import Predictor
from loupe.predict.sources import Asked
from loupe.predict.tasks import choose_task
from loupe.task import Task

__all__ = ["Engine", "load_predictor", "start_engine"]

_AT_A_TIME = 64  # for vLLM; 8 times as many are open at a time


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
    if options.engine == "ray":
        from loupe.predict.ray_engine import RayCluster

        return RayCluster(options)
    if options.engine == "vllm":
        from loupe.predict.vllm_engine import VllmReader

        return OneReader(VllmReader(options), at_a_time=_AT_A_TIME)
    return OneReader(load_predictor(options))


class OneReader:
    """An engine of one model that this process talks to.

    A model that makes its own batches is given `at_a_time` pictures in place of a batch.
    """

    def __init__(self, reader: Reader, at_a_time: int | None = None) -> None:
        self.task = reader.task
        self._reader = reader
        self._at_a_time = at_a_time

    def answer(
        self, asked: Iterable[Asked], options: PredictOptions, scratch: Path | None
    ) -> Iterator[list[Answered]]:
        """Give answers as they come."""
        if self._at_a_time is not None:
            options = replace(options, batch_size=self._at_a_time, batch_tokens=None)
        return answer_each(self._reader, asked, options, scratch)


def load_predictor(options: PredictOptions) -> Reader:
    """Load the model with its task, and its grammar where answers are guided.

    Where certainty is asked for, its answers tell it.
    """
    predictor = Predictor.load(
        options.model,
        task=choose_task(options.model, options.task),
        device=options.device,
        threads=options.threads,
    )
    if options.decoding == "guided":
        _ = predictor.grammar  # which tells at once where there can be none
    if not options.asks_certainty:
        return predictor
    from loupe.predict.certainties import Certainties, SureReader

    return SureReader(predictor, Certainties.prepare(options), options.decoding)
