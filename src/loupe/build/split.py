"""Put each group on one side, by the hash of seed and group, and audit what that prevented."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loupe.build.groups import Keys, count_shared
from loupe.errors import BuildError

__all__ = ["SPLITS", "audit_split", "split_groups"]

SPLITS = ("train", "validation", "test")
_TOLERANCE = 0.2  # of a split's rows: how far hashes alone may miss the share
_HASH_POLICY = "group hash"
_ORDER_POLICY = "group hash order"


def split_groups(
    sizes: Mapping[str, int], *, validation_share: float, test_share: float, seed: int
) -> tuple[dict[str, str], str]:
    """Choose the split of each group, given the rows of each; also name the policy used.

    A group's hash, a number in [0, 1), is compared with the shares, so that a group never
    changes sides when others are added ("group hash"). Where few or large groups make that miss a
    share by more than a fifth, groups are taken in the order of their hashes until
    each share is filled ("group hash order").

    Raises:
        BuildError: there are fewer groups than splits.
    """
    shares = {"test": test_share, "validation": validation_share}
    wanted = {split: share for split, share in shares.items() if share > 0}
    if len(sizes) < len(wanted) + 1:
        raise BuildError(
            f"All {sum(sizes.values()):,} rows fall into {len(sizes)} group(s): rows that share "
            "the title, the id, the picture or all columns of group_by stay together. "
            f"{', '.join(['train', *wanted])} need {len(wanted) + 1}. Add other products, name "
            "fewer rows alike, or set validation_share or test_share to 0."
        )
    positions = {group: _position(group, seed) for group in sizes}
    chosen = _split_by_position(positions, wanted)
    if _keeps_shares(chosen, sizes, wanted):
        return chosen, _HASH_POLICY
    return _split_by_order(sorted(sizes, key=positions.__getitem__), sizes, wanted), _ORDER_POLICY


def audit_split(splits: Sequence[str], groups: Sequence[str], keys: Keys) -> dict[str, Any]:
    """Count what grouping did.

    `test_rows_leaked` counts test rows that share a key with a training row, afresh from the
    keys; `test_rows_leaked_if_random` is the expected count had rows been split at random.
    """
    sizes = Counter(groups)
    return {
        "groups": len(sizes),
        "largest_group_rows": max(sizes.values(), default=0),
        "rows_sharing": count_shared(keys),
        "test_rows_leaked": _count_leaked(splits, keys),
        "test_rows_leaked_if_random": round(
            _expect_leaked(sizes, splits.count("train"), splits.count("test")), 1
        ),
    }


def _position(group: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _split_by_position(
    positions: Mapping[str, float], shares: Mapping[str, float]
) -> dict[str, str]:
    chosen = dict.fromkeys(positions, "train")
    start = 0.0
    for split, share in shares.items():
        chosen |= {g: split for g, at in positions.items() if start <= at < start + share}
        start += share
    return chosen


def _keeps_shares(
    chosen: Mapping[str, str], sizes: Mapping[str, int], shares: Mapping[str, float]
) -> bool:
    total = sum(sizes.values())
    rows = Counter[str]()
    for group, split in chosen.items():
        rows[split] += sizes[group]
    misses = (
        abs(rows[s] - share * total) > _TOLERANCE * share * total for s, share in shares.items()
    )
    return rows["train"] > 0 and not any(misses)


def _split_by_order(
    ordered: Sequence[str], sizes: Mapping[str, int], shares: Mapping[str, float]
) -> dict[str, str]:
    """Fill each share with the groups that fit, in order; where none fits, with the smallest."""
    total = sum(sizes.values())
    chosen = dict.fromkeys(ordered, "train")
    free = list(ordered)
    for place, (split, share) in enumerate(shares.items()):
        still_needed = len(shares) - place  # groups for the splits after this one, train included
        room = round(share * total)
        taken: list[str] = []
        for group in free:
            if sizes[group] <= room and len(free) - len(taken) > still_needed:
                taken.append(group)
                room -= sizes[group]
        taken = taken or [min(free, key=sizes.__getitem__)]
        chosen |= dict.fromkeys(taken, split)
        free = [group for group in free if group not in set(taken)]
    return chosen


def _count_leaked(splits: Sequence[str], keys: Keys) -> int:
    leaked = set()
    for column in keys.values():
        rows = list(zip(splits, column, strict=True))
        trained = {key for split, key in rows if split == "train" and key is not None}
        leaked |= {
            row for row, (split, key) in enumerate(rows) if split == "test" and key in trained
        }
    return len(leaked)


def _expect_leaked(sizes: Mapping[str, int], train_rows: int, test_rows: int) -> float:
    """Expect the test rows with a sibling in train, over random splits of the same counts."""
    total = sum(sizes.values())
    expected = 0.0
    for size in sizes.values():
        none_in_train = 1.0
        for sibling in range(size - 1):
            none_in_train *= max(total - 1 - train_rows - sibling, 0) / (total - 1 - sibling)
        expected += size * test_rows / total * (1 - none_in_train)
    return expected
