"""Where the task that is asked differs from the one a model was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from loupe.task.declaration import Task

__all__ = ["TaskDifference", "find_differences"]

NAMED = 5


@dataclass(frozen=True)
class TaskDifference:
    """One thing in which two tasks differ, in words for people."""

    about: Literal["question", "template", "fields", "type", "currency", "decimals", "choices"]
    text: str
    new_choices: tuple[str, ...] = ()
    """Those that the model was not trained on."""
    field: str = ""
    """Empty where it is about the task as a whole."""


def find_differences(trained: Task, asked: Task) -> tuple[TaskDifference, ...]:
    """Tell where the task that is asked differs from the one in training; empty where nowhere."""
    return tuple(_find(trained, asked))


def _find(trained: Task, asked: Task) -> Iterator[TaskDifference]:
    if trained.question != asked.question:
        yield TaskDifference(
            "question", f"The question was {trained.question!r} in training, {asked.question!r} now"
        )
    if trained.answer != asked.answer:
        yield TaskDifference(
            "template", f"Answers were {trained.answer!r} in training, {asked.answer!r} now"
        )
    if set(trained.fields) != set(asked.fields):
        old, new = ", ".join(trained.fields), ", ".join(asked.fields)
        yield TaskDifference("fields", f"The fields were {old} in training, {new} now")
    for name, field in asked.fields.items():
        if name in trained.fields:
            yield from _find_in_field(name, trained.fields[name], field)


def _find_in_field(name: str, trained: Any, asked: Any) -> Iterator[TaskDifference]:
    if trained.type != asked.type:
        text = f"{name} was a {trained.type} in training and is a {asked.type} now"
        yield TaskDifference("type", text, field=name)
        return
    settings: tuple[Literal["currency", "decimals"], ...] = ("currency", "decimals")
    for setting in settings:
        old, new = getattr(trained, setting, None), getattr(asked, setting, None)
        if old != new:
            how = "in {}" if setting == "currency" else "with {} decimals"
            text = f"{name} was {how.format(old)} in training and is {how.format(new)} now"
            yield TaskDifference(setting, text, (), name)
    old_choices, new_choices = getattr(trained, "choices", None), getattr(asked, "choices", None)
    if old_choices is not None and new_choices is not None:
        yield from _find_in_choices(name, old_choices, new_choices)
    elif old_choices != new_choices:
        old, new = (
            "any text" if choices is None else f"one of {len(choices)} choices"
            for choices in (old_choices, new_choices)
        )
        yield TaskDifference("choices", f"{name} was {old} in training and is {new} now", (), name)


def _find_in_choices(
    name: str, trained: Sequence[str], asked: Sequence[str]
) -> Iterator[TaskDifference]:
    new = tuple(choice for choice in asked if choice not in trained)
    gone = [choice for choice in trained if choice not in asked]
    parts = [
        f"{len(choices)} {kind} ({_list(choices)})"
        for kind, choices in (("not known in training", new), ("less than in training", gone))
        if choices
    ]
    if parts:
        text = f"{name} has other choices than in training: {' and '.join(parts)}"
        yield TaskDifference("choices", text, new, name)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown
