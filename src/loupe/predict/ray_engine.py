"""Answer pictures on the workers of a Ray cluster; the driver writes each block as it comes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loupe.certainty import Calibration
from loupe.errors import MissingExtraError, PredictError
from loupe.options import PredictOptions
from loupe.predict.answering import Answered, answer_each
from loupe.predict.engines import load_predictor
from loupe.predict.predictor import task_beside
from loupe.predict.sources import Asked
from loupe.predict.tasks import choose_task
from loupe.vlm import load_processor

__all__ = ["RayCluster"]

_BLOCK_BATCHES = 8  # what is done again where a worker dies
_BLOCKS_EACH = 2  # handed to a worker: one that it answers, and one that waits
_RESTARTS = 3  # of a worker


class RayCluster:
    """An engine of models on the cluster of RAY_ADDRESS, else on one of this machine.

    Local pictures, and a model's folder, must lie where every machine can read them.

    Raises:
        MissingExtraError: Ray is not installed.
        PredictError: the cluster cannot be reached.
        CheckpointError: there is no such model.
        CalibrationError: certainty is asked for, and the calibration is of another task.
    """

    def __init__(self, options: PredictOptions) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(
                "Answering on a cluster (--engine ray)", "ray", "ray"
            ) from error
        load_processor(options.model)  # which tells soon, and in plain words, what is missing
        try:
            ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PredictError(
                f"The Ray cluster cannot be reached ({error}). Check RAY_ADDRESS, or unset it to "
                "start one on this machine."
            ) from error
        self.task = choose_task(options.model, options.task) or task_beside(options.model)
        if options.asks_certainty:
            Calibration.load(options.model).check_use(self.task, options.decoding)
        self._ray = ray

    def answer(
        self, asked: Iterable[Asked], options: PredictOptions, scratch: Path | None
    ) -> Iterator[list[Answered]]:
        """Give the answers of each block as it comes; a worker that dies is started again.

        Raises:
            PredictError: a model cannot be loaded, or workers die again and again.
        """
        ray = self._ray
        waiting = iter(asked)
        size = _BLOCK_BATCHES * options.batch_size
        workers = self._start_workers(options)
        busy: dict[Any, Any] = {}  # the worker of each block on its way
        try:
            while True:
                for worker in workers:
                    while list(busy.values()).count(worker) < _BLOCKS_EACH:
                        block = list(islice(waiting, size))
                        if not block:
                            break
                        busy[worker.answer.remote(block)] = worker
                if not busy:
                    return
                done, _ = ray.wait(list(busy))
                for block in done:
                    yield ray.get(block)
                    del busy[block]
        except ray.exceptions.RayError as error:
            raise PredictError(
                f"Ray gave up ({_first_line(error)}). What is done is kept: the same command goes "
                "on from there."
            ) from error
        finally:
            for worker in workers:
                ray.kill(worker)

    def _start_workers(self, options: PredictOptions) -> list[Any]:
        ray = self._ray
        gpus = int(ray.cluster_resources().get("GPU", 0)) if options.device != "cpu" else 0
        machines = sum(node["Alive"] for node in ray.nodes())
        count = options.replicas or gpus or machines
        cores = int(ray.cluster_resources().get("CPU", 1))
        threads = options.threads or max(1, cores // count)
        worker = ray.remote(_Worker).options(
            num_gpus=min(1.0, gpus / count),
            num_cpus=min(1.0, cores / count),
            max_restarts=_RESTARTS,
            max_task_retries=_RESTARTS,
        )
        own = replace(options, threads=threads, workers=options.workers or threads)
        return [worker.remote(own) for _ in range(count)]


class _Worker:
    """A model on some machine of the cluster."""

    def __init__(self, options: PredictOptions) -> None:
        logging.getLogger("loupe").setLevel(logging.ERROR)
        self._options = options
        self._predictor = load_predictor(options)

    def answer(self, block: list[Asked]) -> list[Answered]:
        """Answer a block as one machine would, with a folder that is gone afterwards."""
        with TemporaryDirectory(prefix="loupe-predict-") as scratch:
            found = answer_each(self._predictor, block, self._options, Path(scratch))
            return [each for some in found for each in some]


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
