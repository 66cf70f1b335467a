"""Maps of which part of each picture decided, and whether they tell of what the model learnt.

A map that looks the same from random weights shows the picture, or the method, and not the model;
so every map is made twice, and the two are compared by the rank correlation of their cells. Source:
Adebayo et al., "Sanity Checks for Saliency Maps", 2018, https://arxiv.org/abs/1810.03292.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loupe.evaluate.rows import Rows
from loupe.evaluate.weighted import Values
from loupe.task import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

    from loupe.predict import Predictor

__all__ = ["FieldMap", "Maps", "RowMaps", "make_maps", "rank_correlation"]

MOST_CORRELATION = 0.5  # above, a map tells as much of random weights as of the learnt ones
FLAT = 0.05  # nats; where hiding any part changes less, the picture did not decide


@dataclass(frozen=True)
class FieldMap:
    """A field's map of one row."""

    drops: Values
    """(rows, columns) of the picture: by how many nats the answer is less likely without it."""
    correlation: float | None
    """With the map from random weights, -1 to 1; None where the map is flat."""

    @property
    def largest(self) -> float:
        """The largest drop, in nats."""
        return float(self.drops.max())


@dataclass(frozen=True)
class RowMaps:
    """The maps of one row, with its main picture."""

    row: int
    picture: Image
    said: Mapping[str, Any]
    """The answer's values, as they were said."""
    fields: dict[str, FieldMap]


@dataclass(frozen=True)
class Maps:
    """The maps of some rows, and the sanity check over all of them."""

    rows: tuple[RowMaps, ...]

    def correlations(self) -> dict[str, float | None]:
        """Give each field's mean rank correlation with the maps from random weights."""
        found: dict[str, float | None] = {}
        for field in self.rows[0].fields if self.rows else ():
            held = [row.fields[field].correlation for row in self.rows]
            known = [value for value in held if value is not None]
            found[field] = float(np.mean(known)) if known else None
        return found

    def failing(self) -> list[str]:
        """Name the fields whose maps random weights would give as well."""
        return [
            field
            for field, mean in self.correlations().items()
            if mean is not None and mean > MOST_CORRELATION
        ]

    def doubts(self) -> list[str]:
        """Say which maps are not to be believed; nothing where all may be."""
        if not (failing := self.failing()):
            return []
        return [
            f"The maps of {', '.join(failing)} look the same from random weights: they do not show "
            "what the model learnt."
        ]

    def to_dict(self, rows: Rows) -> dict[str, Any]:
        """Give what was found as plain data, without the maps themselves."""
        means = self.correlations()
        return {
            "rank_correlation": {f: None if m is None else round(m, 4) for f, m in means.items()},
            "failing": self.failing(),
            "rows": {
                rows.ids[each.row]: {
                    field: {
                        "largest_drop_nats": round(held.largest, 4),
                        "rank_correlation": None
                        if held.correlation is None
                        else round(held.correlation, 4),
                    }
                    for field, held in each.fields.items()
                }
                for each in self.rows
            },
        }


def make_maps(
    predictor: Predictor,
    rows: Rows,
    answers: Sequence[Answer],
    count: int,
    batch_size: int,
    seed: int,
) -> Maps:
    """Make maps for `count` rows, evenly spaced over those whose answer parses.

    The answers are taken as they were said. The model's weights are random for a while in between.

    Raises:
        PredictError: the tokenizer cannot tell where a field's tokens stand.
    """
    from loupe.predict.occlusion import occlusion_maps, randomised_weights

    said = {row: predictor.task.parse(answer.text).values for row, answer in enumerate(answers)}
    parsed = {row: values for row, values in said.items() if values is not None}
    chosen = [list(parsed)[place] for place in _evenly(len(parsed), count)]
    pictures = {row: rows.split.pictures(rows.numbers[row]) for row in chosen}

    def map_all() -> list[dict[str, Values]]:
        return [
            dict(occlusion_maps(predictor, pictures[row], parsed[row], batch_size=batch_size))
            for row in chosen
        ]

    learnt = map_all()
    with randomised_weights(predictor.model, seed):
        random = map_all()
    return Maps(
        tuple(
            RowMaps(row, pictures[row][0], parsed[row], _compare(ours, theirs))
            for row, ours, theirs in zip(chosen, learnt, random, strict=True)
        )
    )


def rank_correlation(one: Values, other: Values) -> float:
    """Give Spearman's correlation of two arrays of one shape; 0 where one is constant."""
    ranks = np.stack([_ranks(one.ravel()), _ranks(other.ravel())])
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float(ranks[0] @ ranks[1]) / length if length else 0.0


def _compare(learnt: dict[str, Values], random: dict[str, Values]) -> dict[str, FieldMap]:
    return {
        field: FieldMap(
            drops,
            None if np.abs(drops).max() < FLAT else rank_correlation(drops, random[field]),
        )
        for field, drops in learnt.items()
    }


def _ranks(values: Values) -> Values:
    """Rank values from 1; equal ones share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _evenly(length: int, count: int) -> list[int]:
    if not length:
        return []
    places: list[int] = np.unique(
        np.linspace(0, length - 1, min(count, length)).astype(int)
    ).tolist()
    return places
