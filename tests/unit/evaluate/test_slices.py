"""Scores of parts of the rows."""

from types import SimpleNamespace

import pytest

from loupe.evaluate.slices import measure_slices, worst_slices
from loupe.evaluate.systems import Measures
from loupe.task import Answer, Task

FIELDS = {"kind": {"type": "choice"}, "price": {"type": "price"}}
TASK = Task.from_dict({"question": "?", "answer": "{kind}; {price}", "fields": FIELDS})


def slices_of(truths, answers):
    rows = SimpleNamespace(truths=truths, groups=[str(n) for n in range(len(truths))])
    measures = Measures(TASK, rows, (), resamples=20, confidence=0.9, seed=0)
    return measure_slices(measures, answers)


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


def test_equal_numbers_stay_together():
    truths = [{"kind": "bag", "price": 5.0} for _ in range(40)]
    found = slices_of(truths, [Answer("", truth) for truth in truths])
    assert [(s.by, s.name, s.rows) for s in found] == [("kind", "bag", 40), ("price", "5 to 5", 40)]
