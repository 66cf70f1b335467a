"""How far a run has come, by steps or by time, and the learning rate that belongs to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["RunClock", "learning_rate_share"]


@dataclass
class RunClock:
    """Measures how much of a run is done, as the larger share of its steps and of its time.

    With a time limit the learning rate so ends its course when the time is up, at whatever speed.
    """

    max_steps: int
    max_seconds: float | None = None
    spent_seconds: float = 0.0
    """Time spent before this process, where a run is resumed."""
    reserved_seconds: float = 0.0
    """Time to keep for what follows the last step: one more evaluation."""
    now: Callable[[], float] = time.monotonic
    _started: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begin to count time."""
        self._started = self.now()

    @property
    def elapsed_seconds(self) -> float:
        """Training time, that of earlier processes included."""
        running = 0.0 if self._started is None else self.now() - self._started
        return self.spent_seconds + running

    def progress(self, step: int) -> float:
        """Give the share of the run that is done after so many steps, 0 to 1."""
        shares = [step / self.max_steps]
        if self.max_seconds is not None:
            usable = max(self.max_seconds - self.reserved_seconds, 1e-3)
            shares.append(self.elapsed_seconds / usable)
        return min(1.0, max(shares))

    def remaining_seconds(self, step: int) -> float | None:
        """Estimate the time left from the speed so far; None before anything is done."""
        done = self.progress(step)
        return None if done <= 0 else self.elapsed_seconds * (1 - done) / done


def learning_rate_share(progress: float, warmup_share: float, schedule: str) -> float:
    """Give the learning rate as a share of its peak at a point of the run, 0 to 1.

    The rate rises in a line over the warm-up, then falls to 0 as `cosine` or `linear`, or stays.
    """
    if progress < warmup_share:
        return max(progress, 1e-3) / warmup_share
    if schedule == "constant":
        return 1.0
    rest = (progress - warmup_share) / max(1 - warmup_share, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * rest)) if schedule == "cosine" else 1 - rest
