"""How far a run has come, by steps or by time, and the learning rate that belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from transformers import SchedulerType, get_scheduler

from loupe.errors import TrainError

__all__ = ["RunClock", "learning_rate_course"]

STEPS = 10_000
"""So many steps stand for a whole run where transformers asks for a number of steps."""
BY_METRIC = ("reduce_lr_on_plateau", "greedy")
SETTINGS = ("num_cycles", "power", "lr_end", "min_lr", "min_lr_rate", "min_lr_ratio", "decay_share")
DECAY_SHARE = 0.2
SMALLEST_PROGRESS = 1e-3  # the first step moves as well


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
    tick: Callable[[], None] = lambda: None
    """Called where time is to be read anew, by a clock that stands still between."""
    _started: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begin to count time."""
        self.tick()
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


def learning_rate_course(
    schedule: str, warmup_share: float, peak: float, settings: Mapping[str, float]
) -> Callable[[float], float]:
    """Give what tells the learning rate, as a share of its peak, at a point of the run, 0 to 1.

    The rate rises in a line over the warm-up; then it takes the course that transformers knows by
    the schedule's name. A course depends on progress alone, so it fits a limit of time as well.

    Args:
        schedule: a name of transformers' SchedulerType.
        warmup_share: of the run, 0 to below 1.
        peak: the learning rate, for schedules that end at a given rate.
        settings: what the schedule asks for further.

    Raises:
        TrainError: there is no such schedule, it follows a metric, or the settings are not its own.
    """
    known = [each.value for each in SchedulerType if each.value not in BY_METRIC]
    if schedule not in known:
        why = "follows a metric, not the course of the run" if schedule in BY_METRIC else "unknown"
        raise TrainError(f"schedule {schedule!r}: {why}. Choose one of {', '.join(known)}.")
    wrong = [name for name in settings if name not in SETTINGS]
    if wrong or (settings and schedule.startswith("constant")):
        raise TrainError(
            f"schedule_settings {dict(settings)} do not fit schedule {schedule!r}. There are "
            f"{', '.join(SETTINGS)}, each for the schedules that know it; constant has none."
        )
    if schedule == "inverse_sqrt" and not warmup_share:
        raise TrainError("schedule inverse_sqrt is measured by its warm-up; raise warmup_share.")
    fitting = dict(settings)
    if schedule == "warmup_stable_decay":
        fitting["num_decay_steps"] = STEPS * fitting.pop("decay_share", DECAY_SHARE)
    try:
        scheduler = get_scheduler(
            schedule,
            torch.optim.SGD([torch.zeros(1)], lr=peak),
            num_warmup_steps=warmup_share * STEPS,
            num_training_steps=STEPS,
            scheduler_specific_kwargs=fitting,
        )
    except (TypeError, ValueError) as error:
        raise TrainError(
            f"schedule {schedule!r} cannot be had with schedule_settings {dict(settings)}: {error}"
        ) from error
    course: Callable[[float], float] = scheduler.lr_lambdas[0]

    def share(progress: float) -> float:
        if progress < warmup_share:
            return max(progress, SMALLEST_PROGRESS) / warmup_share
        return float(course(progress * STEPS))

    return share
