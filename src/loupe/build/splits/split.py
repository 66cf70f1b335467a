"""Deal groups to splits: by the hash of seed and group, unless that unbalances a stratum.

Groups are dealt in the order of the table, each once and for all, as patients who arrive one
after the other are put into the arms of a trial: at random, until an arm is too far ahead in the
patient's stratum. Source: the "big stick" of J. F. Soares and C. F. J. Wu, "Some restricted
randomization rules in sequential designs", Communications in Statistics 12(17), 1983.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from loupe.build.splits.groups import Hashes, Rows
from loupe.errors import BuildError

__all__ = ["SPLITS", "UNDECIDED", "Sides", "price_classes", "split_groups"]

SPLITS = ("train", "validation", "test")
UNDECIDED = -1
Sides = npt.NDArray[np.int8]
"""A place in SPLITS for each row: (rows,)."""

_DRAWN = (2, 1, 0)  # the order of the sides along a group's hash
_CLASSES_PER_DECADE = 5  # a price class ends 58 % above its beginning
_LOWEST_CLASS = -2000  # below that of the smallest float
_LEAD = 1  # groups by which a side may be ahead of its share in a stratum
_TOLERANCE = 0.2  # of a split's rows: how far dealing groups may miss the share
_DEALT_POLICY = "stratified group hash"
_FILLED_POLICY = "group hash order"


def price_classes(prices: npt.NDArray[np.float64]) -> Rows:
    """Give each price its class, by fixed bounds, five to a decade: (rows,).

    The bounds of deciles would move when rows are added, and rows with them.
    """
    positive = prices > 0
    classes = np.floor(_CLASSES_PER_DECADE * np.log10(np.where(positive, prices, 1.0)))
    return np.where(positive, classes, _LOWEST_CLASS).astype(np.int64)


def split_groups(
    groups: Hashes,
    anchors: Hashes,
    strata: Hashes,
    kept: Sides,
    *,
    shares: Sequence[float],
    seed: int,
) -> tuple[Sides, str]:
    """Choose each row's side so that groups stay whole; also name the policy used.

    A group's hash is that of its first row's anchor, which no later row changes, and its stratum
    that of its first row. `kept` has the side that a row must keep, or
    UNDECIDED; where rows of one group differ in it, most of them decide. `shares` are those of
    SPLITS.

    A group keeps its side when others come after it; one that comes before can change the sides
    of its own stratum. Where few or large groups make a split miss its share of rows by more than
    a fifth, and none was kept, groups are instead taken in the order of their hashes until each
    share is filled.

    Raises:
        BuildError: there are fewer groups than splits.
    """
    ids, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    wanted = [side for side, share in enumerate(shares) if share > 0]
    if len(ids) < len(wanted):
        raise BuildError(
            f"All {len(groups):,} rows fall into {len(ids)} group(s): rows that share the title, "
            "the id, the picture or all columns of group_by, or look alike, stay together. "
            f"{', '.join(SPLITS[side] for side in wanted)} need {len(wanted)}. Add other products, "
            "name fewer rows alike, or set validation_share or test_share to 0."
        )
    positions = [_position(anchor, seed) for anchor in anchors[first].tolist()]
    held = _vote(kept, inverse, len(ids))
    order = np.argsort(first)
    sides = _deal(order.tolist(), positions, strata[first].tolist(), held, shares)
    sizes = np.bincount(inverse)
    if (held == UNDECIDED).all() and not _keeps_shares(sides, sizes, shares):
        sides = _fill(np.argsort(positions).tolist(), sizes.tolist(), shares)
        return sides[inverse], _FILLED_POLICY
    return sides[inverse], _DEALT_POLICY


def _position(anchor: int, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{anchor:016x}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _vote(kept: Sides, inverse: Rows, groups: int) -> Sides:
    """Give each group the side that most of its rows must keep: (groups,)."""
    votes = np.zeros((groups, len(SPLITS)), np.int64)
    voting = kept != UNDECIDED
    np.add.at(votes, (inverse[voting], kept[voting]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), UNDECIDED).astype(np.int8)


def _deal(
    order: Sequence[int],
    positions: Sequence[float],
    strata: Sequence[int],
    held: Sides,
    shares: Sequence[float],
) -> Sides:
    """Deal groups in order, after those whose side is held: (groups,)."""
    dealt: dict[int, list[int]] = {}
    sides = held.copy()
    for group in sorted(order, key=lambda group: held[group] == UNDECIDED):
        counts = dealt.setdefault(strata[group], [0] * len(SPLITS))
        if sides[group] == UNDECIDED:
            sides[group] = _choose(positions[group], counts, shares)
        counts[sides[group]] += 1
    return sides


def _choose(position: float, counts: Sequence[int], shares: Sequence[float]) -> int:
    """Take the side that the hash says; where it is too far ahead, the one furthest behind."""
    behind = [
        share * (sum(counts) + 1) - count for share, count in zip(shares, counts, strict=True)
    ]
    ends = accumulate(shares[side] for side in _DRAWN)
    drawn = next((side for side, end in zip(_DRAWN, ends, strict=True) if position < end), 0)
    return drawn if 1 - behind[drawn] <= _LEAD else behind.index(max(behind))


def _keeps_shares(sides: Sides, sizes: Rows, shares: Sequence[float]) -> bool:
    rows = np.bincount(sides, sizes, len(SPLITS)) / sizes.sum()
    misses = np.abs(rows - shares) > _TOLERANCE * np.asarray(shares)
    return bool(rows[0] > 0 and not misses[1:].any())


def _fill(order: Sequence[int], sizes: Sequence[int], shares: Sequence[float]) -> Sides:
    """Fill each share with the groups that fit, in order; where none fits, with the smallest."""
    sides = np.zeros(len(order), np.int8)
    free = list(order)
    wanted = [side for side in _DRAWN if side and shares[side] > 0]
    for place, side in enumerate(wanted):
        still_needed = len(wanted) - place  # groups for the splits after this one, train included
        room = round(shares[side] * sum(sizes))
        taken: list[int] = []
        for group in free:
            if sizes[group] <= room and len(free) - len(taken) > still_needed:
                taken.append(group)
                room -= sizes[group]
        taken = taken or [min(free, key=sizes.__getitem__)]
        sides[taken] = side
        free = [group for group in free if sides[group] == 0]
    return sides
