"""Whether a model's task fits the dataset's: what differs is noted, what spoils scores refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loupe.errors import EvaluateError
from loupe.task import Task, find_differences

if TYPE_CHECKING:
    from loupe.evaluate.rows import Rows
    from loupe.options import EvaluateOptions

__all__ = ["compare_tasks"]

SPOILING = {"fields", "type", "currency"}


def compare_tasks(
    task: Task, models: Task, rows: Rows, options: EvaluateOptions
) -> tuple[str, ...]:
    """Note where the dataset's task differs from the model's, by which the model is asked.

    Raises:
        EvaluateError: fields, their types or a currency differ, so that scores would mean nothing.
    """
    differences = find_differences(models, task)
    spoiling = [each.text for each in differences if each.about in SPOILING]
    if spoiling:
        raise EvaluateError(
            f"Dataset {options.dataset!r} has another task than model {options.model!r}: "
            f"{'; '.join(spoiling)}. Evaluate a model that was trained on this task, or build the "
            "dataset with the model's (loupe build --task)."
        )
    return tuple(_notes(task, models, rows))


def _notes(task: Task, models: Task, rows: Rows) -> Iterator[str]:
    for each in find_differences(models, task):
        if not each.new_choices:
            yield f"{each.text}. The model is asked as in its training."
            continue
        count = sum(truth[each.field] in each.new_choices for truth in rows.truths)
        yield (
            f"{each.text}. {count:,} of {len(rows):,} rows are of choices that the model cannot "
            "name; they count as wrong."
        )
