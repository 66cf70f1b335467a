"""What a run is about to do, in numbers and in words, before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loupe import vlm
from loupe.options import TrainOptions
from loupe.train.adapters import Targets
from loupe.train.batches import samples_at_once
from loupe.train.material import Material

__all__ = ["Plan", "count_steps", "make_plan"]

# Bytes per token and channel that a transformer layer keeps for its backward pass, in float32:
# 34 in 16 bits (arXiv:2205.05198, section 4.1, attention maps left out), twice that in 32.
BYTES_KEPT = 68
BYTES_KEPT_WHEN_RECOMPUTED = 4
# Moments per trained number where they are not the two of AdamW in float32; the rest is rounded.
OPTIMIZER_BYTES = {"muon": 4, "sgd": 0, "adafactor": 0, "adagrad": 4, "rmsprop": 4, "lion_32bit": 4}
ADAMW_BYTES = 8


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
    sequence_tokens: int
    """Tokens of the longest sample."""
    steps: int
    memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return asdict(self)

    def describe(self, options: TrainOptions) -> list[str]:
        """Tell it in a few lines."""
        trained, everything = (sum(counts) for counts in zip(*self.parts.values(), strict=True))
        parts = ", ".join(f"{name} {_share(*counts)}" for name, counts in self.parts.items())
        adapted = ", ".join(_tell_targets(*item) for item in self.targets.items())
        rates = ", ".join(f"{part} {rate:g}" for part, rate in options.learning_rates.items())
        left_out = ", ".join(f"{count} for {reason}" for reason, count in self.left_out.items())
        few, many = self.picture_tokens
        limit = "" if options.max_minutes is None else f", at most {options.max_minutes:g} min"
        lines = [
            f"Training {_millions(trained)} of {_millions(everything)} parameters: {parts}",
            f"Adapters: {adapted}" if adapted else "",
            f"Peak learning rates of their own: {rates}" if rates else "",
            f"{self.train_rows:,} rows to train on{f' (left out: {left_out})' if left_out else ''}"
            f", {self.validation_rows:,} to validate; a picture is "
            f"{few if few == many else f'{few} to {many}'} tokens, the longest sample "
            f"{self.sequence_tokens}",
            f"Up to {self.steps:,} steps of {options.batch_size * options.gradient_accumulation} "
            f"rows{limit}; about {self.memory_bytes / 2**30:.1f} GiB of memory",
        ]
        return [line for line in lines if line]


def make_plan(
    model: Any,
    targets: Targets,
    material: Material,
    options: TrainOptions,
    processes: int = 1,
) -> Plan:
    """Count what a run will do; `model` is as it will be trained."""
    longest = max(material.train.lengths)
    return Plan(
        parts=vlm.count_parameters_by_part(model),
        targets=targets,
        train_rows=len(material.train),
        validation_rows=0 if material.validation is None else len(material.validation),
        left_out=material.count_left_out(),
        picture_tokens=material.picture_tokens,
        sequence_tokens=longest,
        steps=count_steps(len(material.train), options, processes),
        memory_bytes=estimate_memory(model, longest, material.crops, options),
    )


def count_steps(rows: int, options: TrainOptions, processes: int = 1) -> int:
    """Give the number of optimizer steps that epochs and max_steps allow."""
    batches = math.ceil(rows / (options.batch_size * processes))
    per_epoch = math.ceil(batches / options.gradient_accumulation)
    steps = max(1, math.ceil(options.epochs * per_epoch))
    return steps if options.max_steps is None else min(steps, options.max_steps)


def estimate_memory(model: Any, tokens: int, crops: int, options: TrainOptions) -> int:
    """Estimate the peak in bytes: weights, gradients, optimizer, and what layers keep."""
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    state = trained * (4 + OPTIMIZER_BYTES.get(options.optimizer, ADAMW_BYTES))
    per_sample = _activation_bytes(vlm.underlying_model(model).config, tokens, crops, options)
    at_once = samples_at_once(model, options.batch_size, tokens, vlm.choose_device("auto"))
    return int(weights + state + at_once * per_sample)


def _activation_bytes(config: Any, tokens: int, crops: int, options: TrainOptions) -> int:
    kept = BYTES_KEPT_WHEN_RECOMPUTED if options.gradient_checkpointing else BYTES_KEPT
    decoder = config.get_text_config()
    total = tokens * decoder.hidden_size * (decoder.num_hidden_layers * kept + BYTES_KEPT)
    tower = getattr(config, "vision_config", None)
    is_seen = options.part_modes()["tower"] != "frozen"  # a backward pass goes through it
    if tower is not None and hasattr(tower, "patch_size") and is_seen:
        patches = max(crops, 1) * (tower.image_size // tower.patch_size) ** 2
        total += patches * tower.hidden_size * (tower.num_hidden_layers * kept + BYTES_KEPT)
    return int(total)


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
