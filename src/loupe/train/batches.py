"""Samples in an order, and batches made of them: padded token ids, labels, picture inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from loupe import vlm
from loupe.train.examples import Example, Sample
from loupe.train.pictures import PictureCache, vary_picture
from loupe.train.soft_labels import SoftLabels, Spellings, collect_spellings

__all__ = [
    "IGNORED_LABEL",
    "Collator",
    "ExampleDataset",
    "LengthGroupedOrder",
    "count_scored",
    "samples_at_once",
]

IGNORED_LABEL = -100  # what PyTorch's cross-entropy leaves out
BATCHES_PER_POOL = 32  # samples of like length are sought among so many batches
TOKENS_AT_ONCE = 3072  # more at a time make a CPU no faster (benchmarks/train_step.py)

Draw = tuple[int, int]
"""Place of an example, and the pass over the data in which it is drawn."""


class ExampleDataset(Dataset[Sample]):
    """Examples with their pictures; items are asked for by draw, so that each pass may differ.

    With `seed` pictures are varied, anew in each pass; None shows them as they are.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        rows: Sequence[int],
        cache: PictureCache,
        seed: int | None,
    ) -> None:
        self.examples = list(examples)
        self._rows = list(rows)
        self._cache = cache
        self._seed = seed

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return [len(example) for example in self.examples]

    @property
    def spellings(self) -> Spellings:
        """Token ids of each price that occurs, by field."""
        return collect_spellings(self.examples)

    def __len__(self) -> int:
        """Give the number of examples."""
        return len(self.examples)

    def __getitem__(self, draw: Draw) -> Sample:
        """Give an example with its picture."""
        place, epoch = draw
        picture = self.picture(place)
        if self._seed is not None:
            picture = vary_picture(picture, f"{self._seed} {epoch} {place}")
        return Sample(self.examples[place], picture)

    def picture(self, place: int) -> Image.Image:
        """Give an example's picture as it is."""
        return self._cache.picture(self._rows[place])


class LengthGroupedOrder(Sampler[Draw]):
    """A random order in which neighbours have like lengths, so that batches need little padding.

    The order depends on seed and epoch alone, so a resumed run meets the same batches.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass over the data comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Give the number of draws in a pass."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[Draw]:
        """Give the draws of one pass."""
        draw = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=draw).tolist()
        pool_size = BATCHES_PER_POOL * self._batch_size
        for start in range(0, len(order), pool_size):
            pool = sorted(order[start : start + pool_size], key=self._lengths.__getitem__)
            batches = [
                pool[at : at + self._batch_size] for at in range(0, len(pool), self._batch_size)
            ]
            ragged = [batches.pop()] if len(batches[-1]) < self._batch_size else []
            for batch in torch.randperm(len(batches), generator=draw).tolist():
                yield from ((place, self._epoch) for place in batches[batch])
            for batch in ragged:  # a short batch stays last, or it would shift all others
                yield from ((place, self._epoch) for place in batch)


class Collator:
    """Makes a batch of samples, padded on the right, with soft labels where asked."""

    def __init__(self, processor: Any, soft_labels: SoftLabels | None = None) -> None:
        self._processor = processor
        self._padding_id = processor.tokenizer.pad_token_id
        self._soft_labels = soft_labels

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Give a batch.

        Returns:
            `input_ids`, `attention_mask`, `labels`: (samples, tokens); labels are the ids of the
            answer, its end included, and -100 elsewhere. `row_ids`: list of str. With soft labels
            `label_choices` and `label_weights`, (samples, tokens, choices), and the number
            `label_smoothing`. And the model's picture inputs.
        """
        examples = [sample.example for sample in samples]
        shape = len(samples), max(map(len, examples))
        input_ids = torch.full(shape, self._padding_id)
        labels = torch.full(shape, IGNORED_LABEL)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        for row, example in enumerate(examples):
            begin, end = len(example.prompt_ids), len(example)
            input_ids[row, :end] = torch.tensor(example.prompt_ids + example.answer_ids)
            labels[row, begin:end] = torch.tensor(example.answer_ids)
            attention_mask[row, :end] = 1
        soft = self._soft_labels.soften(examples, labels) if self._soft_labels else {}
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
            **soft,
            "row_ids": [example.row_id for example in examples],
            **vlm.prepare_pictures(self._processor, [sample.picture for sample in samples]),
        }


def count_scored(labels: torch.Tensor) -> int:
    """Count the positions of labels (samples, tokens) that a causal loss scores."""
    return int((labels[:, 1:] != IGNORED_LABEL).sum())


def samples_at_once(model: Any, batch_size: int, longest: int, device: str) -> int:
    """Give how many samples of a batch go through the model at a time; it divides the batch.

    On a CPU a batch of long samples is worked off in pieces whose gradients are added: what the
    layers keep for the backward pass is then kept for a piece, and fits the caches better. On a GPU
    a batch is what keeps it busy, and stays whole, as it does for a model whose loss is a mean over
    what it is given, not over the step.

    Args:
        model: to be trained.
        batch_size: samples in the batch.
        longest: tokens of the longest sample.
        device: cpu, cuda, ...
    """
    takes_count = getattr(vlm.underlying_model(model), "accepts_loss_kwargs", True)
    if device != "cpu" or not takes_count:
        return batch_size
    fitting = max(1, TOKENS_AT_ONCE // longest)
    return max(
        size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting
    )
