"""Which rows show the same thing: rows that agree in any rule's key form one group."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

__all__ = [
    "Hashes",
    "Keys",
    "Rows",
    "count_shared",
    "group_rows",
    "join_pairs",
    "join_rows",
    "name_groups",
]

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Keys = Mapping[str, Hashes]
"""By rule, one key for each row: (rows,); 0 joins the row with none."""


def group_rows(keys: Keys) -> Rows:
    """Give each row the lowest row of its group: (rows,)."""
    columns = list(keys.values())
    pairs = [_pair_with_first(column) for column in columns]
    ones, others = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return join_rows(len(columns[0]), ones, others)


def join_rows(count: int, ones: Rows, others: Rows) -> Rows:
    """Give each of `count` rows the lowest row that pairs of rows lead to: (count,).

    >>> join_rows(5, np.array([0, 3]), np.array([2, 2])).tolist()
    [0, 1, 0, 0, 4]
    """
    roots = np.arange(count)
    while True:
        lowest = np.minimum(roots[ones], roots[others])
        joined = roots.copy()
        for rows in (ones, others, roots[ones], roots[others]):
            np.minimum.at(joined, rows, lowest)
        joined = joined[joined]
        if np.array_equal(joined, roots):
            return roots
        roots = joined


def join_pairs(count: int, pairs: Iterable[tuple[Rows, Rows]]) -> Hashes:
    """Give rows that pairs lead to one key above 0, all others 0: (count,)."""
    ones, others = map(np.concatenate, zip(*pairs, strict=True))
    roots = join_rows(count, ones, others)
    members = np.bincount(roots, minlength=count)
    return np.where(members[roots] > 1, roots + 1, 0).astype(np.uint64)


def name_groups(roots: Rows, anchors: Hashes) -> Hashes:
    """Give each row its group's id, the smallest of its members' anchors: (rows,).

    The id does not depend on the order of rows, and a row that joins a group changes the
    group's id only where its own anchor is new and happens to be the smallest.
    """
    smallest = np.full(len(roots), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, roots, anchors)
    named: Hashes = smallest[roots]
    return named


def count_shared(keys: Keys) -> dict[str, int]:
    """Count, by rule, the rows that share their key with another row."""
    shared = {}
    for rule, column in keys.items():
        counts = np.unique(column[column != 0], return_counts=True)[1]
        shared[rule] = int(counts[counts > 1].sum())
    return shared


def _pair_with_first(column: Hashes) -> tuple[Rows, Rows]:
    """Pair each row that has a key with the first row that has the same."""
    rows = np.flatnonzero(column)
    _, first, inverse = np.unique(column[rows], return_index=True, return_inverse=True)
    return rows, rows[first[inverse]]
