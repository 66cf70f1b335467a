"""Whether the model looks, and what it beats: paired comparisons, and what they mean in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loupe.evaluate.figures import figure_of
from loupe.evaluate.intervals import Interval
from loupe.evaluate.scores import headline_score, is_lower_better
from loupe.evaluate.systems import Measured
from loupe.task import Task

__all__ = ["Gain", "compare", "describe_gain", "headlines", "picture_gains", "state_verdict"]


@dataclass(frozen=True)
class Gain:
    """How much better a score is with the row's own picture, in the score's unit."""

    score: str
    field: str | None
    """None for a score of words, which belongs to no field."""
    by_twin: dict[str, Interval]
    """Over each twin; above 0 means that the picture helps."""

    @property
    def looks(self) -> bool:
        """Whether the gain over every twin is clearly above 0."""
        return bool(self.by_twin) and all(gain.low > 0 for gain in self.by_twin.values())


def headlines(task: Task, scores: Mapping[str, object]) -> dict[str, str | None]:
    """Name the scores that stand for the model, with their fields: one each, and the words'."""
    of_fields = {headline_score(task, field): field for field in task.fields}
    of_words = {name: None for name in scores if name.endswith("_word_accuracy")}
    found: dict[str, str | None] = {**of_words, **of_fields}
    found = {name: found[name] for name in [*of_fields, *of_words]}
    return {name: field for name, field in found.items() if name in scores}


def compare(model: Measured, other: Measured, score: str, confidence: float) -> Interval:
    """Give how much better the model is, paired over the resamples; above 0 is better."""
    better, worse = model.draws[score], other.draws[score]
    if is_lower_better(score):
        better, worse = worse, better
    return better.minus(worse).interval(confidence)


def picture_gains(
    task: Task, model: Measured, twins: Sequence[Measured], confidence: float
) -> tuple[Gain, ...]:
    """Compare the model with its twins in each headline score."""
    return tuple(
        Gain(
            score,
            field,
            {
                twin.system.name: compare(model, twin, score, confidence)
                for twin in twins
                if score in twin.draws
            },
        )
        for score, field in headlines(task, model.draws).items()
    )


def state_verdict(gains: Sequence[Gain]) -> str:
    """Say whether the model looks, in one sentence."""
    fields = [gain for gain in gains if gain.field is not None]
    if not any(gain.by_twin for gain in fields):
        return "Whether the model looks was not tested: there are no twins to compare it with."
    seen = [str(gain.field) for gain in fields if gain.looks]
    unseen = [str(gain.field) for gain in fields if not gain.looks]
    if not seen:
        return (
            "There is no evidence that the model looks: it answers no better with a row's own "
            "picture than without it."
        )
    looks = f"The model looks: its own picture makes it better at {_join(seen)}"
    if not unseen:
        return f"{looks}."
    return f"{looks}. There is no evidence that it looks for {_join(unseen)}."


def describe_gain(task: Task, gain: Gain) -> str:
    """Say what the picture is worth for one score."""
    figure = figure_of(task, gain.score)
    over = {"blind": "a grey picture", "shuffled": "another row's picture"}
    parts = []
    for twin, interval in gain.by_twin.items():
        low, high = (
            figure.show_difference(value).removesuffix(" points")
            for value in (interval.low, interval.high)
        )
        gained = figure.show_difference(interval.value)
        parts.append(f"{gained} ({low} to {high}) over {over.get(twin, twin)}")
    start = "looks" if gain.looks else "no evidence that the model looks"
    return f"{figure.name}: {start}. {'; '.join(parts)}."


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
