import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loupe.build.splits.groups import count_shared, group_rows, name_groups

KEYS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 12), st.integers(1, 5)),
    min_size=1,
    max_size=30,
)


def hashes(*numbers):
    return np.array(numbers, np.uint64)


def by_rule(rows):
    columns = map(hashes, *rows) if len(rows) > 1 else [hashes(key) for key in rows[0]]
    return dict(zip(("one", "two", "three"), columns, strict=True))


@settings(deadline=None)  # tests assert nothing on time
@given(KEYS)
def test_rows_that_share_a_key_share_a_group(rows):
    keys = by_rule(rows)
    groups = group_rows(keys)
    for column in keys.values():
        for key in set(column.tolist()) - {0}:
            assert (
                len({group for group, cell in zip(groups, column, strict=True) if cell == key}) == 1
            )


@settings(deadline=None)  # tests assert nothing on time
@given(KEYS)
def test_groups_are_no_larger_than_the_keys_ask_for(rows):
    """Flood from each row over shared keys: nothing else is in its group."""
    groups = group_rows(by_rule(rows))
    for start in range(len(rows)):
        reached, frontier = {start}, [start]
        while frontier:
            row = frontier.pop()
            near = {
                other
                for other in range(len(rows))
                if any(a == b != 0 for a, b in zip(rows[row], rows[other], strict=True))
            }
            frontier += near - reached
            reached |= near
        assert {row for row, group in enumerate(groups) if group == groups[start]} == reached


@settings(deadline=None)  # tests assert nothing on time
@given(st.data())
def test_group_ids_do_not_depend_on_the_order_of_rows(data):
    rows = data.draw(KEYS)
    order = data.draw(st.permutations(range(len(rows))))
    shuffled = [rows[row] for row in order]

    def name(these):
        anchors = [one * 1000 + two * 10 + three for one, two, three in these]
        return name_groups(group_rows(by_rule(these)), hashes(*anchors)).tolist()

    names = name(rows)
    assert name(shuffled) == [names[row] for row in order]


def test_groups_join_through_a_chain_of_rules():
    keys = {"title": hashes(7, 7, 8, 9), "picture": hashes(1, 2, 2, 3)}
    assert group_rows(keys).tolist() == [0, 0, 0, 3]


def test_groups_join_through_a_chain_of_any_length():
    links = np.arange(1, 2001, dtype=np.uint64)
    keys = {"one": (links + 1) // 2, "two": links // 2}
    shuffled = np.random.default_rng(0).permutation(2000)
    roots = group_rows({rule: column[shuffled] for rule, column in keys.items()})
    assert set(roots.tolist()) == {0}


def test_rows_without_a_key_stay_alone():
    assert group_rows({"id": hashes(0, 0)}).tolist() == [0, 1]


def test_shared_keys_are_counted_by_rule():
    keys = {"title": hashes(5, 5, 6), "id": hashes(0, 0, 1)}
    assert count_shared(keys) == {"title": 2, "id": 0}
