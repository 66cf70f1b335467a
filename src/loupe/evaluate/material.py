"""What an evaluation needs to know before the model is loaded, and whether it can be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loupe.errors import EvaluateError
from loupe.evaluate.parts import check_slice_columns
from loupe.evaluate.rows import Rows, best_answers, read_rows, read_words
from loupe.evaluate.untuned import find_untuned, read_training_record
from loupe.evaluate.words import Words
from loupe.options import EvaluateOptions
from loupe.task import Answer, Task

if TYPE_CHECKING:
    from loupe.build.dataset import Dataset

__all__ = ["Material", "find_most_pictures", "read_material"]

FEW_GROUPS = 20


@dataclass(frozen=True)
class Material:
    """What is known before the model is loaded."""

    task: Task
    fingerprint: str | None
    rows: Rows
    train: Rows
    words: tuple[Words, ...]
    best: list[Answer] | None
    untuned: str | None
    """The checkpoint that the model was made from, where it is to answer too."""
    notes: tuple[str, ...]


def read_material(dataset: Dataset, options: EvaluateOptions) -> Material:
    """Read the rows and check every option that speaks of them.

    Raises:
        EvaluateError: a number is out of its range, the split is unknown or empty, or a named
            column does not fit.
    """
    _check_numbers(options)
    if options.split not in {"train", "validation", "test"}:
        raise EvaluateError(
            f"There is no split {options.split!r}; choose one of train, validation, test."
        )
    rows = read_rows(dataset.rows(options.split), max_rows=options.max_rows, seed=options.seed)
    if not len(rows):
        raise EvaluateError(
            f"Dataset {options.dataset!r} has no {options.split} rows to answer. Build it with a "
            f"larger share for them (loupe build --{options.split}-share), or choose another split."
        )
    check_slice_columns(rows, options.slice_by)
    train = dataset.rows("train")
    return Material(
        dataset.task,
        dataset.info.get("fingerprint"),
        rows,
        read_rows(train, max_rows=options.baseline_rows, seed=options.seed),
        read_words(dataset, dataset.task, rows, options.words),
        best_answers(dataset.task, rows, options.best_columns),
        find_untuned(options),
        tuple(_notes(options, rows, len(train))) + _origin(options, dataset),
    )


def _check_numbers(options: EvaluateOptions) -> None:
    least = dict.fromkeys(("batch_size", "pictures", "max_rows", "max_new_tokens"), 1)
    least |= dict.fromkeys(("bootstrap", "maps", "baseline_rows", "seed"), 0)
    for name, smallest in least.items():
        value = getattr(options, name)
        if value is not None and value < smallest:
            raise EvaluateError(f"{name} is {value}; it must be at least {smallest}.")
    if not 0 < options.confidence < 1:
        raise EvaluateError(
            f"confidence is {options.confidence}; it must lie between 0 and 1, such as 0.95."
        )


def find_most_pictures(options: EvaluateOptions) -> int | None:
    """Give how many of a row's pictures are shown: as asked, else as in training; None for all."""
    from loupe.predict import pictures_beside

    return options.pictures or pictures_beside(options.model)


def _origin(options: EvaluateOptions, dataset: Dataset) -> tuple[str, ...]:
    """Tell where the model was trained on another dataset, if it says on which."""
    theirs = read_training_record(options.model).get("dataset_fingerprint")
    if theirs in (None, dataset.info.get("fingerprint")):
        return ()
    return (
        "The model was trained on another dataset than this one; whether it met these pictures "
        "there is not known.",
    )


def _notes(options: EvaluateOptions, rows: Rows, train_rows: int) -> list[str]:
    notes = []
    if options.split == "train":
        notes.append("These are training rows: the scores say what was learnt by heart.")
    if options.split == "validation":
        notes.append("These are validation rows: they may have chosen the model.")
    if len(rows) < len(rows.split):
        notes.append(f"{len(rows):,} of {len(rows.split):,} rows were answered, drawn by the seed.")
    if train_rows and not options.baseline_rows:
        notes.append("There are no baselines: baseline_rows is 0.")
    elif train_rows > options.baseline_rows:
        notes.append(
            f"The baselines know {options.baseline_rows:,} of {train_rows:,} training rows."
        )
    if not train_rows:
        notes.append("There are no baselines: the dataset has no training rows.")
    if (groups := len(set(rows.groups))) < FEW_GROUPS:
        notes.append(f"There are few groups ({groups}): intervals from so few are too narrow.")
    return notes
