"""Labels that count by more or less: digits by a weight, prices nearby in part, or smoothed."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from loupe.train.examples import Example

__all__ = ["SoftLabels", "collect_spellings"]

FARTHEST = 3.0  # spreads from the true price; what is farther counts for less than 1 %

TokenIds = tuple[int, ...]
Spellings = Mapping[str, Mapping[float, TokenIds]]
"""The token ids of each price that occurs, by field."""


def collect_spellings(examples: Iterable[Example]) -> Spellings:
    """Collect how the prices of examples are written."""
    spellings: dict[str, dict[float, TokenIds]] = defaultdict(dict)
    for example in examples:
        for price in example.prices:
            spellings[price.field][price.value] = example.answer_ids[price.begin : price.end]
    return spellings


class SoftLabels:
    """Gives for each place of an answer the tokens that are right, and by how much each counts.

    Args:
        tokenizer: of the model.
        digit_weight: by how much a digit counts, where other tokens count 1.
        price_spread: how far a price nearby counts as partly right, as a share of the true one: the
            standard deviation of a normal distribution of log prices over the prices that occur.
            At each digit the tokens count as far as the prices that begin so do.
        spellings: the prices that occur; no others count.
        smoothing: share of each label that all tokens divide.
    """

    def __init__(
        self,
        tokenizer: Any,
        digit_weight: float,
        price_spread: float,
        spellings: Spellings,
        smoothing: float = 0.0,
    ) -> None:
        self._smoothing = smoothing
        self._digit_weight = digit_weight
        self._digits = torch.tensor(_tokens_of_digits(tokenizer))
        self._spread = price_spread
        self._sorted = {name: sorted(prices.items()) for name, prices in spellings.items()}
        self._shares: dict[tuple[str, TokenIds], list[dict[int, float]]] = {}

    def soften(self, examples: Sequence[Example], labels: torch.Tensor) -> dict[str, Any]:
        """Give the model's `label_choices` and `label_weights`, (examples, tokens, choices) each.

        And its `label_smoothing`, a number.

        labels: (examples, tokens); prompts and padding are not scored, and of no meaning here.
        """
        shared = [
            (row, len(example.prompt_ids) + price.begin + place, shares)
            for row, example in enumerate(examples)
            for price in example.prices
            for place, shares in enumerate(self._share_price(example, price))
        ]
        most = max((len(shares) for _, _, shares in shared), default=1)
        choices = labels.clamp(min=0).unsqueeze(2).repeat(1, 1, most)
        weights = torch.zeros(choices.shape)
        weights[:, :, 0] = 1.0
        for row, place, shares in shared:
            choices[row, place, : len(shares)] = torch.tensor([*shares])
            weights[row, place, : len(shares)] = torch.tensor([*shares.values()])
        is_digit = torch.isin(labels, self._digits)
        weights *= torch.where(is_digit, self._digit_weight, 1.0).unsqueeze(2)
        return {
            "label_choices": choices,
            "label_weights": weights,
            "label_smoothing": self._smoothing,
        }

    def _share_price(self, example: Example, price: Any) -> list[dict[int, float]]:
        """Give for each token of a price the tokens that may stand there, and their shares of 1."""
        own = example.answer_ids[price.begin : price.end]
        if self._spread == 0 or price.value <= 0:
            return []
        key = price.field, own
        if key not in self._shares:
            near = {own: 1.0, **self._find_near(price.field, price.value)}
            steps = []
            for place, token in enumerate(own):
                counts: dict[int, float] = defaultdict(float)
                for ids, weight in near.items():
                    counts[ids[place]] += weight
                total = sum(counts.values())
                steps.append({each: count / total for each, count in counts.items()})
                near = {
                    ids: weight
                    for ids, weight in near.items()
                    if ids[place] == token and len(ids) > place + 1
                }
            self._shares[key] = steps
        return self._shares[key]

    def _find_near(self, field: str, value: float) -> dict[TokenIds, float]:
        prices = self._sorted.get(field, [])
        reach = math.exp(FARTHEST * self._spread)
        begin = bisect_left(prices, value / reach, key=lambda item: item[0])
        end = bisect_right(prices, value * reach, key=lambda item: item[0])
        return {
            ids: math.exp(-0.5 * (math.log(other / value) / self._spread) ** 2)
            for other, ids in prices[begin:end]
        }


def _tokens_of_digits(tokenizer: Any) -> list[int]:
    """Give the ids of the tokens that are digits and nothing else."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return [token for token, text in enumerate(texts) if text.strip().isdecimal()]
