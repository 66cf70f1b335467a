import pytest
import torch
from transformers import get_scheduler

from loupe.errors import TrainError
from loupe.train.schedule import RunClock, learning_rate_course


class Hands:
    """A clock whose hands are moved by the test."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def started(hands, **settings):
    clock = RunClock(now=hands, **settings)
    clock.start()
    return clock


def test_without_a_limit_progress_is_the_share_of_steps():
    clock = started(Hands(), max_steps=40)
    assert [clock.progress(step) for step in (0, 10, 40, 50)] == [0, 0.25, 1, 1]


def test_with_a_limit_progress_is_the_larger_share():
    hands = Hands()
    clock = started(hands, max_steps=1000, max_seconds=60)
    hands.seconds += 30
    assert clock.progress(10) == 0.5
    assert clock.progress(900) == 0.9
    hands.seconds += 30
    assert clock.progress(10) == 1


def test_time_for_the_last_evaluation_is_kept():
    hands = Hands()
    clock = started(hands, max_steps=1000, max_seconds=60)
    clock.reserved_seconds = 12
    hands.seconds += 48
    assert clock.progress(1) == 1


def test_time_before_a_kill_counts():
    hands = Hands()
    clock = started(hands, max_steps=1000, max_seconds=60, spent_seconds=45)
    hands.seconds += 15
    assert clock.elapsed_seconds == 60
    assert clock.progress(1) == 1


def test_the_time_left_follows_from_the_speed():
    hands = Hands()
    clock = started(hands, max_steps=100)
    assert clock.remaining_seconds(0) is None
    hands.seconds += 10
    assert clock.remaining_seconds(25) == pytest.approx(30)


@pytest.mark.parametrize(
    ("schedule", "half_way"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)]
)
def test_the_rate_rises_then_takes_its_course(schedule, half_way):
    share = learning_rate_course(schedule, 0.1, 1e-3, {})

    assert 0 < share(0) < 0.02
    assert share(0.05) == pytest.approx(0.5)
    assert share(0.1) == pytest.approx(1)
    assert share(0.55) == pytest.approx(half_way)
    assert share(1) == pytest.approx(1 if schedule == "constant" else 0)


def test_without_warm_up_the_rate_starts_at_its_peak():
    assert learning_rate_course("cosine", 0, 1e-3, {})(0) == 1


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        ("cosine", {}),
        ("linear", {}),
        ("constant_with_warmup", {}),
        ("polynomial", {"power": 2, "lr_end": 1e-5}),
        ("inverse_sqrt", {}),
        ("cosine_with_restarts", {"num_cycles": 3}),
        ("cosine_with_min_lr", {"min_lr": 1e-4}),
        ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}),
    ],
)
def test_courses_are_those_of_transformers_after_the_warm_up(schedule, settings):
    share = learning_rate_course(schedule, 0.1, 1e-3, settings)
    theirs = get_scheduler(
        schedule,
        torch.optim.SGD([torch.zeros(1)], lr=1e-3),
        num_warmup_steps=20,
        num_training_steps=200,
        scheduler_specific_kwargs=settings,
    ).lr_lambdas[0]
    for step in range(20, 201):
        # cosine_warmup_with_min_lr is one step ahead, and a step is another part of their run
        is_ahead = schedule == "cosine_warmup_with_min_lr"
        assert share(step / 200) == pytest.approx(theirs(step), abs=0.01 if is_ahead else 1e-9)


def test_the_rate_stays_then_falls_in_the_decay_share():
    share = learning_rate_course("warmup_stable_decay", 0.1, 1e-3, {"decay_share": 0.4})
    assert [share(0.1), share(0.59), share(0.8), share(1)] == pytest.approx([1, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("schedule", "warmup", "settings", "words"),
    [
        ("cosin", 0.1, {}, "schedule 'cosin': unknown. Choose one of linear, cosine, "),
        ("greedy", 0.1, {}, "follows a metric, not the course of the run"),
        ("reduce_lr_on_plateau", 0.1, {}, "follows a metric, not the course of the run"),
        ("linear", 0.1, {"power": 2}, "'linear' cannot be had with schedule_settings"),
        ("cosine_with_min_lr", 0.1, {}, "min_lr"),
        ("polynomial", 0.1, {"lr_end": 1.0}, "must be smaller than initial lr"),
        ("polynomial", 0.1, {"num_decay_steps": 3}, "do not fit .* There are num_cycles, "),
        ("constant", 0.1, {"power": 2}, "constant has none"),
        ("inverse_sqrt", 0.0, {}, "raise warmup_share"),
    ],
)
def test_schedules_that_cannot_be_had_are_refused(schedule, warmup, settings, words):
    with pytest.raises(TrainError, match=words):
        learning_rate_course(schedule, warmup, 1e-3, settings)
