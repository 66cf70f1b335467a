"""What grouping and stratifying did: measured on the split, and on random splits of its sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from loupe.build.pictures.perceptual_hash import Packed, small_pixels
from loupe.build.splits.groups import Hashes, Keys, Rows, count_shared
from loupe.build.splits.split import SPLITS, Sides

__all__ = ["audit_split", "compare_with_random"]

_TRAIN, _TEST = SPLITS.index("train"), SPLITS.index("test")
_RANDOM_SPLITS = 5
_MAX_ROWS = 4000  # whose neighbours are looked for
_DECILES = np.linspace(0, 1, 11)[1:-1]

Numbers = npt.NDArray[np.float64]


def audit_split(sides: Sides, groups: Hashes, keys: Keys) -> dict[str, Any]:
    """Count what grouping did.

    `test_rows_leaked` counts test rows that share a key with a training row, afresh from the
    keys; `test_rows_leaked_if_random` is the expected count had rows been split at random.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    train, test = (int((sides == side).sum()) for side in (_TRAIN, _TEST))
    return {
        "groups": len(sizes),
        "largest_group_rows": int(sizes.max(initial=0)),
        "rows_sharing": count_shared(keys),
        "test_rows_leaked": _count_leaked(sides, keys),
        "test_rows_leaked_if_random": round(_expect_leaked(sizes, train, test), 1),
    }


def compare_with_random(
    sides: Sides, groups: Hashes, hashes: Packed, prices: Numbers, choices: dict[str, Hashes]
) -> dict[str, Any]:
    """Measure the split and random splits of the same sizes, the latter five times.

    `neighbour_price_error` is the median relative error of the price of the training row whose
    6×6 px are nearest to a test row's: what siblings in train would have flattered. It looks at
    4,000 rows at most, in the order of their groups' ids. `unlike_test_rows` tells, by
    field, which share of the test rows would have to change their decile or choice for test to
    be distributed as all rows are.
    """
    found: dict[str, Any] = {}
    rows = np.argsort(groups, kind="stable")[:_MAX_ROWS]
    pixels = small_pixels(hashes[rows]).astype(np.float32)
    error = _both(sides[rows], lambda each: _neighbour_error(each, pixels, prices[rows]))
    if error is not None:
        found["neighbour_price_error"] = {"rows": len(rows), **error}
    strata = {name: np.unique(column, return_inverse=True)[1] for name, column in choices.items()}
    known = np.isfinite(prices)
    if known.any():
        strata["price_decile"] = np.digitize(prices, np.quantile(prices[known], _DECILES))
    found["unlike_test_rows"] = {
        name: _both(sides, partial(_unlike, strata=column)) for name, column in strata.items()
    }
    return found


def _both(sides: Sides, measure: Callable[[Sides], float | None]) -> dict[str, float] | None:
    """Measure this split, and shuffled ones of which the mean is taken."""
    random = np.random.default_rng(0)
    shuffled = [measure(random.permutation(sides)) for _ in range(_RANDOM_SPLITS)]
    ours, others = measure(sides), [value for value in shuffled if value is not None]
    if ours is None or not others:
        return None
    return {"this_split": round(ours, 4), "random_split": round(float(np.mean(others)), 4)}


def _neighbour_error(
    sides: Sides, pixels: npt.NDArray[np.float32], prices: Numbers
) -> float | None:
    """Give the median relative error of the nearest training row's price; None without rows."""
    known = prices > 0
    train, test = (np.flatnonzero(known & (sides == side)) for side in (_TRAIN, _TEST))
    if not len(train) or not len(test):
        return None
    squares = (pixels[train] ** 2).sum(axis=1) - 2 * pixels[test] @ pixels[train].T
    nearest = train[squares.argmin(axis=1)]  # (test rows,)
    return float(np.median(np.abs(prices[nearest] - prices[test]) / prices[test]))


def _unlike(sides: Sides, strata: Rows) -> float | None:
    """Give the total variation distance between the strata of test rows and of all rows."""
    held = strata[sides == _TEST]
    if not len(held):
        return None
    size = int(strata.max()) + 1
    gap = np.bincount(held, minlength=size) / len(held) - np.bincount(strata) / len(strata)
    return float(np.abs(gap).sum() / 2)


def _count_leaked(sides: Sides, keys: Keys) -> int:
    leaked = np.zeros(len(sides), np.bool_)
    for column in keys.values():
        trained = np.unique(column[(sides == _TRAIN) & (column != 0)])
        leaked |= (sides == _TEST) & np.isin(column, trained)
    return int(leaked.sum())


def _expect_leaked(sizes: Rows, train_rows: int, test_rows: int) -> float:
    """Expect the test rows with a sibling in train, over random splits of the same counts."""
    total = int(sizes.sum())
    expected = 0.0
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        siblings = np.arange(size - 1)
        none_in_train = np.prod(
            np.maximum(total - 1 - train_rows - siblings, 0) / (total - 1 - siblings)
        )
        expected += count * size * test_rows / total * (1 - none_in_train)
    return float(expected)
