"""Scores of answers beside the truth, for each field by its type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loupe.evaluate.text import chrf_counts, token_f1
from loupe.evaluate.weighted import CorpusChrf, MacroF1, Mean, Median, Statistic, Values
from loupe.task import Answer, Task

__all__ = [
    "answer_statistics",
    "bounded_number",
    "headline_score",
    "headline_statistics",
    "is_lower_better",
    "is_number",
    "row_scores",
    "score_answers",
]

Truths = Sequence[Mapping[str, Any]]

HEADLINES = {"text": "token_f1", "choice": "accuracy"}
NUMBER_HEADLINE = "median_ape"
LOWER_IS_BETTER = ("_median_ape", "_mean_abs_log_error", "_mae")
UNPARSED_APE = 1.0  # an answer without a price is off by all of it
LARGEST = 1e15  # a number further out counts as this, so that means stay numbers
ROUNDING = 1e-9  # 1.1 / 1.0 - 1 is a little more than 0.1


def score_answers(task: Task, truths: Truths, answers: Sequence[Answer]) -> dict[str, float]:
    """Score free-running answers against the rows' true values.

    `parse_rate`; of a text field `{field}_exact_match`, `_token_f1`, `_chrf`; of a choice
    `_accuracy`, `_macro_f1`; of a price, integer or number `_median_ape` (absolute error relative
    to the truth), `_within_10_percent`, `_within_25_percent`, `_mae` (in the field's unit),
    `_mean_abs_log_error`. All but the last two lie between 0 and 1 at best and at worst,
    APE excepted, which has no upper end.

    An answer that does not parse is wrong in every text and choice, counts as an APE of 1 and as
    within nothing. MAE and log error are over the parsed answers; log error also needs both
    numbers above 0, and relative errors a truth other than 0. A score for which no row counts is
    left out.
    """
    if not truths:
        return {}
    everyone = np.ones((1, len(truths)))
    statistics = answer_statistics(task, truths, answers)
    scores = {name: float(statistic(everyone)[0]) for name, statistic in statistics.items()}
    return {name: score for name, score in scores.items() if not math.isnan(score)}


def is_lower_better(name: str) -> bool:
    """Whether a smaller value of this score, or of the loss, is the better one."""
    return name == "loss" or name.endswith(("_loss", *LOWER_IS_BETTER))


def is_number(task: Task, field: str) -> bool:
    """Whether the field is a price, an integer or a number."""
    return task.fields[field].type not in HEADLINES


def headline_score(task: Task, field: str) -> str:
    """Name of the one score that stands for a field in comparisons."""
    return f"{field}_{HEADLINES.get(task.fields[field].type, NUMBER_HEADLINE)}"


def headline_statistics(
    task: Task, truths: Truths, answers: Sequence[Answer]
) -> dict[str, Mean | Median]:
    """Give the one score of each field that stands for it; these can be had of some rows alone."""
    rows = row_scores(task, truths, answers)
    parts = {"text": "token_f1", "choice": "right"}
    return {
        headline_score(task, field): Median(rows[f"{field}_ape"])
        if is_number(task, field)
        else Mean(rows[f"{field}_{parts[kind.type]}"])
        for field, kind in task.fields.items()
    }


def bounded_number(value: float) -> float:
    """Give an answered number as a float; a model can write integers that no float holds."""
    return float(min(max(value, -LARGEST), LARGEST))


def answer_statistics(
    task: Task,
    truths: Truths,
    answers: Sequence[Answer],
    fields: Sequence[str] | None = None,
) -> dict[str, Statistic]:
    """Scores as functions of how often each row counts; `fields` None means all of the task's."""
    rows = row_scores(task, truths, answers, fields)
    found: dict[str, Statistic] = {"parse_rate": Mean(rows["parsed"])}
    for field in task.fields if fields is None else fields:
        true, said = [truth[field] for truth in truths], _said(answers, field)
        if task.fields[field].type == "text":
            found |= _text_statistics(field, rows, true, said)
        elif task.fields[field].type == "choice":
            found |= _choice_statistics(field, rows, true, said)
        else:
            found |= _number_statistics(field, rows)
    return found


def row_scores(
    task: Task,
    truths: Truths,
    answers: Sequence[Answer],
    fields: Sequence[str] | None = None,
) -> dict[str, Values]:
    """What each row adds: `parsed`, `{field}_right`, `_token_f1`, `_ape`, `_error`, `_log_error`.

    NaN where a row does not count.
    """
    rows = {"parsed": np.array([answer.values is not None for answer in answers], dtype=float)}
    for field in task.fields if fields is None else fields:
        true, said = [truth[field] for truth in truths], _said(answers, field)
        if is_number(task, field):
            rows |= _number_rows(field, true, said)
            continue
        right = [one == other for one, other in zip(said, true, strict=True)]
        rows[f"{field}_right"] = np.array(right, dtype=float)
        if task.fields[field].type == "text":
            shared = [token_f1(a or "", t) for a, t in zip(said, true, strict=True)]
            rows[f"{field}_token_f1"] = np.array(shared)
    return rows


def _said(answers: Sequence[Answer], field: str) -> list[Any]:
    return [None if answer.values is None else answer.values.get(field) for answer in answers]


def _number_rows(field: str, true: list[Any], said: list[Any]) -> dict[str, Values]:
    truth = np.array([float(value) for value in true])
    answer = np.array([np.nan if value is None else bounded_number(value) for value in said])
    error = np.abs(answer - truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(np.isnan(error), UNPARSED_APE, error / np.abs(truth))
        log_error = np.abs(np.log(answer) - np.log(truth))
    positive = (answer > 0) & (truth > 0)
    return {
        f"{field}_ape": np.where(truth == 0, np.nan, relative),
        f"{field}_error": error,
        f"{field}_log_error": np.where(positive, log_error, np.nan),
    }


def _text_statistics(
    field: str, rows: dict[str, Values], true: list[str], said: list[str | None]
) -> dict[str, Statistic]:
    return {
        f"{field}_exact_match": Mean(rows[f"{field}_right"]),
        f"{field}_token_f1": Mean(rows[f"{field}_token_f1"]),
        f"{field}_chrf": CorpusChrf(chrf_counts([text or "" for text in said], true)),
    }


def _choice_statistics(
    field: str, rows: dict[str, Values], true: list[str], said: list[str | None]
) -> dict[str, Statistic]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(true))}
    truths = np.array([numbers[value] for value in true], dtype=np.int64)
    answers = np.array(
        [-1 if value is None else numbers.get(value, -1) for value in said], dtype=np.int64
    )
    return {
        f"{field}_accuracy": Mean(rows[f"{field}_right"]),
        f"{field}_macro_f1": MacroF1(truths, answers),
    }


def _number_statistics(field: str, rows: dict[str, Values]) -> dict[str, Statistic]:
    relative = rows[f"{field}_ape"]
    return {
        f"{field}_median_ape": Median(relative),
        f"{field}_mean_abs_log_error": Mean(rows[f"{field}_log_error"]),
        f"{field}_mae": Mean(rows[f"{field}_error"]),
        f"{field}_within_10_percent": Mean(_within(relative, 0.10)),
        f"{field}_within_25_percent": Mean(_within(relative, 0.25)),
    }


def _within(relative: Values, share: float) -> Values:
    return np.where(np.isnan(relative), np.nan, (relative <= share + ROUNDING).astype(float))
