"""Let Ctrl-C and SIGTERM end work after the batch at hand."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Stop", "stop_after_batch"]

logger = logging.getLogger(__name__)


@dataclass
class Stop:
    """Whether a signal asked to stop, and which; 0 where none did."""

    asked_by: int = 0


@contextmanager
def stop_after_batch() -> Iterator[Stop]:
    """Note the first Ctrl-C or SIGTERM; a second one does what it did before.

    Outside the main thread, where no signal comes, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: Any) -> None:
        if stop.asked_by:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        stop.asked_by = number
        logger.info("Stopping after this batch; once more stops at once.")

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
