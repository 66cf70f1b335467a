"""The baseline ladder's answers."""

import numpy as np
import pytest
from PIL import Image

from loupe.evaluate import baselines
from loupe.evaluate.baselines import (
    constant_answer,
    copied_answers,
    median_answers,
    nearest,
    pixels,
)
from loupe.task import Task

TRAIN = [
    {"title": "Wool Scarf", "category3_code": "SCARVES", "full_price": 100.0},
    {"title": "Wool Scarf", "category3_code": "SCARVES", "full_price": 300.0},
    {"title": "Coat", "category3_code": "COATS", "full_price": 900.0},
]


def test_constant_says_the_commonest_and_the_median():
    assert constant_answer(Task.load(), TRAIN).values == {
        "title": "Wool Scarf",
        "category3_code": "SCARVES",
        "full_price": 300.0,
    }


def test_median_of_the_named_category_and_of_all_where_it_is_unknown():
    answers = median_answers(
        TRAIN, "category3_code", ["SCARVES", "COATS", "HATS", None], ["full_price"]
    )
    assert [a.values["full_price"] for a in answers] == [200.0, 900.0, 300.0, 300.0]


def test_copied_answers_are_the_neighbours_truth():
    assert copied_answers(TRAIN, [2, 0])[0].values == TRAIN[2]


def test_pixels_are_a_small_square_between_0_and_1():
    vector = pixels(Image.new("RGB", (40, 20), (255, 0, 51)), 4)
    assert vector.shape == (48,)
    np.testing.assert_allclose(vector[:3], [1, 0, 0.2])


@pytest.mark.parametrize("cells", [1, 20_000_000], ids=["row by row", "at once"])
def test_nearest_is_the_smallest_distance(monkeypatch, cells):
    monkeypatch.setattr(baselines, "MAX_DISTANCES", cells)
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(30, 5)), rng.normal(size=(7, 5))
    expected = np.linalg.norm(test[:, None] - train, axis=2).argsort(axis=1)
    found = nearest(train, test, range(30), range(30, 37), count=4)
    np.testing.assert_array_equal(found, expected[:, :4])


def test_nearest_passes_over_rows_of_the_same_group():
    vectors = np.array([[0.0], [0.1], [5.0]])
    assert nearest(vectors, vectors, list("aab"), list("aab"))[:, 0].tolist() == [2, 2, 1]
