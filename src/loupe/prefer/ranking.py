"""Rank a row's answers by the scores of its fields; the best and the worst make a pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loupe.evaluate.scores import is_number, row_scores
from loupe.prefer.samples import Texts
from loupe.task import Answer, Task

__all__ = ["Pair", "Ranked", "Weights", "make_pair", "rank_answers", "score_texts", "tell_pairs"]

ROUNDING = 1e-9  # 0.7 - 0.6 is a little less than 0.1
CUT_OFF = Answer("", None, "cut off before its end")

Weights = Mapping[str, float]
"""By how much each field counts; one that is not named counts 1."""
Scores = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class Pair:
    """Two answers to one row, the better first."""

    row_id: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float


@dataclass(frozen=True)
class Ranked:
    """The pairs of all rows, and what their answers were like."""

    pairs: tuple[Pair, ...]
    rows: int
    answers: int
    cut_off: int
    """Answers that did not end within the tokens allowed."""
    unparsed: int
    """Answers that ended, but do not parse."""
    mean_score: float
    """Of all answers."""

    def to_dict(self) -> dict[str, Any]:
        """Give the counts and the mean scores as plain data."""
        told = {name: value for name, value in asdict(self).items() if name != "pairs"}
        chosen = [pair.chosen_score for pair in self.pairs]
        rejected = [pair.rejected_score for pair in self.pairs]
        return {
            **told,
            "pairs": len(self.pairs),
            "mean_chosen_score": float(np.mean(chosen)) if chosen else None,
            "mean_rejected_score": float(np.mean(rejected)) if rejected else None,
        }


def rank_answers(
    task: Task,
    truths: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Texts],
    weights: Weights,
    margin: float,
) -> Ranked:
    """Make a pair of each row whose best and worst answers differ by at least `margin`.

    Args:
        task: the task, whose fields give the scores.
        truths: the typed values of each row, by row id.
        samples: the answers drawn for each row, by row id.
        weights: by how much each field counts.
        margin: least difference of the two scores, 0 to 1.
    """
    pairs, scores = [], []
    for row_id, texts in samples.items():
        of_row = score_texts(task, truths[row_id], texts, weights)
        scores.append(of_row)
        if pair := make_pair(row_id, texts, of_row, margin):
            pairs.append(pair)
    drawn = [text for texts in samples.values() for text in texts]
    ended = [text for text in drawn if text is not None]
    return Ranked(
        pairs=tuple(pairs),
        rows=len(samples),
        answers=len(drawn),
        cut_off=len(drawn) - len(ended),
        unparsed=sum(task.parse(text).values is None for text in ended),
        mean_score=float(np.mean(np.concatenate(scores))) if scores else 0.0,
    )


def tell_pairs(facts: Mapping[str, Any]) -> str:
    """Tell what the answers were like and how many rows gave pairs."""
    told = (
        f"{facts['pairs']:,} of {facts['rows']:,} rows gave a pair; of {facts['answers']:,} "
        f"answers {facts['unparsed']:,} do not parse and {facts['cut_off']:,} were cut off. "
        f"Mean score of an answer {facts['mean_score']:.3f}"
    )
    if facts["pairs"]:
        told += (
            f", of the preferred {facts['mean_chosen_score']:.3f}, of those they are preferred to "
            f"{facts['mean_rejected_score']:.3f}"
        )
    return told + "."


def score_texts(task: Task, truth: Mapping[str, Any], texts: Texts, weights: Weights) -> Scores:
    """Score answers to one row: the weighted mean of their fields' scores, each 0 to 1.

    A text counts its token F1, a choice whether it is right, a number 1 less its absolute error
    relative to the truth, and 0 where it is off by all of it or more. An answer that was cut off
    or does not parse has 0.
    """
    answers = [CUT_OFF if text is None else task.parse(text) for text in texts]
    rows = row_scores(task, [truth] * len(answers), answers)
    fields = [_field_scores(task, field, rows) for field in task.fields]  # (fields, answers)
    counts = [weights.get(field, 1.0) for field in task.fields]
    mean: Scores = np.average(fields, axis=0, weights=counts) * rows["parsed"]
    return mean


def make_pair(row_id: str, texts: Texts, scores: Scores, margin: float) -> Pair | None:
    """Pair the best answer with the worst, the earlier of equals; None where they are too alike.

    Answers that were cut off are left out: their end was never said, so it must not be unlearnt.
    """
    whole = [(score, text) for score, text in zip(scores, texts, strict=True) if text is not None]
    if not whole:
        return None
    best, chosen = max(whole, key=_score_of)
    worst, rejected = min(whole, key=_score_of)
    if chosen == rejected or best - worst < margin - ROUNDING:
        return None
    return Pair(row_id, chosen, rejected, float(best), float(worst))


def _score_of(scored: tuple[float, str]) -> float:
    return scored[0]


def _field_scores(task: Task, field: str, rows: Mapping[str, Scores]) -> Scores:
    if task.fields[field].type == "text":
        return rows[f"{field}_token_f1"]
    if not is_number(task, field):
        return rows[f"{field}_right"]
    relative, error = rows[f"{field}_ape"], rows[f"{field}_error"]
    exact = (error == 0).astype(float)  # of a truth of 0 there is no relative error
    return np.where(np.isnan(relative), exact, 1 - np.clip(relative, 0, 1))
