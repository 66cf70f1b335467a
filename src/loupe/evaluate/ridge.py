"""Ridge regression on the tower's features: what its eyes are worth without the language model.

Numbers are regressed by their logarithms, choices one against the rest. The penalty of each field
is the one that does best on held-out groups of the training rows. Source: Hastie, Tibshirani and
Friedman, "The Elements of Statistical Learning", 2009, sections 3.4.1, 4.2 and 7.10.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loupe.evaluate.scores import is_number
from loupe.evaluate.weighted import Values
from loupe.task import Answer, Task

__all__ = ["ridge_answers"]

FOLDS = 5
PENALTIES = np.logspace(-4, 2, 13)  # as shares of the features' mean variance


@dataclass(frozen=True)
class Fit:
    """Training rows turned to the axes of their features, where any penalty is quick."""

    mean: Values
    scale: Values
    axes: Values
    """(width, axes)."""
    variances: Values
    """Along each axis: (axes,)."""
    moments: Values
    """Of the axes with the targets: (axes, targets)."""
    offsets: Values
    """Means of the targets."""

    @classmethod
    def of(cls, vectors: Values, targets: Values) -> Fit:
        """Turn vectors (rows, width) and targets (rows, targets)."""
        mean, scale, offsets = vectors.mean(axis=0), vectors.std(axis=0), targets.mean(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        shown = (vectors - mean) / scale
        variances, axes = np.linalg.eigh(shown.T @ shown / len(shown))
        moments = axes.T @ (shown.T @ (targets - offsets)) / len(shown)
        return cls(mean, scale, axes, np.maximum(variances, 0.0), moments, offsets)

    def predict(self, vectors: Values, penalty: float) -> Values:
        """Give the targets expected of vectors: (rows, targets)."""
        turned = ((vectors - self.mean) / self.scale) @ self.axes
        expected: Values = turned @ (self.moments / (self.variances + penalty)[:, None])
        return expected + self.offsets


@dataclass(frozen=True)
class Target:
    """A field as columns of numbers, and the way back."""

    columns: Values
    """(training rows, 1) of a number, (training rows, choices) of a choice."""
    choices: tuple[str, ...] = ()
    is_log: bool = False

    @classmethod
    def of(cls, task: Task, field: str, train: Sequence[Mapping[str, Any]]) -> Target:
        """Write a field of the training rows as columns."""
        values = [row[field] for row in train]
        if is_number(task, field):
            numbers = np.array([float(value) for value in values])[:, None]
            is_log = bool((numbers > 0).all())
            return cls(np.log(numbers) if is_log else numbers, is_log=is_log)
        choices = tuple(dict.fromkeys(values))
        return cls(np.array([[float(v == choice) for choice in choices] for v in values]), choices)

    def loss(self, expected: Values, rows: NDArray[np.integer]) -> float:
        """Give the error on these rows: squared of numbers, the share of wrong choices."""
        true = self.columns[rows]
        if self.choices:
            return float((expected.argmax(axis=1) != true.argmax(axis=1)).mean())
        return float(((expected - true) ** 2).mean())

    def read(self, expected: Values) -> list[Any]:
        """Give the values that expected columns mean; numbers within the training rows' range."""
        if self.choices:
            return [self.choices[place] for place in expected.argmax(axis=1)]
        inside = np.clip(expected[:, 0], self.columns.min(), self.columns.max())
        numbers: list[Any] = (np.exp(inside) if self.is_log else inside).tolist()
        return numbers


def ridge_answers(
    task: Task,
    train: Sequence[Mapping[str, Any]],
    vectors: tuple[Values, Values],
    groups: tuple[Sequence[Hashable], Sequence[Hashable]],
    seed: int,
) -> tuple[list[Answer], tuple[str, ...]]:
    """Answer the numbers and choices of rows by their vectors, and name these fields.

    Training rows of groups that are themselves answered take no part. Nothing is answered where no
    field is a number or a choice, or where fewer than two groups are left.

    Args:
        task: its texts are left out.
        train: true values of the training rows.
        vectors: (rows, width) of the training rows, and of those to answer.
        groups: of both likewise.
        seed: of the division of groups into folds.
    """
    fields = tuple(field for field, kind in task.fields.items() if kind.type != "text")
    known, asked = vectors
    answered = set(groups[1])
    kept = [row for row, group in enumerate(groups[0]) if group not in answered]
    if not fields or len({groups[0][row] for row in kept}) < 2:
        return [], ()
    targets = {field: Target.of(task, field, [train[row] for row in kept]) for field in fields}
    theirs = known[kept].astype(np.float64)
    folds = list(_folds([groups[0][row] for row in kept], seed))
    columns = np.concatenate([target.columns for target in targets.values()], axis=1)
    penalties = _choose_penalties(theirs, columns, targets, folds)
    fit = Fit.of(theirs, columns)
    said = {
        field: target.read(fit.predict(asked.astype(np.float64), penalties[field])[:, place])
        for (field, target), place in zip(targets.items(), _places(targets), strict=True)
    }
    rows = zip(*said.values(), strict=True)
    return [Answer("", dict(zip(fields, row, strict=True))) for row in rows], fields


def _folds(groups: Sequence[Hashable], seed: int) -> Iterator[NDArray[np.bool_]]:
    """Tell of each row whether it is held out, fold by fold; groups stay together."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    count = min(FOLDS, len(numbers))
    fold_of_group = np.random.default_rng(seed).permutation(len(numbers)) % count
    fold_of_row = fold_of_group[[numbers[group] for group in groups]]
    for fold in range(count):
        yield fold_of_row == fold


def _choose_penalties(
    vectors: Values,
    columns: Values,
    targets: Mapping[str, Target],
    folds: Sequence[NDArray[np.bool_]],
) -> dict[str, float]:
    """Give for each field the penalty with the least error on rows held out."""
    losses = {field: np.zeros(len(PENALTIES)) for field in targets}
    for is_out in folds:
        fit, rows = Fit.of(vectors[~is_out], columns[~is_out]), np.flatnonzero(is_out)
        for number, penalty in enumerate(PENALTIES):
            expected = fit.predict(vectors[is_out], penalty)
            for (field, target), place in zip(targets.items(), _places(targets), strict=True):
                losses[field][number] += len(rows) * target.loss(expected[:, place], rows)
    return {field: float(PENALTIES[np.argmin(loss)]) for field, loss in losses.items()}


def _places(targets: Mapping[str, Target]) -> Iterator[slice]:
    """Give the columns of each field among those of all."""
    begin = 0
    for target in targets.values():
        end = begin + target.columns.shape[1]
        yield slice(begin, end)
        begin = end
