"""Choices as distributions: how likely a model is to say each of a closed set, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from loupe import vlm
from loupe.errors import PredictError
from loupe.predict.prices import AnswerTree
from loupe.task import Task

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor

__all__ = ["ChoiceDistribution", "read_choices"]

MOST_LOGITS = 50_000_000  # held at a time: 200 MB

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class ChoiceDistribution:
    """The choices of a field, and the log probability that a model says each: (choices,).

    Within the closed set: the probabilities sum to 1.
    """

    choices: tuple[str, ...]
    log_shares: Floats

    def probability(self, choice: str) -> float:
        """Give the probability of a choice; 0 for one that is not in the set."""
        pairs = zip(self.choices, self.log_shares, strict=True)
        return float(sum(np.exp(share) for each, share in pairs if each == choice))


@dataclass(frozen=True)
class _Node:
    """A token of the trie of choices, and the places in the cache of those before it."""

    token: int
    places: tuple[int, ...]


@torch.inference_mode()
def read_choices(
    predictor: Predictor,
    pictures: Sequence[vlm.Pictures],
    values: Sequence[Mapping[str, Any]],
    field: str,
) -> list[ChoiceDistribution]:
    """Read the distribution of a choice field, given the answers' fields before it.

    All choices stand behind the prompt as one trie, followed in a single forward pass: each token
    sees the prompt, the answer so far and its own beginning. A choice is its tokens up to the first
    that is past it, so that a choice which begins another one is told from it.

    Args:
        predictor: its task has the field, with its set of choices closed.
        pictures: one per sample.
        values: the typed values that the model answered, in the same order.
        field: name of a choice field.

    Raises:
        PredictError: the tokenizer joins the words before the field with a choice.
    """
    choices: tuple[str, ...] = getattr(predictor.task.fields[field], "choices", None) or ()
    read: dict[int, ChoiceDistribution] = {}
    for alike in _rows_by_following(predictor.task, values, field).values():
        paths = [_tokenize(predictor, values[alike[0]], field, choice) for choice in choices]
        nodes = list(dict.fromkeys(path[:end] for path in paths for end in range(1, len(path))))
        step = max(1, MOST_LOGITS // (max(1, len(nodes)) * len(predictor.processor.tokenizer)))
        for start in range(0, len(alike), step):
            rows = alike[start : start + step]
            shown, held = [pictures[row] for row in rows], [values[row] for row in rows]
            tree = AnswerTree(predictor, shown, held, field)
            for row, shares in zip(rows, _follow(tree, paths, nodes, len(rows)), strict=True):
                read[row] = ChoiceDistribution(choices, shares - np.logaddexp.reduce(shares))
    return [read[row] for row in range(len(pictures))]


def _rows_by_following(
    task: Task, values: Sequence[Mapping[str, Any]], field: str
) -> dict[str, list[int]]:
    """Part rows by what stands behind a field, as far as the token past it may reach.

    That is the template's own text for all rows, but where it is a space alone: that is part of the
    token of the word behind it, which is each row's own.
    """
    parted: dict[str, list[int]] = {}
    for row, each in enumerate(values):
        answer, places = task.format_fields(each)
        end = places[field][1]
        literal = answer[end : min((at for at, _ in places.values() if at >= end), default=None)]
        parted.setdefault(literal if literal.strip() else answer[end:], []).append(row)
    return parted


def _tokenize(
    predictor: Predictor, values: Mapping[str, Any], field: str, choice: str
) -> tuple[int, ...]:
    """Give the tokens of a choice behind the words before it, and the first that is past it."""
    tokenizer, task = predictor.processor.tokenizer, predictor.task
    dialogue = vlm.make_dialogue(predictor.processor, task.question)
    answer, places = task.format_fields({**values, field: choice})
    begin, end = places[field]
    before, said, whole = (
        tuple(tokenizer(dialogue.prompt + text)["input_ids"])
        for text in (answer[:begin].rstrip(), answer[:end], answer + dialogue.end)
    )
    if whole[: len(before)] != before:
        raise PredictError(
            f"The tokenizer joins {answer[:begin]!r} with the choice {choice!r} in one token, so "
            f"how sure {field!r} is cannot be read. End the words before it with a space."
        )
    pairs = zip(said, whole, strict=False)
    shared = next((at for at, (one, two) in enumerate(pairs) if one != two), len(said))
    return whole[len(before) : shared + 1]


def _follow(
    tree: AnswerTree,
    paths: Sequence[tuple[int, ...]],
    nodes: Sequence[tuple[int, ...]],
    rows: int,
) -> Iterator[Floats]:
    """Give for each row the log probability of each path."""
    places = {node: tree.cached + at for at, node in enumerate(nodes)}
    trie = [
        _Node(node[-1], tuple(places[node[:end]] for end in range(1, len(node)))) for node in nodes
    ]
    logits = tree.first
    if nodes:
        logits = torch.cat([logits, tree.run([trie] * rows)], dim=1)
    shares = logits.float().log_softmax(dim=-1)  # (rows, 1 + nodes, vocabulary)
    at = {(): 0} | {node: 1 + place for place, node in enumerate(nodes)}
    steps = [[(at[path[:end]], token) for end, token in enumerate(path)] for path in paths]
    for row in shares:
        yield np.array([sum(float(row[place, token]) for place, token in path) for path in steps])
