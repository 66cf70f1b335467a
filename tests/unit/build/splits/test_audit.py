import numpy as np
import pytest

from loupe.build.pictures.perceptual_hash import HASH_BYTES
from loupe.build.splits.audit import audit_split, compare_with_random
from loupe.build.splits.split import SPLITS


def sides_of(*names):
    return np.array([SPLITS.index(name) for name in names], np.int8)


def hashes(*numbers):
    return np.array(numbers, np.uint64)


def test_test_rows_that_share_a_key_with_train_are_counted():
    sides = sides_of("train", "test", "test", "validation", "test")
    keys = {"title": hashes(1, 1, 2, 3, 3), "id": hashes(0, 0, 0, 0, 0)}
    audit = audit_split(sides, hashes(1, 1, 2, 3, 3), keys)
    assert audit["test_rows_leaked"] == 1
    assert audit["rows_sharing"] == {"title": 4, "id": 0}
    assert (audit["groups"], audit["largest_group_rows"]) == (3, 2)


@pytest.mark.parametrize(
    ("groups", "leaked"),
    [(range(10), 0.0), ([1] * 10, 2.0), ([1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 2 * 7 / 9)],
    ids=["alone", "one group", "pairs"],
)
def test_leak_of_a_random_split_is_expected_exactly(groups, leaked):
    sides = sides_of(*["train"] * 7, "validation", "test", "test")
    audit = audit_split(sides, hashes(*groups), {"id": hashes(*[0] * 10)})
    assert audit["test_rows_leaked_if_random"] == pytest.approx(leaked, abs=0.05)  # one decimal


def catalogue(families=100, members=4):
    """Families of one price and nearly one picture, the prices of families unlike each other."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(families), members)
    pictures = random.integers(0, 250, (families, HASH_BYTES)).astype(np.uint8)[groups]
    pictures += random.integers(0, 5, pictures.shape).astype(np.uint8)
    prices = 10 ** random.uniform(1, 4, families)[groups]
    return groups, pictures, prices


def test_random_split_flatters_the_neighbours_price():
    groups, pictures, prices = catalogue()
    sides = np.where(groups < 20, SPLITS.index("test"), 0).astype(np.int8)
    found = compare_with_random(sides, groups.astype(np.uint64), pictures, prices, {})
    error = found["neighbour_price_error"]
    assert error["rows"] == 400
    assert error["random_split"] == 0.0  # a sibling of the same price is the nearest
    assert error["this_split"] > 0.5


def test_neighbours_are_looked_for_in_a_bounded_number_of_rows():
    groups, pictures, prices = catalogue(families=1500)
    sides = np.where(groups % 5, 0, SPLITS.index("test")).astype(np.int8)
    found = compare_with_random(sides, groups.astype(np.uint64), pictures, prices, {})
    assert found["neighbour_price_error"]["rows"] == 4000


def test_split_without_prices_is_measured_by_choices_alone():
    sides = sides_of(*["train", "test"] * 20)
    choices = {"category": hashes(*[1, 2] * 20)}
    found = compare_with_random(
        sides,
        hashes(*range(40)),
        np.zeros((40, HASH_BYTES), np.uint8),
        np.full(40, np.nan),
        choices,
    )
    assert "neighbour_price_error" not in found
    assert found["unlike_test_rows"]["category"]["this_split"] == 0.5
    assert found["unlike_test_rows"]["category"]["random_split"] < 0.3
