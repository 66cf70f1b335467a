import logging
import math
import os
import signal
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from loupe.train import processes
from loupe.train.callbacks import (
    PaceCallback,
    ProgressCallback,
    StepTimer,
    TrackerCallback,
    mean_times,
    stop_after_step,
)
from loupe.train.schedule import RunClock


class Hands:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def run_through(pace, steps, hands=None, seconds_per_step=0.0, *, first=1):
    """Give, for each step, what the pace asked for."""
    asked = {}
    pace.on_train_begin(None, TrainerState(), TrainerControl())
    for step in range(first, steps + 1):
        if hands:
            hands.seconds += seconds_per_step
        control = TrainerControl()
        pace.on_step_end(None, TrainerState(global_step=step), control)
        asked[step] = control
        if control.should_evaluate:
            pace.on_evaluate(None, TrainerState(global_step=step), control, {"eval_loss": 1.0})
        if control.should_save:
            pace.on_save(None, TrainerState(global_step=step), control)
        if control.should_training_stop:
            break
    return asked


def steps_with(asked, wish):
    return [step for step, control in asked.items() if getattr(control, wish)]


def test_evaluations_are_spread_evenly_with_the_last_at_the_end():
    asked = run_through(PaceCallback(RunClock(20), 4), 99)
    assert steps_with(asked, "should_evaluate") == [5, 10, 15, 20]
    assert steps_with(asked, "should_save") == [5, 10, 15, 20]
    assert steps_with(asked, "should_training_stop") == [20]
    assert steps_with(asked, "should_log") == [5, 10, 15, 20]


def test_without_evaluations_there_is_a_checkpoint_at_the_end():
    asked = run_through(PaceCallback(RunClock(7), 0), 99)
    assert steps_with(asked, "should_evaluate") == []
    assert steps_with(asked, "should_save") == [7]


def test_a_long_run_saves_every_ten_minutes():
    hands = Hands()
    asked = run_through(PaceCallback(RunClock(50, now=hands), 1), 99, hands, 60.0)
    assert steps_with(asked, "should_save") == [11, 22, 33, 44, 50]


def test_a_run_with_a_time_limit_ends_in_time_for_its_last_evaluation():
    hands = Hands()
    clock = RunClock(10**6, max_seconds=100, now=hands)
    pace = PaceCallback(clock, 2)
    real = pace.on_evaluate

    def slow_evaluation(*arguments):
        hands.seconds += 10
        real(*arguments)

    pace.on_evaluate = slow_evaluation
    asked = run_through(pace, 10**6, hands, 1.0)
    assert len(steps_with(asked, "should_evaluate")) == 2
    assert clock.elapsed_seconds <= 101  # the step at hand is finished


def test_a_resumed_run_goes_on_where_it_was():
    hands = Hands()
    pace = PaceCallback(RunClock(20, now=hands), 4)
    run_through(pace, 12, hands, 1.0)
    kept = pace.state()["attributes"]

    resumed = PaceCallback(RunClock(20, now=hands), 4)
    resumed.resume(kept)
    asked = run_through(resumed, 99, first=13)

    assert kept == {
        "spent_seconds": 12.0,
        "reserved_seconds": 0.0,
        "evaluated": 2,
        "without_better": 0,
        "is_over": False,
    }
    assert steps_with(asked, "should_evaluate") == [15, 20]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(number):
    pace = PaceCallback(RunClock(20), 4)
    before = signal.getsignal(number)
    with stop_after_step(pace):
        os.kill(os.getpid(), number)
        asked = run_through(pace, 99)
    assert list(asked) == [1]
    assert asked[1].should_save
    assert not asked[1].should_evaluate
    assert not asked[1].should_log
    assert not pace.is_over
    assert pace.stopped_by == number
    assert signal.getsignal(number) == before


def test_a_second_signal_ends_at_once():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("at once"))
    with stop_after_step(PaceCallback(RunClock(20), 4)):
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == []
        os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert heard == ["at once"]


@pytest.mark.parametrize(("seconds", "ends"), [(1.0, False), (60.0, True)], ids=["same", "second"])
def test_of_several_processes_each_may_hear_of_one_signal_twice(monkeypatch, seconds, ends):
    pace = PaceCallback(RunClock(20), 4)
    now = iter([0.0, seconds, seconds])
    monkeypatch.setattr("loupe.train.callbacks.time.monotonic", lambda: next(now))
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "has_failed", lambda: False)
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("at once"))
    heard = []
    with stop_after_step(pace):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert heard == (["at once"] if ends else [])


def test_a_signal_after_a_failure_elsewhere_ends_at_once(monkeypatch):
    monkeypatch.setattr(processes, "has_failed", lambda: True)
    with pytest.raises(SystemExit), stop_after_step(PaceCallback(RunClock(20), 4)):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_evaluation_that_is_broken_off_is_due_again():
    pace = PaceCallback(RunClock(20), 4)
    control = TrainerControl()
    pace.on_step_end(None, TrainerState(global_step=5), control)
    pace.asked_by = signal.SIGTERM
    assert pace.breaks_off()
    pace.on_evaluate(None, TrainerState(global_step=5), control, {})
    assert control.should_training_stop
    assert pace.state()["attributes"]["evaluated"] == 0


@pytest.mark.parametrize(
    ("scores", "greater", "stops_at"),
    [
        ([3.0, 2.0, 2.5, 2.1, 2.0, 1.0], False, 4),
        ([0.1, 0.3, 0.2, 0.4, 0.4, math.nan], True, 6),
        ([3.0, 2.0, 2.5, 1.0, 1.5, 0.5], False, None),
    ],
    ids=["falls", "rises", "gets better in time"],
)
def test_patience_ends_a_run_without_a_better_score(scores, greater, stops_at):
    pace = PaceCallback(RunClock(100), 20, patience=2)
    args = SimpleNamespace(metric_for_best_model="loss", greater_is_better=greater)
    best, ended = None, None
    for number, score in enumerate(scores, 1):
        control = TrainerControl()
        state = TrainerState(global_step=number, best_metric=best)
        pace.on_evaluate(args, state, control, {"eval_loss": score})
        if best is None or (score > best if greater else score < best):
            best = score
        if control.should_training_stop and ended is None:
            ended = number
    assert ended == stops_at


def test_nearly_a_minute_is_told_as_a_minute(caplog):
    caplog.set_level(logging.INFO, logger="loupe")
    hands = Hands()
    clock = RunClock(10, now=hands)
    progress = ProgressCallback(clock)
    clock.start()
    progress.on_train_begin(None, TrainerState(), TrainerControl())
    hands.seconds = 59.8 / 9
    progress.on_step_end(None, TrainerState(global_step=1), TrainerControl())
    assert caplog.messages[0].endswith("1:00 left")


def test_away_from_a_terminal_a_line_tells_every_tenth(caplog):
    caplog.set_level(logging.INFO, logger="loupe")
    clock = RunClock(200, now=Hands())
    progress = ProgressCallback(clock)
    clock.start()
    progress.on_train_begin(None, TrainerState(), TrainerControl())
    progress.on_log(None, TrainerState(), TrainerControl(), {"loss": 1.5, "learning_rate": 0.1})
    for step in range(1, 201):
        progress.on_step_end(None, TrainerState(global_step=step), TrainerControl())
    progress.on_train_end(None, TrainerState(), TrainerControl())
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == " 10 % · step 20 · loss 1.500 · 0:00 left"
    assert caplog.messages[-1].startswith("100 % · step 200")


def test_scalars_reach_the_tracker_under_our_names():
    told = []

    class Recorder:
        def log(self, metrics, step):
            told.append((step, dict(metrics)))

    callback = TrackerCallback(Recorder())
    for logs in [
        {"loss": 1.0, "grad_norm": 2.0, "learning_rate": 0.1, "epoch": 0.5},
        {"eval_loss": 3.0, "eval_title_token_f1": 0.5, "epoch": 0.5},
        {"train_runtime": 5.0, "total_flos": 1.0, "epoch": 0.5},
    ]:
        callback.on_log(None, TrainerState(global_step=4), TrainerControl(), logs)
    assert told == [
        (
            4,
            {
                "train/loss": 1.0,
                "train/gradient_norm": 2.0,
                "train/learning_rate": 0.1,
                "train/epoch": 0.5,
            },
        ),
        (
            4,
            {
                "train/validation_loss": 3.0,
                "train/validation_title_token_f1": 0.5,
                "train/epoch": 0.5,
            },
        ),
    ]


def test_steps_and_their_waiting_are_measured_and_what_lies_between_is_not():
    hands = Hands()
    timer = StepTimer(now=hands)

    def step(waited, computed, between=0.0):
        with timer.waiting():
            hands.seconds += waited
        hands.seconds += computed
        timer.on_step_end(None, TrainerState(), TrainerControl())
        hands.seconds += between

    assert timer.tell() == {}
    step(1.0, 2.0, between=100.0)
    step(3.0, 2.0)
    assert timer.tell() == {"step_seconds": 4.0, "data_wait_seconds": 2.0}
    step(0.0, 1.0)
    assert timer.tell() == {"step_seconds": 1.0, "data_wait_seconds": 0.0}

    resumed = StepTimer(now=hands)
    resumed.resume(timer.state()["attributes"])
    assert resumed.tell() == {}
    assert mean_times(resumed.state()["attributes"]["totals"]) == {
        "step_seconds": 3.0,
        "data_wait_seconds": pytest.approx(4 / 3),
    }
