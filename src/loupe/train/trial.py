"""A few steps tried on this machine: how long one takes, and how much memory it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.train.batches import Collator, Draw, samples_at_once
from loupe.train.load import count_batch_rows
from loupe.train.material import Material
from loupe.train.optimizer import build_optimizer, default_learning_rate
from loupe.train.run import choose_precision, soften_labels
from loupe.train.validation import SPARE_TOKENS

__all__ = ["PeakMemory", "Trial", "available_memory", "held_memory", "try_run", "watch_memory"]

STEPS = 4
LOOK_SECONDS = 0.002
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Trial:
    """What a few steps and an evaluation took."""

    step_seconds: float
    """One optimizer step on usual samples, gradients of all its batches included."""
    evaluation_seconds: float
    """One evaluation, by the answers to one batch; 0 where there is none."""
    peak_bytes: int
    """The most that was in use: on a CPU by the whole process, on a GPU by torch."""


@dataclass
class PeakMemory:
    """The most memory that was seen in use."""

    peak: int = field(default=0)


def available_memory(device: str) -> int:
    """Bytes that are free on the device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def held_memory() -> int:
    """Bytes of resident memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


@contextmanager
def watch_memory(device: str) -> Iterator[PeakMemory]:
    """Watch the memory of the device; `peak` stands when the block has ended."""
    seen = PeakMemory()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        yield seen
        seen.peak = torch.cuda.max_memory_allocated()
        return
    process = psutil.Process()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_SECONDS):
            seen.peak = max(seen.peak, process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def try_run(predictor: Predictor, material: Material, options: TrainOptions) -> tuple[float, float]:
    """Take a few steps, the first on the longest samples, and answer a batch.

    The model is moved by them: throw it away.

    Returns:
        Seconds of a step, and of an evaluation.
    """
    model = predictor.model.train()
    if options.gradient_checkpointing:
        # transformers 5.23 renamed it; the old name goes away with 6.
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)()
    rate = options.learning_rate or default_learning_rate(options.method, options.optimizer)
    optimizer = build_optimizer(
        model, options.optimizer, rate, options.weight_decay, options.learning_rates
    )
    collate = Collator(predictor.processor, soften_labels(predictor, material.train, options))
    longest = max(material.train.lengths)
    at_once = samples_at_once(model, options, longest, model.device.type)
    taken = []
    for draws in _choose_batches(material.train.lengths, options):
        started = time.perf_counter()
        for _ in range(options.gradient_accumulation):
            for begin in range(0, len(draws), at_once):
                piece = draws[begin : begin + at_once]
                batch = collate([material.train[draw] for draw in piece])
                _add_gradients(model, batch, options)
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.max_gradient_norm)
        optimizer.step()
        optimizer.zero_grad()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    usual = taken[1:]
    return sum(usual) / len(usual), _try_evaluation(predictor, material, options)


def _add_gradients(model: Any, batch: dict[str, Any], options: TrainOptions) -> None:
    del batch["row_ids"]
    device = model.device
    inputs = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }
    with _arithmetic(model, options):
        loss = model(**inputs).loss
    loss.backward()


def _try_evaluation(predictor: Predictor, material: Material, options: TrainOptions) -> float:
    if material.validation is None:
        return 0.0
    examples = material.train.examples[: options.batch_size]
    pictures = [material.train.pictures(place) for place in range(len(examples))]
    longest = max(len(example.answer_ids) for example in examples)
    started = time.perf_counter()
    with _arithmetic(predictor.model, options):
        predictor.predict(pictures, batch_size=len(pictures), max_new_tokens=longest + SPARE_TOKENS)
    return (time.perf_counter() - started) * len(material.validation) / len(pictures)


def _arithmetic(model: Any, options: TrainOptions) -> torch.autocast:
    device = model.device.type
    kind = AUTOCAST.get(choose_precision(options.precision, device))
    return torch.autocast(device, kind, enabled=kind is not None)


def _choose_batches(lengths: Sequence[int], options: TrainOptions) -> Iterator[list[Draw]]:
    """The longest samples first, which take the most memory; then such as are usual."""
    batch_size = count_batch_rows(lengths, options)
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    yield [(place, 0) for place in order[-batch_size:]]
    first = max(0, (len(order) - batch_size) // 2)
    for _ in range(STEPS - 1):
        yield [(place, 0) for place in order[first : first + batch_size]]
