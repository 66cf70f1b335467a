"""What happens between steps: when to log, evaluate, save and stop; the bar; the tracker."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from loupe.tracking import Tracker
from loupe.train import processes
from loupe.train.schedule import RunClock

__all__ = [
    "PaceCallback",
    "ProgressCallback",
    "StepTimer",
    "TrackerCallback",
    "mean_times",
    "stop_after_step",
]

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10
SAVE_EVERY_SECONDS = 600.0
LAUNCHER_SECONDS = 5.0
"""Within this time a signal is the same once more: Slurm and torchrun both pass it on."""
STORY_SHARE = 0.1
"""Where there is no terminal, a line is logged each time this share more is done."""
METRIC_NAMES = {  # the Trainer's names, as trackers know them
    "loss": "train/loss",
    "grad_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
    "epoch": "train/epoch",
    "eval_loss": "train/validation_loss",
    "step_seconds": "train/step_seconds",
    "data_wait_seconds": "train/data_wait_seconds",
    "rewards/accuracies": "train/pairs_ranked_right",  # this and the next: TRL's, by `loupe prefer`
    "rewards/margins": "train/reward_margin",
}


class PaceCallback(TrainerCallback, ExportableState):  # type: ignore[misc]  # untyped
    """Decides after each step whether to log, evaluate, save or stop, by the run's clock.

    Evaluations are spread evenly over the run, the last at its end; each is followed by a
    checkpoint, and there is one more whenever ten minutes passed without. Several processes decide
    alike: by the main one's clock, and by a signal that any of them met.

    Args:
        clock: of the run.
        evaluations: how many there are to be.
        patience: after how many evaluations without a better score the run ends; None for never.
    """

    def __init__(self, clock: RunClock, evaluations: int, patience: int | None = None) -> None:
        self.clock = clock
        self._evaluations = evaluations
        self._patience = patience
        self._evaluated = 0
        self._without_better = 0
        self._evaluation_began = 0.0
        self._last_saved = 0.0
        self.asked_by = 0
        """Number of the signal that asked this process to end after the step; 0 for none."""
        self.stopped_by = 0
        """Number of the signal that all processes have agreed to end by; 0 for none."""
        self.is_over = False
        """The run has come to its end."""

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        attributes = {
            "spent_seconds": self.clock.elapsed_seconds,
            "reserved_seconds": self.clock.reserved_seconds,
            "evaluated": self._evaluated,
            "without_better": self._without_better,
            "is_over": self.is_over,
        }
        return {"args": {}, "attributes": attributes}

    def resume(self, attributes: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.clock.spent_seconds = attributes["spent_seconds"]
        self.clock.reserved_seconds = attributes["reserved_seconds"]
        self._evaluated = attributes["evaluated"]
        self._without_better = attributes["without_better"]
        self.is_over = attributes["is_over"]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock."""
        self.clock.start()
        self._last_saved = self.clock.elapsed_seconds

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Read the clock, before the learning rate does."""
        self.clock.tick()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Decide what follows this step."""
        done = self.clock.progress(state.global_step)
        self.is_over = done >= 1
        ends = self.is_asked_to_stop() or self.is_over
        # No log on account of a signal: the curve is to be that of a run without it.
        control.should_log = self.is_over or state.global_step % LOG_EVERY_STEPS == 0
        due = int(done * self._evaluations + 1e-9)
        if due > self._evaluated and not self.stopped_by:
            self._evaluated = due
            self._evaluation_began = self.clock.elapsed_seconds
            control.should_evaluate = control.should_log = True
        is_late = self.clock.elapsed_seconds - self._last_saved > SAVE_EVERY_SECONDS
        control.should_save = ends or is_late or control.should_evaluate
        control.should_training_stop = ends

    def is_asked_to_stop(self) -> bool:
        """Whether a signal asked any process to end the run; all of them ask together."""
        self.stopped_by = max(processes.gather(self.asked_by))
        return bool(self.stopped_by)

    def breaks_off(self) -> bool:
        """Whether an evaluation is to be broken off: by a signal, but not where it is the last."""
        return self.is_asked_to_stop() and not self.is_over

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Learn how long an evaluation takes, and lose patience where there is nothing better.

        Without metrics a signal broke it off: it is due again when the run goes on.
        """
        self.clock.tick()
        if not metrics:
            self._evaluated -= 1
            control.should_training_stop = True
            return
        self.clock.reserved_seconds = self.clock.elapsed_seconds - self._evaluation_began
        if self._patience is None:
            return
        name = args.metric_for_best_model
        value, best = metrics.get(f"eval_{name}", math.nan), state.best_metric
        is_better = best is None or (value > best if args.greater_is_better else value < best)
        self._without_better = 0 if is_better else self._without_better + 1
        if self._without_better >= self._patience and not self.is_over:
            self.is_over = control.should_training_stop = True
            logger.info(
                "No better %s in %s evaluations: the run ends at step %s.",
                name,
                self._without_better,
                state.global_step,
            )

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remember when the last checkpoint was written."""
        self.clock.tick()
        self._last_saved = self.clock.elapsed_seconds


class StepTimer(TrainerCallback, ExportableState):  # type: ignore[misc]  # untyped
    """Measures steps, and how long each waits for its data; what comes between is not counted."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = 0.0
        self._totals = [0.0, 0.0, 0.0]
        """Steps, their seconds, and of these the seconds of waiting."""
        self._told = [0.0, 0.0, 0.0]

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        return {"args": {}, "attributes": {"totals": list(self._totals)}}

    def resume(self, attributes: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self._totals, self._told = list(attributes["totals"]), list(attributes["totals"])

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Begin a step, which waits for its data as long as this lasts."""
        self._began = self._now()
        yield
        self._totals[2] += self._now() - self._began

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """End a step."""
        self._totals[0] += 1
        self._totals[1] += self._now() - self._began

    def tell(self) -> dict[str, float]:
        """Give the means per step of the steps since it was last asked; nothing without steps."""
        means = mean_times([now - told for now, told in zip(self._totals, self._told, strict=True)])
        self._told = list(self._totals)
        return means


def mean_times(totals: Sequence[float]) -> dict[str, float]:
    """Give seconds per step, and of these the seconds of waiting, from the totals of a timer."""
    steps, seconds, waited = totals
    return {"step_seconds": seconds / steps, "data_wait_seconds": waited / steps} if steps else {}


class ProgressCallback(TrainerCallback):  # type: ignore[misc]  # untyped in transformers
    """A bar with the time left at a terminal, else a line from time to time."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self._bar: tqdm[Any] | None = None
        self._told = 0.0
        self._last: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Open the bar."""
        self._told = self._clock.progress(state.global_step)
        if sys.stderr.isatty() and processes.is_main():
            layout = "{l_bar}{bar}| step {postfix}"
            self._bar = tqdm(total=100.0, desc="train", bar_format=layout, leave=False)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar, or tell how far the run is."""
        done = self._clock.progress(state.global_step)
        if self._bar is not None:
            self._bar.n = 100 * done
            self._bar.set_postfix_str(self._describe(state.global_step))
        elif done - self._told >= STORY_SHARE - 1e-9 or (done >= 1 and self._told < 1):
            self._told = done
            logger.info("%3.0f %% · step %s", 100 * done, self._describe(state.global_step))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Remember the last loss."""
        self._last |= {name: value for name, value in (logs or {}).items() if name.endswith("loss")}

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, where there is one."""
        if self._bar is not None:
            self._bar.close()

    def _describe(self, step: int) -> str:
        words = [str(step)]
        if "loss" in self._last:
            words.append(f"loss {self._last['loss']:.3f}")
        if "eval_loss" in self._last:
            words.append(f"validation {self._last['eval_loss']:.3f}")
        left = self._clock.remaining_seconds(step)
        if left is not None:
            words.append("{}:{:02} left".format(*divmod(round(left), 60)))
        return " · ".join(words)


class TrackerCallback(TrainerCallback):  # type: ignore[misc]  # untyped in transformers
    """Hands the Trainer's scalars to the tracker, under our names."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Log scalars."""
        told = {name: value for name, value in (logs or {}).items() if _is_told(name)}
        named = {METRIC_NAMES.get(name) or _validation_name(name): told[name] for name in told}
        if named.keys() - {"train/epoch"}:
            self._tracker.log(named, state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Settle what was told: a run that goes on from this checkpoint does not tell it again."""
        self._tracker.settle(state.global_step)


def _is_told(name: str) -> bool:
    return name in METRIC_NAMES or name.startswith("eval_")


def _validation_name(name: str) -> str:
    return f"train/validation_{name.removeprefix('eval_')}"


@contextmanager
def stop_after_step(pace: PaceCallback) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run after the step at hand; a second one ends it at once.

    Where there are several processes, the second is one that comes some seconds after the first:
    whoever started them passes on what also reaches each by itself. Where one of them has failed,
    the first ends at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    asked_at = 0.0

    def ask_to_stop(number: int, _: Any) -> None:
        nonlocal asked_at
        if processes.has_failed():
            raise SystemExit(1)
        if not pace.asked_by:
            pace.asked_by, asked_at = number, time.monotonic()
            logger.info("Stopping after this step, with a checkpoint; once more stops at once.")
        elif processes.count() == 1 or time.monotonic() - asked_at > LAUNCHER_SECONDS:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for name in before:
        signal.signal(name, ask_to_stop)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
