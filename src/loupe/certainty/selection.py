"""Which answers to give where an error must not be exceeded: the surest, as far as that is shown.

Rows are put in the order of how sure they are, and the surest tenth, two tenths, and so on up to
all are tried. A size holds if, by the rows' hits, a share of hits that is not above the one asked
for is refused by the exact binomial test (the lower Clopper-Pearson bound lies above it); ten sizes
are tried, so each is tested at a tenth of DOUBT. The largest that holds is taken.

Source: Clopper and Pearson, 1934; Angelopoulos et al., "Learn then Test", 2021, sections 2 and 3
(thresholds as hypotheses, Bonferroni's correction); Geifman and El-Yaniv, "Selective
Classification for Deep Neural Networks", 2017 (answers withheld).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["DOUBT", "Selection", "chance_of_hits", "risk_by_share", "select"]

DOUBT = 0.05  # chance that some size is taken which does not hold
SIZES = 10

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Selection:
    """The rows that are answered: those whose spread is at most `most_spread`."""

    most_spread: float
    share: float
    """Of the calibration's rows, those that are answered."""
    hits: float
    """Of those, the share whose error is small enough."""
    rows: int


def select(spreads: Floats, is_hit: Floats, confidence: float) -> Selection | None:
    """Give the largest selection of the surest rows that holds; None where none does.

    Args:
        spreads: how unsure each row is, (rows,).
        is_hit: 1 where its error is small enough, else 0, (rows,).
        confidence: least share of hits among the answered.
    """
    for size in range(SIZES, 0, -1):
        rows = math.ceil(len(spreads) * size / SIZES)
        if not rows:
            continue
        most = float(np.sort(spreads)[rows - 1])
        taken = spreads <= most  # rows of equal spread go together
        count, hits = int(taken.sum()), int(is_hit[taken].sum())
        if chance_of_hits(hits, count, confidence) <= DOUBT / SIZES:
            return Selection(most, count / len(spreads), hits / count, count)
    return None


def chance_of_hits(hits: int, rows: int, share: float) -> float:
    """Give the probability of at least so many hits, where each row is one with this share."""
    logs = (
        math.lgamma(rows + 1)
        - math.lgamma(count + 1)
        - math.lgamma(rows - count + 1)
        + count * math.log(share)
        + (rows - count) * math.log1p(-share)
        for count in range(hits, rows + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def risk_by_share(spreads: Floats, errors: Floats) -> Floats:
    """Give the mean error of the surest row, the two surest, and so on: (rows,)."""
    ordered = errors[np.argsort(spreads, kind="stable")]
    return np.asarray(np.cumsum(ordered) / np.arange(1, len(ordered) + 1))
