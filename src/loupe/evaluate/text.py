"""How near one text is to another: tokens shared, and character n-grams shared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from loupe.evaluate.weighted import Values

__all__ = ["chrf_counts", "token_f1", "tokens"]

CHRF_ORDERS = 6  # Popović 2015: n-grams of 1 to 6 characters


def tokens(text: str) -> list[str]:
    """Words of a text, case folded, without punctuation; its characters where it has no word.

    >>> tokens("Check Cotton T-shirt, 2-pack")
    ['check', 'cotton', 't', 'shirt', '2', 'pack']
    """
    folded = text.casefold()
    return re.findall(r"\w+", folded) or re.findall(r"\S", folded)


def token_f1(answer: str, truth: str) -> float:
    """Harmonic mean of the shares of tokens in common, whatever their order, 0 to 1.

    Source: the F1 of SQuAD (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250), without its
    removal of English articles.
    """
    answered, true = Counter(tokens(answer)), Counter(tokens(truth))
    if not answered and not true:
        return 1.0
    both = sum((answered & true).values())
    return 2 * both / (answered.total() + true.total())


def chrf_counts(answers: Sequence[str], truths: Sequence[str]) -> Values:
    """Count n-grams for chrF: (rows, orders, 3), of the answer, of the truth, and in both."""
    pairs = list(zip(map(_squeeze, answers), map(_squeeze, truths), strict=True))
    counts = {
        (answer, truth): [_order_counts(answer, truth, n) for n in range(1, CHRF_ORDERS + 1)]
        for answer, truth in set(pairs)
    }
    rows = [counts[pair] for pair in pairs]
    return np.array(rows, dtype=np.float64).reshape(len(rows), CHRF_ORDERS, 3)


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _order_counts(answer: str, truth: str, order: int) -> tuple[int, int, int]:
    answered, true = _ngrams(answer, order), _ngrams(truth, order)
    if not true:  # as sacrebleu: what has no reference is not held against the answer
        return 0, 0, 0
    return answered.total(), true.total(), (answered & true).total()


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))
