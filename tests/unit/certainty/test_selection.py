"""Which answers are given, on numbers that can be checked by hand."""

import numpy as np
import pytest

from loupe.certainty.selection import DOUBT, chance_of_hits, risk_by_share, select


def test_the_chance_of_hits_is_the_binomials():
    assert chance_of_hits(3, 3, 0.9) == pytest.approx(0.9**3)
    assert chance_of_hits(2, 3, 0.9) == pytest.approx(0.9**3 + 3 * 0.9**2 * 0.1)
    assert chance_of_hits(0, 7, 0.3) == pytest.approx(1.0)


def test_the_surest_rows_are_taken_as_far_as_they_hit():
    spreads, hits = np.arange(1000.0), np.ones(1000)
    hits[600:] = 0.0
    found = select(spreads, hits, 0.9)
    assert (found.rows, found.share, found.hits, found.most_spread) == (600, 0.6, 1.0, 599.0)


def test_the_order_is_by_spread_alone():
    order = np.random.default_rng(0).permutation(1000)
    spreads, hits = np.arange(1000.0)[order], (np.arange(1000) < 600).astype(float)[order]
    assert select(spreads, hits, 0.9).rows == 600


def test_rows_of_equal_spread_go_together():
    found = select(np.repeat([1.0, 2.0], 500), np.repeat([1.0, 0.0], 500), 0.9)
    assert (found.rows, found.most_spread) == (500, 1.0)


def test_a_share_that_is_reached_by_few_rows_is_not_believed():
    """0.9 to the power of 50 is just above a tenth of the doubt, to that of 51 below it."""
    assert 0.9**51 < DOUBT / 10 < 0.9**50
    assert select(np.arange(50.0), np.ones(50), 0.9) is None
    assert select(np.arange(51.0), np.ones(51), 0.9).share == 1.0


def test_none_holds_where_errors_are_too_many():
    assert select(np.arange(1000.0), np.tile([1.0, 0.0], 500), 0.9) is None


def test_what_is_taken_holds_for_further_rows_as_often_as_is_said():
    """The surer a row the likelier a hit; what does not hold is rarely taken."""
    generator, failed = np.random.default_rng(3), 0
    for _ in range(200):
        spreads = generator.uniform(0, 1, 400)
        hits = (generator.uniform(0, 1, 400) < 1 - 0.4 * spreads).astype(float)
        found = select(spreads, hits, 0.9)
        failed += found is not None and 1 - 0.4 * found.most_spread / 2 < 0.9
    assert failed <= 20


def test_the_risk_of_the_surest_rows():
    found = risk_by_share(np.array([3.0, 1.0, 2.0]), np.array([0.9, 0.1, 0.2]))
    assert found == pytest.approx([0.1, 0.15, 0.4])
