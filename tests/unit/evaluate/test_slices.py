"""Scores of parts of the rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from loupe.evaluate.slices import measure_slices, worst_slices
from loupe.evaluate.systems import Measures
from loupe.task import Answer, Task

FIELDS = {"kind": {"type": "choice"}, "price": {"type": "price"}}
TASK = Task.from_dict({"question": "?", "answer": "{kind}; {price}", "fields": FIELDS})


def slices_of(truths, answers):
    return measure(truths, answers).all


def measure(truths, answers, groups=None):
    names = [str(n) for n in range(len(truths))]
    rows = SimpleNamespace(truths=truths, groups=groups or names, ids=names)
    measures = Measures(TASK, rows, (), resamples=20, confidence=0.9, seed=0)
    return measure_slices(measures, answers, [(8, 8)] * len(truths))


@pytest.fixture
def slices():
    truths = [{"kind": "bag" if n < 90 else "hat", "price": float(n + 1)} for n in range(100)]
    answers = [Answer("", {"kind": "bag", "price": float(n + 1)}) for n in range(100)]
    return slices_of(truths, answers)


def test_choices_and_tenths_of_numbers_are_sliced(slices):
    assert [(s.by, s.name, s.rows) for s in slices[:3]] == [
        ("kind", "bag", 90),
        ("kind", "hat", 10),
        ("price", "1 to 10", 10),
    ]
    assert len([s for s in slices if s.by == "price"]) == 10
    assert slices[1].scores["kind_accuracy"].value == 0.0


def test_the_worst_slice_is_named(slices):
    assert worst_slices(slices)["kind_accuracy"].name == "hat"


def test_a_small_slice_is_never_named_the_worst():
    truths = [{"kind": "bag" if n < 50 else "hat", "price": 5.0} for n in range(53)]
    answers = [Answer("", {"kind": "bag", "price": 5.0}) for _ in truths]
    assert worst_slices(slices_of(truths, answers))["kind_accuracy"].name != "hat"


def test_a_single_slice_with_rows_enough_is_not_the_worst():
    truths = [{"kind": "bag" if n < 8 else f"k{n}", "price": n + 1.0} for n in range(20)]
    answers = [Answer("", {"kind": "no", "price": 1.0}) for _ in truths]
    found = measure(truths, answers)
    assert [part.name for part in found.all if part.rows >= 8] == ["bag"]
    assert found.worst == found.by_chance == {}


def test_equal_numbers_stay_together():
    truths = [{"kind": "bag", "price": 5.0} for _ in range(40)]
    found = slices_of(truths, [Answer("", truth) for truth in truths])
    assert [(s.by, s.name, s.rows) for s in found] == [("kind", "bag", 40), ("price", "5", 40)]


def noisy(seed, bad_kind=None):
    """Answers to ten kinds of which each is right in three of four rows, or `bad_kind` in none."""
    kinds = [f"k{n % 10}" for n in range(400)]
    is_right = np.random.default_rng(seed).random(400) < 0.75
    truths = [{"kind": kind, "price": 5.0} for kind in kinds]
    answers = [
        Answer("", {"kind": kind if right and kind != bad_kind else "no", "price": 5.0})
        for kind, right in zip(kinds, is_right, strict=True)
    ]
    return measure(truths, answers)


def test_a_worst_slice_that_chance_would_make_is_told_from_one_that_it_would_not():
    by_chance = [noisy(seed).by_chance["kind_accuracy"] for seed in range(5)]
    bad = noisy(0, "k3")
    assert np.median([chance.share for chance in by_chance]) > 0.1
    assert all(chance.worst < 0.75 for chance in by_chance)
    assert bad.worst["kind_accuracy"].name == "k3"
    assert bad.by_chance["kind_accuracy"].share == 0.0


def test_groups_stay_together_when_chance_is_drawn():
    """One bad group of twenty rows is as bad as chance makes it, not the sum of unlucky rows."""
    truths = [{"kind": "bag", "price": 5.0} for _ in range(200)]
    answers = [Answer("", {"kind": "no" if n < 20 else "bag", "price": 5.0}) for n in range(200)]
    groups = [str(n // 20) for n in range(200)]
    chance = measure(truths, answers, groups).by_chance["kind_accuracy"]
    assert chance.share > 0.2
    assert chance.worst <= 0.5


def test_the_interval_of_one_group_is_over_its_rows():
    truths = [{"kind": "bag", "price": 5.0} for _ in range(40)]
    answers = [Answer("", {"kind": "bag" if n % 2 else "no", "price": 5.0}) for n in range(40)]
    found = measure(truths, answers, ["one"] * 20 + ["other"] * 20)
    group = next(part for part in found.all if part.by == "group_id")
    assert group.scores["kind_accuracy"].low < 0.5 < group.scores["kind_accuracy"].high
