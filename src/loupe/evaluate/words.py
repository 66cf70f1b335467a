"""Words that the text should say: a colour, a pattern, or whatever a column lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loupe.evaluate.text import tokens
from loupe.evaluate.weighted import Mean, Statistic
from loupe.task import Answer, is_missing

__all__ = ["Words", "find_phrases"]

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """One column's phrases, and what the true texts of the rows say of them.

    Truth is what the row's own text says, so that a perfect answer is always right: a value that
    the true text leaves out ("plain" in a title that names only checks) is not asked for.
    """

    column: str
    vocabulary: frozenset[Phrase]
    fields: tuple[str, ...]
    """The text fields that are searched."""
    expected: tuple[frozenset[Phrase], ...]
    """Phrases in each row's true text."""
    is_asked: tuple[bool, ...]
    """Whether the row has a value, and its true text says it."""

    @classmethod
    def of(
        cls,
        column: str,
        values: Sequence[Any],
        truths: Sequence[Mapping[str, Any]],
        fields: Sequence[str],
        known: Iterable[Any] = (),
    ) -> Words:
        """Take phrases from the rows' values and the `known` ones, and the truth from the texts."""
        phrases = [_phrase(value) for value in values]
        vocabulary = frozenset({*phrases, *map(_phrase, known)} - {()})
        expected = tuple(_found(truth, fields, vocabulary) for truth in truths)
        asked = tuple(phrase in found for phrase, found in zip(phrases, expected, strict=True))
        return cls(column, vocabulary, tuple(fields), expected, asked)

    def statistics(self, answers: Sequence[Answer]) -> dict[str, Statistic]:
        """Score answers: right where they say the phrases of the true text and no other.

        `{column}_word_accuracy` is over the rows whose true text says their value;
        `{column}_word_accuracy_with_none` is over all rows, the silent ones included. A column's
        name may itself end in `_word`, which is said once.
        """
        right = np.array(
            [
                answer.values is not None
                and _found(answer.values, self.fields, self.vocabulary) == expected
                for answer, expected in zip(answers, self.expected, strict=True)
            ],
            dtype=float,
        )
        stem = self.column.removesuffix("_word")
        return {
            f"{stem}_word_accuracy": Mean(np.where(self.is_asked, right, np.nan)),
            f"{stem}_word_accuracy_with_none": Mean(right),
        }


def find_phrases(text: str, vocabulary: frozenset[Phrase]) -> frozenset[Phrase]:
    """Find phrases token by token, the longest first: "light blue" is not "blue"."""
    words, found, at = tokens(text), set(), 0
    longest = max(map(len, vocabulary), default=0)
    while at < len(words):
        candidates = (tuple(words[at : at + length]) for length in range(longest, 0, -1))
        phrase = next((phrase for phrase in candidates if phrase in vocabulary), None)
        if phrase is not None:
            found.add(phrase)
        at += 1 if phrase is None else len(phrase)
    return frozenset(found)


def _phrase(value: Any) -> Phrase:
    return () if is_missing(value) else tuple(tokens(str(value)))


def _found(
    values: Mapping[str, Any], fields: Sequence[str], vocabulary: frozenset[Phrase]
) -> frozenset[Phrase]:
    texts = [values[field] for field in fields if values.get(field) is not None]
    return frozenset().union(*(find_phrases(text, vocabulary) for text in texts))
