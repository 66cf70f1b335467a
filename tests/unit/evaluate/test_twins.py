"""Blind and shuffled twins."""

import numpy as np
import pytest

from loupe.evaluate.twins import blind_answers, grey_picture, shuffled_rows
from loupe.task import Answer


def test_grey_picture_has_the_size_and_shows_nothing():
    picture = grey_picture((30, 20))
    assert picture.size == (30, 20)
    assert picture.getcolors() == [(600, (128, 128, 128))]


def test_blind_answers_ask_each_size_once():
    asked = []

    def answer(pictures):
        asked.extend(picture.size for picture in pictures)
        return [Answer(str(picture.size), {}) for picture in pictures]

    answers = blind_answers(answer, [(4, 4), (8, 4), (4, 4)])
    assert asked == [(4, 4), (8, 4)]
    assert [a.text for a in answers] == ["(4, 4)", "(8, 4)", "(4, 4)"]


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_rows_come_from_other_groups_each_once(seed):
    groups = list("aaabbcccddef")
    chosen = shuffled_rows(groups, seed)
    assert sorted(chosen) == list(range(len(groups)))
    assert all(groups[i] != groups[j] for i, j in enumerate(chosen))


def test_shuffled_rows_never_keep_their_own_picture_even_in_one_group():
    chosen = shuffled_rows(["a"] * 5, 0)
    assert all(chosen != np.arange(5))


def test_shuffled_rows_follow_the_seed():
    groups = range(50)
    np.testing.assert_array_equal(shuffled_rows(groups, 1), shuffled_rows(groups, 1))
    assert (shuffled_rows(groups, 1) != shuffled_rows(groups, 2)).any()


def test_a_single_row_has_no_other_picture():
    assert shuffled_rows(["a"], 0) is None
