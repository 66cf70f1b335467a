"""Give each row a name of its own."""

from typing import Any

import numpy as np
import numpy.typing as npt

from loupe.build.hashing import hash_text
from loupe.task import is_missing

__all__ = ["NO_NAME", "RowNames", "name_key"]

NO_NAME = 0


def name_key(cell: Any) -> int:
    """Give 64 bits that stand for a row's id; NO_NAME where its cell holds none."""
    return NO_NAME if is_missing(cell) else hash_text(str(cell))


class RowNames:
    """Name rows by their id, with `#2` and so on where an id comes again.

    Without ids, or where a row has none, it is `row-` and the row's number, from 1. No two rows
    have one name: a name that another row has as its id is passed over.

    Args:
        keys: `name_key` of each row that will be named: (rows,).
    """

    def __init__(self, keys: npt.NDArray[np.uint64]) -> None:
        self._ids, counts = np.unique(keys[keys != NO_NAME], return_counts=True)
        self._repeated = set(self._ids[counts > 1].tolist())
        self._given: dict[str, int] = {}  # how often each repeated id was given
        self._rows = 0

    def name(self, cell: Any) -> str:
        """Name the next row, whose id is in this cell; None where the table has no ids."""
        self._rows += 1
        if is_missing(cell):
            name = f"row-{self._rows}"
            return self._number(name, 2) if self._is_id(name) else name
        name = str(cell)
        if hash_text(name) not in self._repeated:
            return name
        return self._number(name, 2) if name in self._given else self._give(name, 1)

    def _number(self, base: str, least: int) -> str:
        count = max(least, self._given.get(base, 0) + 1)
        while self._is_id(f"{base}#{count}"):
            count += 1
        return self._give(base, count)

    def _give(self, base: str, count: int) -> str:
        self._given[base] = count
        return base if count == 1 else f"{base}#{count}"

    def _is_id(self, name: str) -> bool:
        key = np.uint64(hash_text(name))
        place = int(np.searchsorted(self._ids, key))
        return place < len(self._ids) and bool(self._ids[place] == key)
