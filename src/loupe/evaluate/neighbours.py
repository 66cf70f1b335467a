"""The training pictures that the tower takes for the most like each row's, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loupe.evaluate.baselines import centred, nearest
from loupe.evaluate.look import make_thumbnail
from loupe.evaluate.rows import Rows
from loupe.evaluate.weighted import Values

__all__ = ["Neighbours", "find_neighbours"]

COUNT = 3
THUMBNAIL_PX = 72
PAGE_BYTES = 9_000_000  # of thumbnails on a page, of which base64 makes 12 MB


@dataclass(frozen=True)
class Neighbours:
    """Each row's nearest training rows, the nearest first."""

    train: Rows
    of_row: tuple[tuple[int, ...], ...]
    """Places among the training rows, for each of the first rows."""
    thumbnails: Mapping[int, bytes]
    """JPEG by place; the last ones have none where all would be too much for a page."""


def find_neighbours(
    rows: Rows, train: Rows, vectors: tuple[Values, Values], thumbnails: Sequence[bytes]
) -> Neighbours:
    """Find the neighbours of the first rows, those that have thumbnails.

    vectors: (rows, width) of the training rows, and of the rows.
    """
    shown, left = len(thumbnails), PAGE_BYTES - sum(map(len, thumbnails))
    theirs, ours = centred(vectors[0], vectors[1][:shown])
    found = nearest(theirs, ours, train.groups, rows.groups[:shown], count=COUNT)
    of_row = tuple(tuple(places) for places in found.tolist())
    return Neighbours(train, of_row, _thumbnails(train, of_row, left))


def _thumbnails(train: Rows, of_row: Sequence[Sequence[int]], most_bytes: int) -> dict[int, bytes]:
    made: dict[int, bytes] = {}
    used = 0
    for place in dict.fromkeys(place for places in of_row for place in places):
        made[place] = make_thumbnail(train.split.picture(train.numbers[place]), THUMBNAIL_PX)
        used += len(made[place])
        if used > most_bytes:
            break
    return made
