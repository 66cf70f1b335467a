"""Everything that answers, measured on the same rows: model, twins, baselines, best possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loupe.evaluate.baselines import (
    centred,
    constant_answer,
    copied_answers,
    median_answers,
    nearest,
)
from loupe.evaluate.intervals import Draws, Interval, resample
from loupe.evaluate.ridge import ridge_answers
from loupe.evaluate.rows import Rows
from loupe.evaluate.scores import answer_statistics, is_number
from loupe.evaluate.weighted import Statistic, Values
from loupe.evaluate.words import Words
from loupe.task import Answer, Task

__all__ = ["FEATURES", "Measured", "Measures", "System", "baseline_ladder"]

FEATURES = "features"
VECTOR_LABELS = {
    "pixels_16": "16×16 pixels",
    "pixels_32": "32×32 pixels",
    FEATURES: "the tower's features",
}

Role = Literal["model", "variant", "twin", "baseline", "best_possible"]


@dataclass(frozen=True)
class System:
    """One who answers every row, in all of the task's fields or in some."""

    name: str
    label: str
    role: Role
    answers: Sequence[Answer]
    fields: tuple[str, ...]
    is_oracle: bool = False
    """Whether it was told part of the truth."""


@dataclass(frozen=True)
class Measured:
    """A system with its scores."""

    system: System
    draws: dict[str, Draws]
    scores: dict[str, Interval]


@dataclass(frozen=True)
class Measures:
    """How systems are measured: the same rows, words and resamples for all."""

    task: Task
    rows: Rows
    words: tuple[Words, ...]
    resamples: int
    confidence: float
    seed: int

    def measure(self, system: System) -> Measured:
        """Score a system's answers."""
        fields = system.fields
        statistics = answer_statistics(self.task, self.rows.truths, system.answers, fields)
        for words in self.words:
            if set(words.fields) <= set(fields):
                statistics |= words.statistics(system.answers)
        if system.role in {"baseline", "best_possible"} or set(fields) < set(self.task.fields):
            del statistics["parse_rate"]
        draws = self.draw(statistics, self.rows.groups)
        scores = {name: drawn.interval(self.confidence) for name, drawn in draws.items()}
        return Measured(system, draws, scores)

    def draw(self, statistics: Mapping[str, Statistic], groups: Sequence[str]) -> dict[str, Draws]:
        """Resample statistics of rows that belong to these groups."""
        return resample(statistics, groups, resamples=self.resamples, seed=self.seed)


def baseline_ladder(
    task: Task,
    rows: Rows,
    train: Rows,
    answers: Sequence[Answer],
    vectors: Mapping[str, tuple[Values, Values]],
    seed: int = 0,
) -> list[System]:
    """Answer by every baseline, the simplest first; `vectors` are (training rows', these rows')."""
    constant = [constant_answer(task, train.truths)] * len(rows)
    ladder = [
        System("constant", "always the same answer", "baseline", constant, tuple(task.fields))
    ]
    ladder += _median_systems(task, rows, train, answers)
    for name, (theirs, ours) in vectors.items():
        neighbours = nearest(*centred(theirs, ours), train.groups, rows.groups)
        copied = copied_answers(train.truths, neighbours[:, 0].tolist())
        label = f"nearest neighbour by {VECTOR_LABELS.get(name, name)}"
        ladder.append(System(f"nearest_{name}", label, "baseline", copied, tuple(task.fields)))
    if FEATURES in vectors:
        groups = train.groups, rows.groups
        said, fields = ridge_answers(task, train.truths, vectors[FEATURES], groups, seed)
        label = f"ridge regression on {VECTOR_LABELS[FEATURES]}"
        ladder += [System(f"ridge_{FEATURES}", label, "baseline", said, fields)] if fields else []
    return ladder


def _median_systems(task: Task, rows: Rows, train: Rows, answers: Sequence[Answer]) -> list[System]:
    numbers = tuple(field for field in task.fields if is_number(task, field))
    choices = [field for field in task.fields if task.fields[field].type == "choice"]
    systems = []
    for choice in choices if numbers else []:
        predicted = [(answer.values or {}).get(choice) for answer in answers]
        true: list[Any] = [truth[choice] for truth in rows.truths]
        for said, kind in ((predicted, "predicted"), (true, "true")):
            label = f"median of the {kind} {choice}"
            medians = median_answers(train.truths, choice, said, numbers)
            name, is_oracle = f"median_of_{kind}_{choice}", kind == "true"
            systems.append(System(name, label, "baseline", medians, numbers, is_oracle))
    return systems
