"""What a run learns from: the rows of a dataset, encoded, with their pictures at hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loupe.build.dataset import Dataset, Split
from loupe.errors import TrainError
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.train.batches import ExampleDataset
from loupe.train.examples import Encoder, Example, LeftOut
from loupe.train.pictures import PictureCache
from loupe.train.share import draw_rows
from loupe.train.validation import Validation, check_best_metric

__all__ = ["Material", "check_best_metric_of", "gather_material", "gather_validation"]


@dataclass(frozen=True)
class Material:
    """Training rows, validation rows, and what of them was left out."""

    train: ExampleDataset
    validation: Validation | None
    left_out: tuple[LeftOut, ...]
    picture_tokens: tuple[int, int]
    """Fewest and most tokens of a training row's pictures."""
    most_pictures: int = 1
    """Of a training row."""

    def count_left_out(self) -> dict[str, int]:
        """Count the rows left out, by reason."""
        return dict(Counter(each.reason for each in self.left_out))


def gather_material(dataset: Dataset, predictor: Predictor, options: TrainOptions) -> Material:
    """Encode the rows to train on, and as many validation rows as are to be answered.

    Raises:
        TrainError: no row is left to train on, or none to take best_metric from.
        DatasetError: a split cannot be read.
    """
    encoder = Encoder(predictor.processor, predictor.task)
    split = dataset.rows("train")
    places = draw_rows(split.column("group_id"), options.train_share, options.seed)
    examples, rows, left_out = _encode(split, places, encoder)
    if not examples:
        why = f" ({left_out[0].detail})" if left_out else ""
        raise TrainError(
            f"Dataset {options.dataset!r} has no row to train on: {len(places)} were read and "
            f"{len(left_out)} left out{why}. Build it from more rows."
        )
    cache = PictureCache(split.pictures, predictor.processor)
    train = ExampleDataset(examples, rows, cache, options.seed if options.augment else None)
    image_token = getattr(predictor.processor, "image_token_id", None)
    counts = {ids: ids.count(image_token) for ids in {example.prompt_ids for example in examples}}
    return Material(
        train=train,
        validation=gather_validation(dataset, predictor, encoder, options),
        left_out=tuple(left_out),
        picture_tokens=(min(counts.values()), max(counts.values())),
        most_pictures=max(map(len, split.picture_sizes())),
    )


def check_best_metric_of(dataset: Dataset, options: TrainOptions) -> None:
    """Refuse a best_metric that the validation rows cannot have, before a model is loaded.

    Raises:
        TrainError: it is no score of the task, or there are no validation rows to take it from.
        DatasetError: the split cannot be read.
    """
    split = dataset.rows("validation")
    truths = [split.values(place) for place in _choose_validation(split, options)]
    if truths:
        check_best_metric(options.best_metric, dataset.task, truths)
    else:
        _check_no_metric(options)


def _check_no_metric(options: TrainOptions) -> None:
    if options.best_metric != "loss":
        raise TrainError(
            f"best_metric {options.best_metric!r} needs validation rows, and there are none to "
            "answer. Raise evaluations and evaluation_rows, or build with a larger "
            "validation_share."
        )


def _choose_validation(split: Split, options: TrainOptions) -> list[int]:
    count = min(options.evaluation_rows, len(split)) if options.evaluations else 0
    return sorted(random.Random(options.seed).sample(range(len(split)), count))


def gather_validation(
    dataset: Dataset, predictor: Predictor, encoder: Encoder, options: TrainOptions
) -> Validation | None:
    """Encode as many validation rows as are to be answered, drawn by seed; None for none.

    Raises:
        TrainError: best_metric has no rows to be taken from.
    """
    split = dataset.rows("validation")
    examples, rows, _ = _encode(split, _choose_validation(split, options), encoder)
    if not examples:
        _check_no_metric(options)
        return None
    truths: list[Mapping[str, Any]] = [split.values(row) for row in rows]
    cache = PictureCache(split.pictures, predictor.processor)
    return Validation(
        predictor,
        ExampleDataset(examples, rows, cache, None),
        truths,
        options.batch_size,
        60 * options.evaluation_minutes,
    )


def _encode(
    split: Split, places: Sequence[int], encoder: Encoder
) -> tuple[list[Example], list[int], list[LeftOut]]:
    """Encode rows: the examples, their places in the split, and the rows left out."""
    ids = split.column("row_id")
    sizes = split.picture_sizes()
    examples, rows, left_out = [], [], []
    for place in places:
        encoded = encoder.encode(str(ids[place]), split.values(place), sizes[place])
        if isinstance(encoded, LeftOut):
            left_out.append(encoded)
        else:
            examples.append(encoded)
            rows.append(place)
    return examples, rows, left_out
