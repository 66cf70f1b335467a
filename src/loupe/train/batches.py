"""Samples in an order, and batches made of them: padded token ids, labels, picture inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from loupe import vlm
from loupe.errors import TrainError
from loupe.options import TrainOptions
from loupe.train import processes
from loupe.train.examples import Example, Sample
from loupe.train.pictures import PictureCache, vary_picture
from loupe.train.soft_labels import SoftLabels, Spellings, collect_spellings
from loupe.vlm import IGNORED_LABEL

__all__ = [
    "IGNORED_LABEL",
    "Collator",
    "ExampleDataset",
    "FilledDataset",
    "Filler",
    "LengthGroupedOrder",
    "TokenBatches",
    "count_scored",
    "samples_at_once",
]

BATCHES_PER_POOL = 32  # samples of like length are sought among so many batches
TOKENS_AT_ONCE = 3072  # more at a time make a CPU no faster (benchmarks/train_step.py)

Draw = tuple[int, int]
"""Place of an example, and the pass over the data in which it is drawn."""


@dataclass(frozen=True)
class Filler:
    """A draw that only makes up for one that another process has more; it counts for nothing."""

    draw: Draw


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
        self.rows = list(rows)
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
        """Give an example with its pictures."""
        place, epoch = draw
        pictures = self.pictures(place)
        if self._seed is not None:
            key = f"{self._seed} {epoch} {place}"
            pictures = [
                vary_picture(picture, f"{key} {number}" if number else key)
                for number, picture in enumerate(pictures)
            ]
        return Sample(self.examples[place], pictures)

    def pictures(self, place: int) -> list[Image.Image]:
        """Give an example's pictures as they are, the main one first."""
        return self._cache.pictures(self.rows[place])

    def picture(self, place: int) -> Image.Image:
        """Give an example's main picture as it is."""
        return self.pictures(place)[0]


class FilledDataset(Dataset[Sample]):
    """A dataset that gives a sample without an answer, and so without a loss, for a Filler."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        """Give the number of examples."""
        return len(self._dataset)  # type: ignore[arg-type]  # torch declares no length

    def __getitem__(self, draw: Draw | Filler) -> Sample:
        """Give an example with its pictures."""
        if not isinstance(draw, Filler):
            return self._dataset[draw]
        sample = self._dataset[draw.draw]
        return replace(sample, example=replace(sample.example, answer_ids=(), prices=()))


class LengthGroupedOrder(Sampler[Draw | Filler]):
    """A random order in which neighbours have like lengths, so that batches need little padding.

    The order depends on seed and epoch alone, so a resumed run meets the same batches, and so do
    several processes that share each of them, one part after the other.

    Args:
        lengths: tokens of each example.
        batch_size: samples at a time, in all processes together.
        seed: of the order.
        processes: that share a batch. Where there are several, the short batch at the end of a
            pass is dealt out to them evenly, and filled up.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, processes: int = 1
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._processes = processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass over the data comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Give the number of draws in a pass."""
        if self._processes == 1:
            return len(self._lengths)
        return math.ceil(len(self._lengths) / self._batch_size) * self._batch_size

    def __iter__(self) -> Iterator[Draw | Filler]:
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
                yield from self._deal([(place, self._epoch) for place in batch])

    def _deal(self, draws: Sequence[Draw]) -> Iterator[Draw | Filler]:
        if self._processes == 1:
            yield from draws
            return
        share = self._batch_size // self._processes
        for process in range(self._processes):
            dealt = draws[process :: self._processes]
            yield from dealt
            yield from [Filler(draws[0])] * (share - len(dealt))


class TokenBatches(Sampler[list[Draw]]):
    """Batches of like lengths that hold at most so many tokens each, padding counted.

    How many batches there are, and how many samples each has, follows from the lengths alone, so
    all passes have as many steps. Which samples of a length share a batch, and the order of the
    batches, depends on seed and epoch alone, so a resumed run meets the same batches.

    Args:
        lengths: tokens of each example.
        batch_tokens: most tokens of a batch: its samples times the longest of them.
        seed: of the order.

    Raises:
        TrainError: a sample is longer than a batch may be.
    """

    def __init__(self, lengths: Sequence[int], batch_tokens: int, seed: int) -> None:
        if max(lengths) > batch_tokens:
            raise TrainError(
                f"batch_tokens is {batch_tokens}, but the longest sample has {max(lengths)} tokens."
                " Raise batch_tokens, or lower num_crops."
            )
        self._lengths = lengths
        self._seed = seed
        self._epoch = 0
        self._cuts = [0]  # among the samples, longest first: what is left over is short
        ordered = sorted(lengths, reverse=True)
        while (begin := self._cuts[-1]) < len(ordered):
            self._cuts.append(min(begin + batch_tokens // ordered[begin], len(ordered)))

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass over the data comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Give the number of batches in a pass."""
        return len(self._cuts) - 1

    def __iter__(self) -> Iterator[list[Draw]]:
        """Give the batches of one pass."""
        draw = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=draw).tolist()
        order.sort(key=self._lengths.__getitem__, reverse=True)  # equal lengths stay shuffled
        batches = [order[begin:end] for begin, end in pairwise(self._cuts)]
        for batch in torch.randperm(len(batches), generator=draw).tolist():
            yield [(place, self._epoch) for place in batches[batch]]


class Collator:
    """Makes a batch of samples, padded on the right, with soft labels where asked."""

    def __init__(self, processor: Any, soft_labels: SoftLabels | None = None) -> None:
        self._processor = processor
        self._padding_id = processor.tokenizer.pad_token_id
        self._soft_labels = soft_labels

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Give a batch; samples without an answer are left out as far as there are others.

        Returns:
            `input_ids`, `attention_mask`, `labels`: (samples, tokens); labels are the ids of the
            answer, its end included, and -100 elsewhere. `row_ids`: list of str. With soft labels
            `label_choices` and `label_weights`, (samples, tokens, choices), and the number
            `label_smoothing`. And the model's picture inputs, and what its family tells of tokens.
            Of samples with keys, only those of pictures not `Seen` yet, with the lists `seen` (None
            for those) and `picture_keys`, one for each picture, for `FeatureStore.complete`.
        """
        samples = [sample for sample in samples if sample.example.answer_ids] or samples[:1]
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
            **_pad_kinds(examples, shape[1]),
            **self._prepare_pictures(samples),
        }

    def _prepare_pictures(self, samples: Sequence[Sample]) -> dict[str, Any]:
        shown = [
            [each for each in sample.pictures if isinstance(each, Image.Image)]
            for sample in samples
        ]
        inputs: dict[str, Any] = {}
        if any(shown):
            inputs |= vlm.prepare_pictures(self._processor, shown)
        if any(sample.keys is not None for sample in samples):
            inputs["seen"] = [
                None if isinstance(each, Image.Image) else each
                for sample in samples
                for each in sample.pictures
            ]
            inputs["picture_keys"] = [key for sample in samples for key in sample.keys or ()]
        return inputs


def _pad_kinds(examples: Sequence[Example], tokens: int) -> dict[str, torch.Tensor]:
    """Give what is told of each token, (samples, tokens, ...); an answer is as its prompt's end."""
    padded = {}
    for name, kinds in examples[0].prompt_kinds.items():
        padded[name] = kinds.new_zeros(len(examples), tokens, *kinds.shape[1:])
        for row, example in enumerate(examples):
            begin, end = len(example.prompt_ids), len(example)
            padded[name][row, :begin] = example.prompt_kinds[name]
            padded[name][row, begin:end] = example.prompt_kinds[name][-1]
    return padded


def count_scored(labels: torch.Tensor) -> int:
    """Count the positions of labels (samples, tokens) that a causal loss scores."""
    return int((labels[:, 1:] != IGNORED_LABEL).sum())


def samples_at_once(model: Any, options: TrainOptions, longest: int, device: str) -> int:
    """Give how many samples of a batch go through the model at a time; it divides the batch.

    On a CPU a batch of long samples is worked off in pieces whose gradients are added: what the
    layers keep for the backward pass is then kept for a piece, and fits the caches better. On a GPU
    a batch is what keeps it busy, and stays whole, as it does among several processes, with
    batch_tokens, and for a model whose loss is a mean over what it is given, not over the step.

    Args:
        model: to be trained.
        options: of the run.
        longest: tokens of the longest sample.
        device: cpu, cuda, ...
    """
    takes_count = getattr(vlm.underlying_model(model), "accepts_loss_kwargs", True)
    batch_size = options.batch_size
    is_measured = options.batch_tokens is not None or processes.count() > 1
    if device != "cpu" or is_measured or not takes_count:
        return batch_size
    fitting = max(1, TOKENS_AT_ONCE // longest)
    return max(
        size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting
    )
