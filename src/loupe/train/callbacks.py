"""What happens between steps: when to log, evaluate, save and stop; the bar; the tracker."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from loupe.tracking import Tracker
from loupe.train.schedule import RunClock

__all__ = ["PaceCallback", "ProgressCallback", "TrackerCallback", "stop_after_step"]

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS = 10
SAVE_EVERY_SECONDS = 600.0
STORY_SHARE = 0.1
"""Where there is no terminal, a line is logged each time this share more is done."""
METRIC_NAMES = {  # the Trainer's names, as trackers know them
    "loss": "train/loss",
    "grad_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
    "epoch": "train/epoch",
    "eval_loss": "train/validation_loss",
    "rewards/accuracies": "train/pairs_ranked_right",  # this and the next: TRL's, by `loupe prefer`
    "rewards/margins": "train/reward_margin",
}


class PaceCallback(TrainerCallback, ExportableState):  # type: ignore[misc]  # untyped
    """Decides after each step whether to log, evaluate, save or stop, by the run's clock.

    Evaluations are spread evenly over the run, the last at its end; each is followed by a
    checkpoint, and there is one more whenever ten minutes passed without.
    """

    def __init__(self, clock: RunClock, evaluations: int) -> None:
        self._clock = clock
        self._evaluations = evaluations
        self._evaluated = 0
        self._evaluation_began = 0.0
        self._last_saved = 0.0
        self.should_stop = False
        """Set from outside: end after this step, with a checkpoint."""
        self.is_over = False
        """The run has come to its end."""

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        attributes = {
            "spent_seconds": self._clock.elapsed_seconds,
            "reserved_seconds": self._clock.reserved_seconds,
            "evaluated": self._evaluated,
            "is_over": self.is_over,
        }
        return {"args": {}, "attributes": attributes}

    def resume(self, attributes: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self._clock.spent_seconds = attributes["spent_seconds"]
        self._clock.reserved_seconds = attributes["reserved_seconds"]
        self._evaluated = attributes["evaluated"]
        self.is_over = attributes["is_over"]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock."""
        self._clock.start()
        self._last_saved = self._clock.elapsed_seconds

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Decide what follows this step."""
        done = self._clock.progress(state.global_step)
        self.is_over = done >= 1
        ends = self.is_over or self.should_stop
        control.should_log = ends or state.global_step % LOG_EVERY_STEPS == 0
        due = int(done * self._evaluations + 1e-9)
        if due > self._evaluated and not self.should_stop:
            self._evaluated = due
            self._evaluation_began = self._clock.elapsed_seconds
            control.should_evaluate = control.should_log = True
        is_late = self._clock.elapsed_seconds - self._last_saved > SAVE_EVERY_SECONDS
        control.should_save = ends or is_late or control.should_evaluate
        control.should_training_stop = ends

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Learn how long an evaluation takes."""
        self._clock.reserved_seconds = self._clock.elapsed_seconds - self._evaluation_began

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remember when the last checkpoint was written."""
        self._last_saved = self._clock.elapsed_seconds


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
        if sys.stderr.isatty():
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
            words.append(f"{left // 60:.0f}:{left % 60:02.0f} left")
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
    """Let Ctrl-C and SIGTERM end the run after the step at hand; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def ask_to_stop(number: int, _: Any) -> None:
        pace.should_stop = True
        logger.info("Stopping after this step, with a checkpoint; once more stops at once.")
        signal.signal(number, before[signal.Signals(number)])

    for name in before:
        signal.signal(name, ask_to_stop)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
