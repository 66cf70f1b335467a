"""A share of the training rows."""

import pytest

from loupe.errors import OptionError
from loupe.options import TrainOptions
from loupe.train.share import draw_rows

GROUPS = [f"g{n // 4}" for n in range(400)]


def test_groups_stay_whole():
    rows = draw_rows(GROUPS, 0.25, seed=0)
    assert len(rows) == 100
    assert {GROUPS.count(GROUPS[row]) for row in rows} == {4}
    assert len({GROUPS[row] for row in rows}) == 25


def test_smaller_shares_are_within_larger_ones():
    few, many = (set(draw_rows(GROUPS, share, seed=3)) for share in (0.125, 0.5))
    assert few < many


def test_each_seed_draws_its_own():
    assert draw_rows(GROUPS, 0.5, seed=0) != draw_rows(GROUPS, 0.5, seed=1)


def test_all_is_all_in_order():
    assert draw_rows(GROUPS, 1.0, seed=7) == list(range(400))


def test_one_group_is_left_at_least():
    assert len(draw_rows(GROUPS, 0.0001, seed=0)) == 4


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_shares_that_cannot_be_meant_are_refused(share):
    with pytest.raises(OptionError, match="train_share is"):
        TrainOptions(dataset="d", output="o", train_share=share)
