"""Several processes as one run: the main one speaks and writes, and a failure of one ends all.

`torchrun` and `accelerate launch` start them, and tell each by RANK and WORLD_SIZE which it is.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

from loupe.errors import MissingExtraError, StoppedError, TrainError

__all__ = [
    "MainTime",
    "count",
    "gather",
    "has_failed",
    "is_loss_of_another",
    "is_main",
    "on_main",
    "place",
    "together",
]

T = TypeVar("T")
FAILURES = "loupe/failures"
"""Where in the store that all processes share it is counted how many of them failed."""
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def count() -> int:
    """Give the number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def place() -> int:
    """Give this process's place among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that speaks, writes and is tracked."""
    return place() == 0


@contextmanager
def together(device: str) -> Iterator[None]:
    """Join the processes of this run for what follows; alone, do nothing.

    The first of them that fails raises its error, so that it is told once; the others exit with
    the same code and without a word.

    Raises:
        MissingExtraError: accelerate is not installed.
        TrainError: another process was lost without a word.
    """
    if count() == 1:
        yield
        return
    if find_spec("accelerate") is None:
        raise MissingExtraError("Training in several processes", "accelerate", "train")
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    try:
        yield
    except StoppedError as stopped:
        if is_main():
            raise
        raise SystemExit(stopped.exit_code) from stopped
    except Exception as error:  # whatever ends this process must end the others
        if not _is_first_failure():
            raise SystemExit(1) from error
        if is_loss_of_another(error):
            raise TrainError(
                f"Process {place()} of {count()} lost another one, which ended without a word; it "
                "may have been killed for want of memory. The last checkpoint is whole: the same "
                "command goes on from there."
            ) from error
        raise
    gc.collect()  # of the Trainer, which holds the group; its threads would outlive the interpreter
    state.destroy_process_group()


def on_main(act: Callable[[], T]) -> T:
    """Let the main process act, and give what comes of it to all.

    Where it fails, its error is raised there, and the others exit.
    """
    if count() == 1:
        return act()
    results: list[Any] = []
    if is_main():
        try:
            results = [act()]
        finally:
            _broadcast(results)
    else:
        results = _broadcast(results)
    if not results:
        raise SystemExit(1)
    result: T = results[0]
    return result


def gather(value: T) -> list[T]:
    """Give the values of all processes, in their order, to each."""
    if count() == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


class MainTime:
    """The main process's clock, for all to read: it stands still between ticks.

    What depends on time, such as the learning rate of a run with a time limit, is so the same in
    all processes. Alone, it is the plain clock.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        """Give the time of the last tick, in seconds from an arbitrary moment."""
        return time.monotonic() if count() == 1 else self._seconds

    def tick(self) -> None:
        """Read the main process's clock; all of them tick together."""
        self._seconds = gather(time.monotonic())[0]


def is_loss_of_another(error: Exception) -> bool:
    """Whether an error tells that another process is no longer there."""
    is_told = isinstance(error, RuntimeError) and any(word in str(error) for word in LOST)
    return count() > 1 and is_told


def has_failed() -> bool:
    """Whether a process of this run has told a failure."""
    return count() > 1 and bool(_store().check([FAILURES]))


def _is_first_failure() -> bool:
    try:
        return bool(_store().add(FAILURES, 1) == 1)
    except RuntimeError:  # the process that kept the store is the one that failed
        return False


def _store() -> Any:
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def _broadcast(results: list[Any]) -> list[Any]:
    from torch import distributed

    shared = [results]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]
