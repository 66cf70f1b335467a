"""A share of the training rows, drawn by group, for runs that tell what more rows would give."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

__all__ = ["draw_rows"]


def draw_rows(groups: Sequence[Hashable], share: float, seed: int) -> list[int]:
    """Give the places of the rows of a share of the groups, in their order; at least one group's.

    By one seed, the groups of a smaller share are among those of a larger one.
    """
    distinct = list(dict.fromkeys(groups))
    random.Random(seed).shuffle(distinct)
    kept = set(distinct[: max(1, round(share * len(distinct)))])
    return [place for place, group in enumerate(groups) if group in kept]
