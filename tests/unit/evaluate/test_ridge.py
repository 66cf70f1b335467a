"""Ridge regression on features."""

import numpy as np
import pytest

from loupe.evaluate.ridge import ridge_answers
from loupe.task import Task

FIELDS = {"name": {"type": "text"}, "kind": {"type": "choice"}, "price": {"type": "price"}}
TASK = Task.from_dict({"question": "?", "answer": "{name}; {kind}; {price}", "fields": FIELDS})


def catalogue(rows, seed, noise=0.05):
    """Features of which the first tells the price and the second the kind."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 12)).astype(np.float32)
    price = np.exp(4 + features[:, 0] + noise * rng.normal(size=rows))
    truths = [
        {"name": "x", "kind": "bag" if second > 0 else "hat", "price": float(amount)}
        for second, amount in zip(features[:, 1], price, strict=True)
    ]
    return features, truths


@pytest.fixture
def learnt():
    (theirs, train), (ours, truths) = catalogue(300, 1), catalogue(100, 2)
    groups = [f"a{n // 3}" for n in range(300)], [f"b{n}" for n in range(100)]
    answers, fields = ridge_answers(TASK, train, (theirs, ours), groups, seed=0)
    return answers, fields, truths


def test_numbers_are_read_off_the_features(learnt):
    answers, _, truths = learnt
    errors = [abs(a.values["price"] / t["price"] - 1) for a, t in zip(answers, truths, strict=True)]
    assert np.median(errors) < 0.08  # the noise alone leaves 0.034


def test_choices_are_read_off_the_features(learnt):
    answers, _, truths = learnt
    right = [a.values["kind"] == t["kind"] for a, t in zip(answers, truths, strict=True)]
    assert np.mean(right) > 0.9


def test_texts_are_left_out(learnt):
    answers, fields, _ = learnt
    assert fields == ("kind", "price")
    assert set(answers[0].values) == set(fields)


def test_the_penalty_is_chosen_on_groups_held_out():
    """One feature tells the group by heart, which is of no use for another group."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    price = np.exp(5 + rng.normal(size=40))[groups]
    features = np.eye(40, dtype=np.float32)[groups]
    train = [{"name": "x", "kind": "bag", "price": float(amount)} for amount in price]
    ours = np.zeros((1, 40), np.float32)
    known = [str(group) for group in groups]

    answers, _ = ridge_answers(TASK, train, (features, ours), (known, ["new"]), seed=0)
    apart, _ = ridge_answers(
        TASK, train, (features, features), ([str(n) for n in range(200)], ["new"] * 200), seed=0
    )

    assert answers[0].values["price"] == pytest.approx(np.exp(np.log(price).mean()), rel=0.1)
    learnt_by_heart = [a.values["price"] for a in apart]
    assert np.corrcoef(np.log(learnt_by_heart), np.log(price))[0, 1] > 0.9


def test_rows_of_an_answered_group_take_no_part():
    features, train = catalogue(60, 1)
    groups = [str(n // 2) for n in range(60)]
    spoilt = [{**row, "price": 1e6} if n < 2 else row for n, row in enumerate(train)]
    said, _ = ridge_answers(TASK, spoilt, (features, features[:2]), (groups, groups[:2]), seed=0)
    clean, _ = ridge_answers(TASK, train, (features, features[:2]), (groups, groups[:2]), seed=0)
    assert said == clean


def test_numbers_stay_within_those_of_the_training_rows():
    features, train = catalogue(60, 1)
    groups = [str(n) for n in range(60)], ["far"]
    answers, _ = ridge_answers(TASK, train, (features, 100 * features[:1]), groups, seed=0)
    prices = [row["price"] for row in train]
    assert min(prices) * 0.999 <= answers[0].values["price"] <= max(prices) * 1.001


def test_numbers_of_both_signs_are_taken_as_they_are():
    task = Task.from_dict({"question": "?", "answer": "{n}", "fields": {"n": {"type": "number"}}})
    features = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    train = [{"n": float(10 * value)} for value in features[:, 0]]
    groups = [str(n) for n in range(50)], ["new"]
    answers, _ = ridge_answers(task, train, (features, features[10:11]), groups, seed=0)
    assert answers[0].values["n"] == pytest.approx(train[10]["n"], abs=0.1)


@pytest.mark.parametrize(
    ("task", "groups"),
    [
        (Task.from_dict({"question": "?", "answer": "{t}", "fields": {"t": {"type": "text"}}}), 9),
        (TASK, 1),
    ],
    ids=["texts alone", "one group"],
)
def test_where_nothing_can_be_learnt_nothing_is_answered(task, groups):
    features, train = catalogue(9, 1)
    rows = [{**row, "t": "x"} for row in train]
    known = [str(n % groups) for n in range(9)]
    assert ridge_answers(task, rows, (features, features), (known, ["new"] * 9), 0) == ([], ())
