"""Pairs of answers as token ids with their pictures, and batches of them as TRL takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset

from loupe.train.batches import IGNORED_LABEL, Collator
from loupe.train.examples import Example, Sample
from loupe.train.pictures import PictureCache
from loupe.train.run import Learning

__all__ = ["REFERENCE", "PairCollator", "PairSet"]

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")  # as TRL names them


class PairSet(Dataset[Any]):
    """Encoded pairs, the preferred answer first, and the pictures they are about.

    Args:
        pairs: the two examples of each pair; they have one prompt.
        rows: the row of each pair, as `cache` knows it.
        cache: opens pictures.
        learning: how is learnt from them.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Example, Example]],
        rows: Sequence[int],
        cache: PictureCache,
        learning: Learning,
    ) -> None:
        self.learning = learning
        self._pairs = list(pairs)
        self._rows = list(rows)
        self._cache = cache

    @property
    def lengths(self) -> list[int]:
        """Tokens of the longer answer of each pair, with its prompt."""
        return [max(map(len, pair)) for pair in self._pairs]

    def __len__(self) -> int:
        """Give the number of pairs."""
        return len(self._pairs)

    def __getitem__(self, place: int) -> tuple[Example, Example]:
        """Give a pair."""
        return self._pairs[place]

    def pictures(self, place: int) -> list[Image.Image]:
        """Give the pictures that a pair is about."""
        return self._cache.pictures(self._rows[place])


class PairCollator:
    """Makes a batch of pairs: all preferred answers first, then the others in the same order."""

    def __init__(self, processor: Any, pairs: PairSet) -> None:
        self._collate = Collator(processor)
        self._pairs = pairs

    def __call__(self, draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Give a batch.

        Args:
            draws: of each pair its place as `pair`, and in training the log probabilities of its
                two answers by the model as it was, named as in REFERENCE.

        Returns:
            `input_ids`, `attention_mask`, `completion_mask`: (2 * pairs, tokens), the mask 1 on
            answers and their ends; the model's picture inputs of all of them; and in training
            the values named in REFERENCE, (pairs,), and `row_ids`.
        """
        places = [int(draw["pair"]) for draw in draws]
        pictures = [self._pairs.pictures(place) for place in places]
        samples = [
            Sample(self._pairs[place][side], shown)
            for side in (0, 1)
            for place, shown in zip(places, pictures, strict=True)
        ]
        batch = self._collate(samples)
        batch["completion_mask"] = (batch.pop("labels") != IGNORED_LABEL).long()
        row_ids = batch.pop("row_ids")[: len(draws)]
        if REFERENCE[0] in draws[0]:
            batch["row_ids"] = row_ids
            for name in REFERENCE:
                batch[name] = torch.tensor([draw[name] for draw in draws])
        return batch
