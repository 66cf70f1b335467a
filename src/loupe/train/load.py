"""What a dataset brings into memory: its largest batch, its pictures, and their tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loupe import vlm
from loupe.build.dataset import Split
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.train.batches import samples_at_once
from loupe.train.material import Material
from loupe.train.pictures import DEFAULT_CACHE_BYTES

__all__ = [
    "Load",
    "TokensByCrops",
    "count_batch_rows",
    "count_picture_bytes",
    "count_picture_tokens",
    "find_load",
]

MOST_CROPS = 16

TokensByCrops = Mapping[int, tuple[int, int, int]]
"""Fewest, middle and most tokens of a picture, by num_crops."""


@dataclass(frozen=True)
class Load:
    """What one batch brings, at its largest."""

    samples: int
    """That go through the model at a time."""
    tokens: int
    """Of the longest sample, its pictures' included."""
    answer_tokens: int
    """Of the longest answer: the positions that get logits."""
    crops: int
    """Most crops of one sample's pictures, the views of the whole counted."""
    pictures: int = 1
    """Most pictures of one sample."""
    is_piece: bool = False
    """Whether it is a piece of a batch, so that gradients are added."""


def find_load(
    material: Material, split: Split, predictor: Predictor, options: TrainOptions
) -> Load:
    """Give what the largest batch of training rows brings; `split` holds these rows."""
    processor, lengths = predictor.processor, material.train.lengths
    rows = count_batch_rows(lengths, options)
    device = vlm.choose_device("auto")
    at_once = min(rows, samples_at_once(predictor.model, options, max(lengths), device))
    sizes = split.picture_sizes()
    crops = {each: _count_crops(processor, each) for row in sizes for each in row}
    return Load(
        samples=at_once,
        tokens=max(lengths),
        answer_tokens=max(len(example.answer_ids) for example in material.train.examples),
        crops=max(sum(1 + crops[each] for each in row) for row in sizes),
        pictures=max(map(len, sizes)),
        is_piece=at_once < rows,
    )


def _count_crops(processor: Any, size: tuple[int, int]) -> int:
    """Count the crops of a picture of this size beside the view of the whole; 0 where not known."""
    side: Any = getattr(processor.image_processor, "crop_size", None)
    fitted = vlm.fit_picture_size(processor, size)
    return 0 if fitted is None else math.prod(math.ceil(length / side) for length in fitted)


def count_batch_rows(lengths: Sequence[int], options: TrainOptions) -> int:
    """Count the samples of a batch of the longest ones."""
    if options.batch_tokens is None:
        return min(options.batch_size, len(lengths))
    return min(max(1, options.batch_tokens // max(lengths)), len(lengths))


def count_picture_bytes(split: Split, processor: Any) -> int:
    """Count the bytes of a split's pictures as PictureCache keeps them."""
    total = 0
    for size, pictures in _count_sizes(split).items():
        fitted = vlm.fit_picture_size(processor, size) or size
        total += 3 * pictures * min(size[0] * size[1], fitted[0] * fitted[1])
    return min(total, DEFAULT_CACHE_BYTES)


def count_picture_tokens(split: Split, processor: Any) -> TokensByCrops:
    """Count the tokens of a split's own pictures by num_crops; other families have none."""
    image_processor = processor.image_processor
    if not hasattr(image_processor, "count_image_tokens"):
        return {}
    found = {}
    sizes = _count_sizes(split)
    for crops in range(1, max(MOST_CROPS, image_processor.num_crops) + 1):
        tokens: Counter[int] = Counter()
        for (width, height), pictures in sizes.items():
            tokens[image_processor.count_image_tokens(height, width, num_crops=crops)] += pictures
        ordered = sorted(tokens.elements())
        found[crops] = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    return found


def _count_sizes(split: Split) -> Counter[tuple[int, int]]:
    """Count a split's pictures by (width, height)."""
    return Counter(size for row in split.picture_sizes() for size in row)
