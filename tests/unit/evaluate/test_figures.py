"""How scores are written for people."""

import pytest

from loupe.evaluate.figures import figure_of, show_interval, show_number
from loupe.evaluate.intervals import Interval
from loupe.task import Task


@pytest.mark.parametrize(
    ("score", "name", "shown"),
    [
        ("parse_rate", "answers that parse", "50.0 % (25.0 to 75.0 %)"),
        ("full_price_median_ape", "full_price: median error", "50.0 % (25.0 to 75.0 %)"),
        ("full_price_mae", "full_price: mean absolute error", "0.5 USD (0.25 to 0.75 USD)"),
        ("title_token_f1", "title: token F1", "0.500 (0.250 to 0.750)"),
        ("colour_word_accuracy", "colour: word accuracy", "50.0 % (25.0 to 75.0 %)"),
    ],
)
def test_scores_are_named_and_written(score, name, shown):
    figure = figure_of(Task.load(), score)
    assert figure.name == name
    assert show_interval(figure, Interval(0.5, 0.25, 0.75)) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.12345, "0.123"), (12.5, "12.5"), (999.9, "1,000"), (1290, "1,290"), (2.5e6, "2,500,000")],
)
def test_show_number(number, shown):
    assert show_number(number) == shown
