import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loupe.build.splits.split import SPLITS, UNDECIDED, price_classes, split_groups
from loupe.errors import BuildError

SIZES = st.lists(st.integers(1, 40), min_size=3, max_size=40)


def split(groups, strata=None, kept=None, *, validation=0.1, test=0.2, seed=0, anchors=None):
    """The side of each row, by name, and the policy."""
    groups = np.asarray(groups, np.uint64)
    sides, policy = split_groups(
        groups,
        groups if anchors is None else np.asarray(anchors, np.uint64),
        np.zeros(len(groups), np.uint64) if strata is None else np.asarray(strata, np.uint64),
        np.full(len(groups), UNDECIDED, np.int8) if kept is None else kept,
        shares=(1 - validation - test, validation, test),
        seed=seed,
    )
    return np.array(SPLITS)[sides], policy


def rows_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@settings(deadline=None)  # tests assert nothing on time
@given(SIZES, st.floats(0.01, 0.45), st.floats(0.01, 0.45), st.integers(0, 5))
def test_every_split_that_is_wanted_has_rows(sizes, validation, test, seed):
    sides, _ = split(rows_of(sizes), validation=validation, test=test, seed=seed)
    assert set(sides) == set(SPLITS)


@settings(deadline=None)  # tests assert nothing on time
@given(SIZES, st.integers(0, 5), st.integers(1, 6))
def test_groups_stay_whole(sizes, seed, strata):
    groups = rows_of(sizes)
    rows = np.random.default_rng(seed).permutation(len(groups))
    groups = groups[rows]
    sides, _ = split(groups, np.arange(len(groups)) % strata, seed=seed)
    for group in range(len(sizes)):
        assert len(set(sides[groups == group])) == 1


@pytest.mark.parametrize("count", [10, 30, 100, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_shares_are_kept_within_a_fifth(count, seed):
    groups = rows_of([1 + number % 3 for number in range(count)])
    sides, _ = split(groups, groups % 7, seed=seed)
    assert (sides == "test").sum() == pytest.approx(0.2 * len(groups), rel=0.2, abs=1.5)
    assert (sides == "validation").sum() == pytest.approx(0.1 * len(groups), rel=0.2, abs=1.5)


@pytest.mark.parametrize("seed", range(5))
def test_no_side_is_more_than_a_group_ahead_in_a_stratum(seed):
    groups = np.arange(2000)
    strata = groups % 50  # each of 40 groups: 8 for test, 4 for validation
    sides, policy = split(groups, strata, seed=seed)
    assert policy == "stratified group hash"
    for stratum in range(50):
        here = sides[strata == stratum]
        assert (here == "test").sum() <= 9
        assert (here == "validation").sum() <= 5
        assert (here == "train").sum() <= 29


def test_most_groups_go_where_their_hash_says():
    """What the strata change is a minority: the split stays a random one."""
    groups = np.arange(2000)
    plain, _ = split(groups, groups)  # a stratum each: nothing to balance
    balanced, _ = split(groups, groups % 50)
    assert 0.02 < (plain != balanced).mean() < 0.4


@settings(deadline=None)  # tests assert nothing on time
@given(st.integers(0, 50), st.integers(1, 600))
def test_rows_keep_their_side_when_others_are_added(seed, added):
    rows = np.random.default_rng(seed)
    groups = rows.integers(0, 2500, 3000 + added)
    strata = groups % 60
    before, policy = split(groups[:3000], strata[:3000], seed=seed)
    after, later_policy = split(groups, strata, seed=seed)
    assert policy == later_policy == "stratified group hash"
    assert (after[:3000] == before).all()


def test_row_that_joins_a_group_under_another_name_moves_none():
    """The group's id is the smallest anchor of its rows, which a new row can change."""
    groups = np.arange(5000, 8000)
    before, _ = split(groups, groups % 60)
    renamed = np.append(np.where(groups == 5007, 3, groups), 3)
    anchors = np.append(groups, 3)
    after, _ = split(renamed, np.append(groups % 60, 0), anchors=anchors)
    assert (after[:-1] == before).all()
    assert after[-1] == before[7]


def test_row_that_goes_moves_none_outside_its_stratum():
    groups = np.arange(3000)
    strata = groups % 60
    before, _ = split(groups, strata)
    after, _ = split(groups[1:], strata[1:])
    moved = strata[1:][before[1:] != after]
    assert set(moved) <= {strata[0]}


def test_kept_rows_keep_their_side_in_any_order():
    random = np.random.default_rng(0)
    groups = random.integers(0, 2000, 3000)
    before, _ = split(groups, groups % 40)
    kept = np.array([SPLITS.index(side) for side in before], np.int8)
    kept[random.random(3000) < 0.3] = UNDECIDED
    order = random.permutation(3000)
    after, _ = split(groups[order], groups[order] % 40, kept[order], seed=9)
    held = kept[order] != UNDECIDED
    assert (after[held] == before[order][held]).all()


def test_most_rows_decide_where_a_group_was_on_two_sides():
    kept = np.full(40, UNDECIDED, np.int8)
    kept[:3] = [SPLITS.index("test"), SPLITS.index("train"), SPLITS.index("test")]
    sides, _ = split([0, 0, 0, *range(1, 38)], kept=kept)
    assert set(sides[:3]) == {"test"}


def test_seed_decides_the_split():
    groups = np.arange(50)
    assert (split(groups, seed=1)[0] == split(groups, seed=1)[0]).all()
    assert (split(groups, seed=1)[0] != split(groups, seed=2)[0]).any()


def test_group_larger_than_a_share_goes_to_train():
    sides, policy = split(rows_of([90, *[1] * 30]))
    assert set(sides[:90]) == {"train"}
    assert policy == "group hash order"


def test_share_of_zero_gives_no_rows():
    assert "validation" not in split(np.arange(50), validation=0)[0]


def test_too_few_groups_are_refused_in_words():
    words = "All 90 rows fall into 2 group(s)"
    with pytest.raises(
        BuildError, match=re.escape(words) + ".*train, validation, test need 3. Add other"
    ):
        split(rows_of([60, 30]))


def test_price_classes_have_fixed_bounds_and_a_place_for_no_price():
    classes = price_classes(np.array([100, 158, 159, 1000, 0, -5, np.nan, 1e-300]))
    assert classes.tolist() == [10, 10, 11, 15, -2000, -2000, -2000, -1500]
