import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loupe.build.split import audit_split, split_groups
from loupe.errors import BuildError

SIZES = st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 40), min_size=3, max_size=40)


def split(sizes, validation=0.1, test=0.2, seed=0):
    return split_groups(sizes, validation_share=validation, test_share=test, seed=seed)


def count_rows(sizes, chosen):
    rows = Counter()
    for group, side in chosen.items():
        rows[side] += sizes[group]
    return rows


@settings(deadline=None)  # tests assert nothing on time
@given(SIZES, st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 5))
def test_every_split_that_is_wanted_has_rows(sizes, validation, test, seed):
    chosen, _ = split(sizes, validation, test, seed)
    wanted = {"train"} | ({"validation"} if validation else set()) | ({"test"} if test else set())
    assert set(count_rows(sizes, chosen)) == wanted
    assert set(chosen) == set(sizes)


@settings(deadline=None)  # tests assert nothing on time
@given(st.data())
def test_split_does_not_depend_on_the_order_of_groups(data):
    sizes = data.draw(SIZES)
    shuffled = dict(data.draw(st.permutations(list(sizes.items()))))
    assert split(sizes) == split(shuffled)


@pytest.mark.parametrize("count", [10, 30, 100, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_shares_are_kept_within_a_fifth(count, seed):
    sizes = {f"g{number}": 1 + number % 3 for number in range(count)}
    total = sum(sizes.values())
    rows = count_rows(sizes, split(sizes, seed=seed)[0])
    assert rows["test"] == pytest.approx(0.2 * total, rel=0.2, abs=1.5)
    assert rows["validation"] == pytest.approx(0.1 * total, rel=0.2, abs=1.5)


def test_group_keeps_its_side_when_others_are_added():
    sizes = {f"g{number}": 1 for number in range(3000)}
    before, policy = split(sizes)
    after, later_policy = split(sizes | {f"new{number}": 1 for number in range(500)})
    assert policy == later_policy == "group hash"
    assert {group: after[group] for group in before} == before


def test_seed_decides_the_split():
    sizes = {f"g{number}": 1 for number in range(50)}
    assert split(sizes, seed=1)[0] == split(sizes, seed=1)[0] != split(sizes, seed=2)[0]


def test_group_larger_than_a_share_goes_to_train():
    chosen, policy = split({"giant": 90, **{f"g{number}": 1 for number in range(30)}})
    assert chosen["giant"] == "train"
    assert policy == "group hash order"


def test_share_of_zero_gives_no_rows():
    sizes = {f"g{number}": 1 for number in range(50)}
    assert "validation" not in split(sizes, validation=0)[0].values()


def test_too_few_groups_are_refused_in_words():
    words = "All 90 rows fall into 2 group(s)"
    with pytest.raises(
        BuildError, match=re.escape(words) + ".*train, test, validation need 3. Add other"
    ):
        split({"a": 60, "b": 30})


def test_audit_counts_test_rows_that_share_a_key_with_train():
    splits = ["train", "test", "test", "validation", "test"]
    keys = {"title": ["a", "a", "b", "c", "c"], "id": [None] * 5}
    audit = audit_split(splits, ["g1", "g1", "g2", "g3", "g3"], keys)
    assert audit["test_rows_leaked"] == 1
    assert audit["rows_sharing"] == {"title": 4, "id": 0}
    assert (audit["groups"], audit["largest_group_rows"]) == (3, 2)


@pytest.mark.parametrize(
    ("groups", "leaked"),
    [(list("abcdefghij"), 0.0), (["a"] * 10, 2.0), (list("aabbccddee"), 2 * 7 / 9)],
    ids=["alone", "one group", "pairs"],
)
def test_audit_expects_the_leak_of_a_random_split(groups, leaked):
    splits = ["train"] * 7 + ["validation"] + ["test"] * 2
    found = audit_split(splits, groups, {"id": [None] * 10})["test_rows_leaked_if_random"]
    assert found == pytest.approx(leaked, abs=0.05)  # the audit rounds to one decimal
