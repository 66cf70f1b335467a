"""Whether the model looks, in words."""

import pytest

from loupe.evaluate.intervals import Interval
from loupe.evaluate.verdict import Gain, describe_gain, state_verdict
from loupe.task import Task

CLEAR, UNCLEAR = Interval(0.5, 0.4, 0.6), Interval(0.1, -0.1, 0.3)


def gain(field, score, blind, shuffled):
    return Gain(score, field, {"blind": blind, "shuffled": shuffled})


@pytest.mark.parametrize(
    ("blind", "shuffled", "looks"),
    [(CLEAR, CLEAR, True), (CLEAR, UNCLEAR, False), (UNCLEAR, CLEAR, False)],
    ids=["both", "only over grey", "only over another picture"],
)
def test_a_gain_must_be_clear_over_every_twin(blind, shuffled, looks):
    assert gain("title", "title_token_f1", blind, shuffled).looks is looks


def test_the_verdict_names_fields_on_both_sides():
    gains = [
        gain("title", "title_token_f1", CLEAR, CLEAR),
        gain("category", "category_accuracy", CLEAR, CLEAR),
        gain("price", "price_median_ape", CLEAR, UNCLEAR),
        gain(None, "colour_word_accuracy", UNCLEAR, UNCLEAR),
    ]
    assert state_verdict(gains) == (
        "The model looks: its own picture makes it better at title and category. "
        "There is no evidence that it looks for price."
    )


def test_gains_are_described_in_the_scores_unit():
    task = Task.load()
    assert describe_gain(task, gain("full_price", "full_price_median_ape", CLEAR, UNCLEAR)) == (
        "full_price: median error: no evidence that the model looks. "
        "+50.0 points (+40.0 to +60.0) over a grey picture; "
        "+10.0 points (−10.0 to +30.0) over another row's picture."
    )
    text = describe_gain(task, gain("title", "title_token_f1", CLEAR, CLEAR))
    assert text.startswith("title: token F1: looks. +0.500 (+0.400 to +0.600) over a grey")
