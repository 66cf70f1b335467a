"""What a run is about to do, in numbers and in words, before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loupe import vlm
from loupe.options import TrainOptions
from loupe.train.adapters import Targets
from loupe.train.batches import TokenBatches
from loupe.train.material import Material
from loupe.train.memory import Memory

__all__ = ["Plan", "count_steps", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, for how long, in how much memory."""

    parts: dict[str, tuple[int, int]]
    """Trained and all parameters of each part."""
    targets: Targets
    """Layers that get an adapter."""
    train_rows: int
    validation_rows: int
    left_out: dict[str, int]
    """Training rows left out, by reason."""
    picture_tokens: tuple[int, int]
    """Fewest and most of a row's pictures."""
    sequence_tokens: int
    """Tokens of the longest sample."""
    steps: int
    passes: float
    """Passes over the training rows that the steps make."""
    memory: Memory
    most_pictures: int = 1
    """Of a row."""

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {**asdict(self), "memory": self.memory.to_dict()}

    def describe(self, options: TrainOptions) -> list[str]:
        """Tell it in a few lines."""
        trained, everything = (sum(counts) for counts in zip(*self.parts.values(), strict=True))
        parts = ", ".join(f"{name} {_share(*counts)}" for name, counts in self.parts.items())
        adapted = ", ".join(_tell_targets(*item) for item in self.targets.items())
        rates = ", ".join(f"{part} {rate:g}" for part, rate in options.learning_rates.items())
        left_out = ", ".join(f"{count} for {reason}" for reason, count in self.left_out.items())
        few, many = self.picture_tokens
        shown = (
            "a picture is"
            if self.most_pictures == 1
            else f"a row's pictures, up to {self.most_pictures}, are"
        )
        limit = "" if options.max_minutes is None else f", at most {options.max_minutes:g} min"
        lines = [
            f"Training {_millions(trained)} of {_millions(everything)} parameters: {parts}",
            f"Adapters: {adapted}" if adapted else "",
            f"Peak learning rates of their own: {rates}" if rates else "",
            f"{self.train_rows:,} rows to train on{f' (left out: {left_out})' if left_out else ''}"
            f", {self.validation_rows:,} to validate; {shown} "
            f"{few if few == many else f'{few} to {many}'} tokens, the longest sample "
            f"{self.sequence_tokens}",
            f"Up to {self.steps:,} steps of {_tell_batch(options)}{limit}; about "
            f"{self.memory.peak / 2**30:.1f} GiB of memory at the peak",
        ]
        return [line for line in lines if line]


def make_plan(
    model: Any,
    targets: Targets,
    material: Material,
    options: TrainOptions,
    memory: Memory,
    processes: int = 1,
) -> Plan:
    """Count what a run will do; `model` is as it will be trained, with weights or without."""
    lengths = material.train.lengths
    steps = count_steps(lengths, options, processes)
    return Plan(
        parts=vlm.count_parameters_by_part(model),
        targets=targets,
        train_rows=len(material.train),
        validation_rows=0 if material.validation is None else len(material.validation),
        left_out=material.count_left_out(),
        picture_tokens=material.picture_tokens,
        sequence_tokens=max(lengths),
        steps=steps,
        passes=steps / _steps_per_pass(lengths, options, processes),
        memory=memory,
        most_pictures=material.most_pictures,
    )


def count_steps(lengths: Sequence[int], options: TrainOptions, processes: int = 1) -> int:
    """Give the number of optimizer steps that epochs and max_steps allow.

    `lengths`: tokens of each training row.
    """
    steps = max(1, math.ceil(options.epochs * _steps_per_pass(lengths, options, processes)))
    return steps if options.max_steps is None else min(steps, options.max_steps)


def _steps_per_pass(lengths: Sequence[int], options: TrainOptions, processes: int) -> int:
    if options.batch_tokens is None:
        batches = math.ceil(len(lengths) / (options.batch_size * processes))
    else:
        batches = math.ceil(
            len(TokenBatches(lengths, options.batch_tokens, options.seed)) / processes
        )
    return math.ceil(batches / options.gradient_accumulation)


def _tell_batch(options: TrainOptions) -> str:
    if options.batch_tokens is None:
        return f"{options.batch_size * options.gradient_accumulation} rows"
    return f"up to {options.batch_tokens * options.gradient_accumulation:,} tokens"


def _tell_targets(part: str, met: Mapping[str, list[str]]) -> str:
    return f"{part} ({', '.join(f'{name} {len(found)}' for name, found in met.items())})"


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f} M" if count < 1e9 else f"{count / 1e9:,.2f} B"


def _share(trained: int, everything: int) -> str:
    if trained == everything:
        return _millions(everything)
    return (
        f"{_millions(everything)} frozen"
        if not trained
        else (f"{_millions(trained)} of {_millions(everything)}")
    )
