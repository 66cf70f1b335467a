"""`loupe compare`: which of two evaluations of the same rows is better, and how sure that is.

Differences are paired: both sides are scored on the same resamples of groups. Where a side is
several training runs of one recipe, each resample also draws as many of them, with replacement, so
that the interval tells of other runs, too. Source: Davison and Hinkley, "Bootstrap Methods and
their Application", 1997, section 3.8 (hierarchical data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loupe.errors import EvaluateError, OptionError
from loupe.evaluate.figures import align_columns, figure_of
from loupe.evaluate.intervals import Draws, Interval, resample
from loupe.evaluate.past import PastEvaluation, find_evaluations
from loupe.evaluate.scores import answer_statistics, is_lower_better
from loupe.options import CompareOptions
from loupe.task import Task

__all__ = ["Comparison", "ScoreComparison", "compare_evaluations"]

FEW_RUNS = 5


@dataclass(frozen=True)
class ScoreComparison:
    """One score of both sides; `advantage` is above 0 where the second is better."""

    name: str
    first: float
    second: float
    advantage: Interval
    share: float
    """Of the resamples, those in which the second is better."""

    @property
    def better(self) -> str | None:
        """Which side is clearly better; None where that is not shown."""
        if self.advantage.low > 0:
            return "second"
        return "first" if self.advantage.high < 0 else None


@dataclass(frozen=True)
class Comparison:
    """What `loupe compare` found."""

    first: tuple[str, ...]
    """Folders of the evaluations that were compared to the second's."""
    second: tuple[str, ...]
    task: Task
    rows: int
    groups: int
    confidence: float
    scores: tuple[ScoreComparison, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        return {
            "first": list(self.first),
            "second": list(self.second),
            "rows": self.rows,
            "groups": self.groups,
            "confidence": self.confidence,
            "scores": {
                score.name: {
                    "first": round(score.first, 6),
                    "second": round(score.second, 6),
                    "advantage": score.advantage.to_dict(),
                    "share_of_resamples": round(score.share, 4),
                    "better": score.better,
                }
                for score in self.scores
            },
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Tell a person which side is better at what."""
        lines = [["", "first", "second", f"second is better by ({100 * self.confidence:g} %)", ""]]
        for score in self.scores:
            figure = figure_of(self.task, score.name)
            shown = [figure.show(score.first), figure.show(score.second)]
            low, high = (
                figure.show_difference(value).removesuffix(" points").removesuffix(figure.unit)
                for value in (score.advantage.low, score.advantage.high)
            )
            gain = f"{figure.show_difference(score.advantage.value)} ({low} to {high})"
            verdict = f"{score.better} is better" if score.better else "no difference shown"
            lines.append([figure.name, *shown, gain, verdict])
        head = [
            f"{self.rows:,} rows in {self.groups:,} groups.",
            f"first:  {', '.join(self.first)}",
            f"second: {', '.join(self.second)}",
        ]
        notes = [f"Note: {note}" for note in self.notes]
        return "\n".join([*head, "", *align_columns(lines), *([""] if notes else []), *notes])


def compare_evaluations(options: CompareOptions) -> Comparison:
    """Compare two evaluations, or two recipes by several evaluations each, row by row.

    Raises:
        OptionError: not two are named, or an option is out of range.
        EvaluateError: one cannot be read, or they are not of the same rows.
    """
    _check(options)
    sides = [find_evaluations(pattern) for pattern in options.evaluations]
    runs = [run for side in sides for run in side]
    rows = _shared_rows(runs)
    groups = [runs[0].rows[row]["group_id"] for row in rows]
    generator = np.random.default_rng(options.seed)
    first, second = (_draw(side, rows, groups, options, generator) for side in sides)
    return Comparison(
        first=tuple(run.folder for run in sides[0]),
        second=tuple(run.folder for run in sides[1]),
        task=runs[0].task,
        rows=len(rows),
        groups=len(set(groups)),
        confidence=options.confidence,
        scores=tuple(
            _compare(name, first[name], second[name], options.confidence)
            for name in first
            if name in second
        ),
        notes=tuple(_notes(sides, len(rows))),
    )


def _check(options: CompareOptions) -> None:
    if len(options.evaluations) != 2:
        raise OptionError(
            f"compare takes two evaluations and was given {len(options.evaluations)}; quote a "
            "pattern that stands for several runs of one recipe."
        )
    if options.bootstrap < 1 or not 0 < options.confidence < 1:
        raise OptionError(
            f"bootstrap is {options.bootstrap} and confidence {options.confidence}; expected at "
            "least 1 resample and a share between 0 and 1."
        )


def _shared_rows(runs: Sequence[PastEvaluation]) -> list[str]:
    """Name the rows that every run answered, after their truths were found to be the same."""
    known, *others = runs
    for other in others:
        ours, theirs = (
            {name: field.type for name, field in run.task.fields.items()} for run in (known, other)
        )
        if ours != theirs:
            raise EvaluateError(
                f"{known.folder!r} has the fields {ours}, {other.folder!r} has {theirs}. Compare "
                "evaluations of one task."
            )
    rows = [row for row in known.rows if all(row in other.rows for other in others)]
    if not rows:
        raise EvaluateError("The evaluations share no row. Evaluate both on the same dataset.")
    for other in others:
        for row in rows:
            if known.truth(row) != other.truth(row):
                raise EvaluateError(
                    f"Row {row!r} is {known.truth(row)} in {known.folder!r} and "
                    f"{other.truth(row)} in {other.folder!r}. Evaluate both on the same dataset."
                )
    return rows


def _draw(
    side: Sequence[PastEvaluation],
    rows: Sequence[str],
    groups: Sequence[str],
    options: CompareOptions,
    generator: np.random.Generator,
) -> dict[str, Draws]:
    """Score a side, the mean of its runs, on every resample; the same groups for both sides."""
    drawn = [
        resample(
            answer_statistics(
                run.task, [run.truth(row) for row in rows], [run.answer(row) for row in rows]
            ),
            groups,
            resamples=options.bootstrap,
            seed=options.seed,
        )
        for run in side
    ]
    chosen = generator.integers(len(side), size=(len(side), options.bootstrap))
    if len(side) == 1:
        return drawn[0]
    return {
        name: Draws(
            float(np.mean([run[name].value for run in drawn])),
            np.take_along_axis(np.stack([run[name].resamples for run in drawn]), chosen, 0).mean(0),
        )
        for name in drawn[0]
        if all(name in run for run in drawn)
    }


def _compare(name: str, first: Draws, second: Draws, confidence: float) -> ScoreComparison:
    better = first.minus(second) if is_lower_better(name) else second.minus(first)
    held = better.resamples[~np.isnan(better.resamples)]
    share = float(np.mean(held > 0)) if len(held) else 0.0
    return ScoreComparison(name, first.value, second.value, better.interval(confidence), share)


def _notes(sides: Sequence[Sequence[PastEvaluation]], shared: int) -> list[str]:
    """Say what a reader must know before believing the table."""
    runs = [run for side in sides for run in side]
    notes = []
    if any(len(run.rows) > shared for run in runs):
        notes.append(f"Rows that some of them did not answer are left out; {shared:,} are shared.")
    if len({run.record["dataset"]["fingerprint"] for run in runs}) > 1:
        notes.append(
            "The datasets are different builds: a model may have been trained on rows that the "
            "other was tested on."
        )
    for name in ("decoding", "price", "split"):
        values = sorted({str(run.record["options"].get(name)) for run in runs})
        if len(values) > 1:
            notes.append(f"The evaluations differ in --{name}: {', '.join(values)}.")
    counts = [len(side) for side in sides]
    if max(counts) == 1:
        notes.append("One training run a side: the interval tells of other rows, not other runs.")
    elif min(counts) < FEW_RUNS:
        notes.append(
            f"{' and '.join(map(str, counts))} training runs: the interval is too narrow with so "
            "few."
        )
    return notes
