"""Scores of answers beside the truth."""

import math

import pytest

from loupe.evaluate.scores import is_lower_better, row_scores, score_answers
from loupe.task import Answer, Task

TRUTHS = [
    {"title": "Check Cotton Shirt", "category3_code": "SHIRTS", "full_price": 100.0},
    {"title": "Wool Scarf", "category3_code": "SCARVES", "full_price": 200.0},
    {"title": "Wool Coat", "category3_code": "COATS", "full_price": 1000.0},
    {"title": "Silk Scarf", "category3_code": "SCARVES", "full_price": 50.0},
]


@pytest.fixture
def task():
    return Task.load()


def answer(title, category, price):
    return Answer("", {"title": title, "category3_code": category, "full_price": price})


ANSWERS = [
    answer("Check Cotton Shirt", "SHIRTS", 110.0),
    answer("Scarf Wool", "SCARVES", 100.0),
    answer("Coat", "SCARVES", 1200.0),
    Answer("Product: Sil", None, "expected ', Category: ' after title"),
]


def test_perfect_answers_get_the_best_scores(task):
    scores = score_answers(task, TRUTHS, [Answer("", truth) for truth in TRUTHS])
    for name, score in scores.items():
        assert score == pytest.approx(0.0 if is_lower_better(name) else 1.0), name


def test_scores_by_hand(task):
    scores = score_answers(task, TRUTHS, ANSWERS)
    assert scores["parse_rate"] == 0.75
    assert scores["title_exact_match"] == 0.25
    assert scores["title_token_f1"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert scores["category3_code_accuracy"] == 0.5
    # SHIRTS 1; SCARVES 2 * 1 / (2 true + 2 said); COATS 0
    assert scores["category3_code_macro_f1"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert scores["full_price_median_ape"] == pytest.approx((0.2 + 0.5) / 2)
    assert scores["full_price_within_10_percent"] == 0.25
    assert scores["full_price_within_25_percent"] == 0.5
    assert scores["full_price_mae"] == pytest.approx((10 + 100 + 200) / 3)
    log_errors = math.log(1.1) + math.log(2) + math.log(1.2)
    assert scores["full_price_mean_abs_log_error"] == pytest.approx(log_errors / 3)


def test_an_unparsed_answer_is_wrong_everywhere(task):
    nothing = [Answer("?", None, "no") for _ in TRUTHS]
    assert score_answers(task, TRUTHS, nothing) == {
        "parse_rate": 0.0,
        "title_exact_match": 0.0,
        "title_token_f1": 0.0,
        "title_chrf": 0.0,
        "category3_code_accuracy": 0.0,
        "category3_code_macro_f1": 0.0,
        "full_price_median_ape": 1.0,
        "full_price_within_10_percent": 0.0,
        "full_price_within_25_percent": 0.0,
    }


def test_no_rows_give_no_scores(task):
    assert score_answers(task, [], []) == {}


def test_a_truth_of_zero_has_no_relative_error():
    task = Task.from_dict(
        {"question": "?", "answer": "{count}", "fields": {"count": {"type": "integer"}}}
    )
    truths = [{"count": 0}, {"count": -4}]
    said = [Answer("", {"count": 3}), Answer("", {"count": -5})]
    assert score_answers(task, truths, said) == {
        "parse_rate": 1.0,
        "count_median_ape": 0.25,
        "count_mae": 2.0,
        "count_within_10_percent": 0.0,
        "count_within_25_percent": 1.0,
    }
    assert math.isnan(row_scores(task, truths, said)["count_ape"][0])


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("loss", True),
        ("full_price_median_ape", True),
        ("full_price_mean_abs_log_error", True),
        ("full_price_mae", True),
        ("full_price_within_10_percent", False),
        ("title_token_f1", False),
        ("parse_rate", False),
        ("colour_word_accuracy", False),
    ],
)
def test_is_lower_better(name, lower):
    assert is_lower_better(name) is lower
