"""Words that the text should say."""

import numpy as np
import pytest

from loupe.evaluate.words import Words, find_phrases
from loupe.task import Answer

COLOURS = frozenset({("blue",), ("light", "blue"), ("red",), ("off", "white")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Light Blue Shirt", {("light", "blue")}),
        ("Blue and red scarf", {("blue",), ("red",)}),
        ("Bluebell tired coat", set()),
        ("OFF-WHITE bag", {("off", "white")}),
        ("", set()),
    ],
    ids=["longest first", "two", "whole tokens only", "hyphen and case", "nothing"],
)
def test_find_phrases(text, expected):
    assert find_phrases(text, COLOURS) == expected


def score(values, truths, said):
    words = Words.of("colour", values, [{"title": t} for t in truths], ["title"])
    answers = [Answer("", None if text is None else {"title": text}) for text in said]
    everyone = np.ones((1, len(said)))
    return {name: s(everyone)[0] for name, s in words.statistics(answers).items()}


def test_right_means_the_phrase_and_no_other():
    scores = score(
        ["blue", "light blue", "red", "red"],
        ["Blue Shirt", "Light Blue Coat", "Red Bag", "Red Hat"],
        ["Blue Coat", "Blue Coat", "Red Blue Bag", None],
    )
    assert scores == {"colour_word_accuracy": 0.25, "colour_word_accuracy_with_none": 0.25}


def test_rows_without_a_value_must_stay_silent():
    scores = score(
        ["blue", None, "N.A.", float("nan")],
        ["Blue Shirt", "Coat", "Bag", "Hat"],
        ["Blue Shirt", "Coat", "Blue Bag", None],
    )
    assert scores == {"colour_word_accuracy": 1.0, "colour_word_accuracy_with_none": 0.5}


def test_a_value_that_the_true_text_leaves_out_is_not_asked_for():
    scores = score(["plain", "check"], ["Wool Scarf", "Check Scarf"], ["Scarf", "Check Scarf"])
    assert scores == {"colour_word_accuracy": 1.0, "colour_word_accuracy_with_none": 1.0}


def test_known_values_widen_the_vocabulary():
    words = Words.of("colour", ["blue"], [{"title": "Blue Hat"}], ["title"], known=["red", None])
    assert words.vocabulary == {("blue",), ("red",)}


def test_a_column_named_word_gives_a_score_that_says_it_once():
    words = Words.of("colour_word", ["blue"], [{"title": "Blue Hat"}], ["title"])
    names = list(words.statistics([Answer("", {"title": ""})]))
    assert names == ["colour_word_accuracy", "colour_word_accuracy_with_none"]
