"""What `loupe train --plan` tells: parameters, picture tokens, memory, time, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, get_args, get_type_hints

from loupe.options import TrainOptions
from loupe.train.load import Load, TokensByCrops
from loupe.train.memory import Memory
from loupe.train.plan import Plan
from loupe.train.trial import Trial

__all__ = ["Change", "Outlook", "suggest_changes"]

FEWER_CROPS = (4, 1)
GIB = 2**30
HELD = (
    "process",
    "pictures",
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "scratch",
)


@dataclass(frozen=True)
class Change:
    """Options to change, together, and the memory that is expected then."""

    options: dict[str, Any]
    peak_bytes: int
    fits: bool


@dataclass(frozen=True)
class Outlook:
    """What a run would do and need."""

    plan: Plan
    options: TrainOptions
    tokens_by_crops: TokensByCrops
    """Empty for families without HD crops."""
    available_bytes: int
    """What is free on the device, with what this process holds of it."""
    trial: Trial | None
    """None where the run is not expected to fit, and nothing was tried."""
    changes: tuple[Change, ...]
    """What would make it fit, the gentlest first; empty where it fits."""

    def summary(self) -> str:
        """Tell it to a person."""
        memory = self.plan.memory
        modes = {"adapters": "added", **self.options.part_modes()}
        lines = [*self.plan.describe(self.options), "", f"part{'trained':>31}{'all':>15}"]
        lines += [
            f"{part:<11}{modes[part]:<9}{trained:>15,}{everything:>15,}"
            for part, (trained, everything) in self.plan.parts.items()
        ]
        if self.tokens_by_crops:
            lines += ["", "num_crops   tokens of a picture (fewest, middle, most)"]
            alike = groupby(self.tokens_by_crops.items(), itemgetter(1))
            for (few, middle, many), group in alike:
                first, *rest = (crops for crops, _ in group)
                span = f"{first} to {rest[-1]}" if rest else str(first)
                lines.append(f"{span:>9}   {few:,} {middle:,} {many:,}")
        lines += ["", "memory expected"]
        lines += [
            f"{name:<15}{getattr(memory, name) / GIB:8.2f} GiB"
            for name in HELD
            if getattr(memory, name)
        ]
        lines += [
            f"{'at the peak':<15}{memory.peak / GIB:8.2f} GiB, not all of it at the same time",
            f"{'available':<15}{self.available_bytes / GIB:8.2f} GiB",
            "",
            *(self._tell_trial(self.trial) if self.trial else self._tell_changes()),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        trial = None if self.trial is None else asdict(self.trial)
        return {
            **self.plan.to_dict(),
            "tokens_by_crops": {str(n): list(counts) for n, counts in self.tokens_by_crops.items()},
            "available_bytes": self.available_bytes,
            "trial": trial,
            "expected_seconds": self._expected_seconds(),
            "changes": [asdict(change) for change in self.changes],
        }

    def _expected_seconds(self) -> float | None:
        if self.trial is None:
            return None
        evaluations = self.options.evaluations * self.trial.evaluation_seconds
        seconds = self.trial.step_seconds * self.plan.steps + evaluations
        limit = self.options.max_minutes
        return seconds if limit is None else min(seconds, 60 * limit)

    def _tell_trial(self, trial: Trial) -> list[str]:
        seconds = self._expected_seconds() or 0
        evaluations = self.options.evaluations
        stepping = seconds - evaluations * trial.evaluation_seconds
        steps = min(self.plan.steps, max(0, round(stepping / trial.step_seconds)))
        return [
            f"Tried a few steps: {trial.step_seconds:.2f} s a step and "
            f"{trial.evaluation_seconds:.1f} s an evaluation, so {steps:,} steps and {evaluations} "
            f"evaluation{'s' * (evaluations != 1)} take {seconds / 60:,.1f} min; "
            f"{trial.peak_bytes / GIB:.2f} GiB at the peak.",
            "It fits. Nothing was written. Next: the same command without --plan.",
        ]

    def _tell_changes(self) -> list[str]:
        lines = ["It does not fit, and nothing was tried. What to change:"]
        for change in self.changes:
            flags = " ".join(_flag(name, value) for name, value in change.options.items())
            verdict = "fits" if change.fits else "too much"
            lines.append(f"  {flags}: {change.peak_bytes / GIB:.2f} GiB, {verdict}")
        if not any(change.fits for change in self.changes):
            lines.append("None of these fits: take a machine with more memory, or a smaller base.")
        return lines


def suggest_changes(
    options: TrainOptions,
    load: Load,
    tokens_by_crops: TokensByCrops,
    num_crops: int,
    available: int,
    estimate: Callable[[TrainOptions, Load], Memory],
) -> Iterator[Change]:
    """Suggest changes, each added to those before it, up to the first that fits."""
    for changed in _steps(options, load.samples, num_crops if tokens_by_crops else 1):
        chosen = replace(options, **changed)
        crops = changed.get("num_crops", num_crops)
        saved = tokens_by_crops[num_crops][2] - tokens_by_crops[crops][2] if tokens_by_crops else 0
        lighter = replace(
            load,
            samples=min(load.samples, chosen.batch_size),
            tokens=load.tokens - saved * load.pictures,
            crops=min(load.crops, (1 + crops) * load.pictures),
        )
        memory = estimate(chosen, lighter)
        fits = memory.peak <= available
        yield Change(changed, memory.peak, fits)
        if fits:
            return


def _steps(options: TrainOptions, size: int, num_crops: int) -> Iterator[dict[str, Any]]:
    """Give the options to change, growing: batch, recomputation, crops, adapters, 4 bits."""
    changed: dict[str, Any] = {} if options.batch_tokens is None else {"batch_tokens": None}
    size = options.batch_size if options.batch_tokens is None else size
    rows = size * options.gradient_accumulation
    while size > 1:
        size //= 2
        changed |= {"batch_size": size, "gradient_accumulation": rows // size}
        yield dict(changed)
    if not options.gradient_checkpointing:
        changed["gradient_checkpointing"] = True
        yield dict(changed)
    for crops in FEWER_CROPS:
        if crops < num_crops:
            changed["num_crops"] = crops
            yield dict(changed)
    methods = get_args(get_type_hints(TrainOptions)["method"])
    for method in ("lora", "qlora"):
        if method in methods and methods.index(method) > methods.index(options.method):
            changed |= {name: {} for name in ("parts", "learning_rates") if getattr(options, name)}
            changed["method"] = method
            yield dict(changed)


def _flag(name: str, value: Any) -> str:
    if value in ({}, None):
        return f"(no {name})"
    return f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
