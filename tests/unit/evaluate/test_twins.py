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
        sizes = [tuple(picture.size for picture in row) for row in pictures]
        asked.extend(sizes)
        return [Answer(str(each), {}) for each in sizes]

    one, other, two = ((4, 4),), ((8, 4),), ((8, 4), (4, 4))
    answers = blind_answers(answer, [one, other, one, two, two])
    assert asked == [one, other, two]
    assert [a.text for a in answers] == list(map(str, [one, other, one, two, two]))


def test_blind_answers_grey_every_picture_of_a_row():
    def answer(pictures):
        return [Answer(str([each.getcolors() for each in row]), {}) for row in pictures]

    [answered] = blind_answers(answer, [((4, 4), (2, 3))])
    assert answered.text == "[[(16, (128, 128, 128))], [(6, (128, 128, 128))]]"


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
