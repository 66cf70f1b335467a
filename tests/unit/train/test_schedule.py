import pytest

from loupe.train.schedule import RunClock, learning_rate_share


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
    def share(progress):
        return learning_rate_share(progress, 0.1, schedule)

    assert 0 < share(0) < 0.02
    assert share(0.05) == pytest.approx(0.5)
    assert share(0.1) == pytest.approx(1)
    assert share(0.55) == pytest.approx(half_way)
    assert share(1) == pytest.approx(1 if schedule == "constant" else 0)


def test_without_warm_up_the_rate_starts_at_its_peak():
    assert learning_rate_share(0, 0, "cosine") == 1
