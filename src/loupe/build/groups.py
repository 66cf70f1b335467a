"""Which rows show the same thing: rows that agree in any rule's key form one group."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

__all__ = ["Keys", "count_shared", "group_rows", "name_groups", "normalise_title"]

Keys = Mapping[str, Sequence[Hashable | None]]
"""By rule, one key for each row; None joins the row with none."""

_GROUP_ID_LENGTH = 16  # hexadecimal digits; 64 bits do not collide by chance


def normalise_title(title: str) -> str:
    """Give the form in which titles are compared: case, spacing and Unicode variants aside."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


def group_rows(keys: Keys) -> list[int]:
    """Give each row the lowest row of its group (union-find over the rules' keys).

    >>> group_rows({"title": ["a", "b", "a", None], "picture": [1, 2, 3, 2]})
    [0, 1, 0, 1]
    """
    parents = list(range(max((len(column) for column in keys.values()), default=0)))

    def find(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for column in keys.values():
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            if key is None:
                continue
            one, other = find(first.setdefault(key, row)), find(row)
            parents[max(one, other)] = min(one, other)
    return [find(row) for row in range(len(parents))]


def name_groups(roots: Sequence[int], anchors: Sequence[str]) -> list[str]:
    """Give each row its group's id: the smallest hash of its members' anchors.

    The id does not depend on the order of rows, and a row that joins a group changes the
    group's id only where its own anchor is new and happens to be the smallest.
    """
    smallest: dict[int, str] = {}
    for root, anchor in zip(roots, anchors, strict=True):
        digest = hashlib.sha256(anchor.encode()).hexdigest()[:_GROUP_ID_LENGTH]
        smallest[root] = min(digest, smallest.get(root, digest))
    return [smallest[root] for root in roots]


def count_shared(keys: Keys) -> dict[str, int]:
    """Count, by rule, the rows that share their key with another row."""
    shared = {}
    for rule, column in keys.items():
        counts = Counter(key for key in column if key is not None)
        shared[rule] = sum(count for count in counts.values() if count > 1)
    return shared
