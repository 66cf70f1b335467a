"""Options of `loupe prefer`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from loupe.errors import OptionError
from loupe.options.train import TrainOptions

__all__ = ["PreferOptions"]

LEARNING_RATES = {"full": 1e-6, "lora": 2e-5}  # a tenth of what `loupe train` starts from


@dataclass(frozen=True, kw_only=True)
class PreferOptions:
    """Tune a trained model by its own answers, the better of two preferred to the worse (DPO)."""

    model: str
    """Folder that `loupe train` wrote: a model, or an adapter."""
    dataset: str
    """Folder that `loupe build` wrote."""
    output: str
    """Folder to write: the model or adapter with its processor and task, options.yaml,
    metrics.jsonl, samples.jsonl, pairs.jsonl, checkpoints/."""
    pictures: int | None = None
    """How many of a row's pictures are shown, the main one first; none shows all."""
    max_rows: int | None = None
    """Draw answers for only this many training rows, taken by seed; none means all."""
    samples: int = 8
    """Answers drawn for each row."""
    temperature: float = 1.0
    """How freely answers are drawn: 1 as likely as the model holds them, less keeps to the
    likelier."""
    max_new_tokens: int = 96
    """Longest answer drawn, in tokens."""
    sample_batch_size: int = 32
    """Pictures for which answers are drawn at a time; there are `samples` answers for each."""
    samples_from: str | None = None
    """Folder of an earlier run whose rows and answers are taken, if they were drawn by the same
    model in the same way; none draws answers."""
    margin: float = 0.05
    """Least difference between the scores of a row's best and worst answer, 0 to 1; a row with
    less gives no pair."""
    field_weights: dict[str, float] = field(default_factory=dict)
    """By how much fields count in an answer's score, as {field: weight}; others count 1."""
    beta: float = 0.1
    """How closely the model is held to what it was; higher is closer."""
    answer_weight: float = 0.0
    """Weight of the preferred answer's own loss beside the preference's; above 0 keeps its
    probability from falling along with the other's."""
    method: Literal["full", "lora"] = "full"
    """Train every parameter, or low-rank adapters; where the model is an adapter, lora trains that
    one on, and full merges it into its base first."""
    parts: dict[str, str] = field(default_factory=dict)
    """How parts are trained where it differs from the method, as in `loupe train`."""
    lora_rank: int = 16
    """Rank of new adapters."""
    lora_alpha: float = 32.0
    """Scale of new adapters; alpha / rank multiplies their output."""
    lora_targets: list[str] = field(default_factory=list)
    """Linear layers that get a new adapter, by the end of their name; none means all."""
    epochs: float = 1.0
    """Passes over the pairs; the run ends with them, with max_steps or with max_minutes, whichever
    comes first."""
    max_steps: int | None = None
    """Largest number of optimizer steps."""
    max_minutes: float | None = None
    """Largest training time, the drawing of answers not counted."""
    batch_size: int = 8
    """Pairs per step; each is two samples."""
    gradient_accumulation: int = 1
    """Steps whose gradients are added before the optimizer moves."""
    optimizer: str = "adamw"
    """As in `loupe train`."""
    learning_rate: float | None = None
    """Peak learning rate; none means 1e-6 for full and 2e-5 for lora. Small models take more."""
    warmup_share: float = 0.1
    """Share of the steps over which the learning rate rises."""
    schedule: str = "cosine"
    """Course of the learning rate after the warm-up, as in `loupe train`."""
    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the training; auto is bf16 on a GPU that has it, else fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    evaluations: int = 3
    """How often the validation rows are answered while training, spread evenly; they are answered
    once before it as well."""
    evaluation_rows: int = 128
    """Validation rows answered each time."""
    best_metric: str | None = None
    """Score that chooses the best model, by any name that `loupe evaluate` prints; none means the
    one that stands for the first price or number of the task, or for its first field."""
    keep_checkpoints: int = 2
    """Checkpoints kept to resume from, beside the best."""
    tracker: list[str] = field(default_factory=list)
    """Trackers beside metrics.jsonl, as in `loupe train`."""
    project: str = "loupe"
    """The tracker's project."""
    run_name: str | None = None
    """The tracker's name of this run; none lets it choose."""
    seed: int = 0
    """Rows taken, answers drawn, order of pairs, new weights."""
    threads: int | None = None
    """CPU threads; none means one per core."""
    overwrite: bool = False
    """Start again where the output folder holds a run; without it an unfinished run is resumed."""

    def __post_init__(self) -> None:
        problems = {
            f"samples is {self.samples} and max_rows {self.max_rows}; a pair needs at least 2 "
            "answers, and at least 1 row.": self.samples < 2 or self.max_rows == 0,
            f"temperature is {self.temperature} and beta {self.beta}; expected values above 0. At "
            "temperature 0 all answers would be the same.": min(self.temperature, self.beta) <= 0,
            "max_rows goes without samples_from, which says which rows are taken. Drop one.": (
                self.max_rows is not None and self.samples_from is not None
            ),
            f"margin is {self.margin}; expected above 0 and at most 1, as scores lie between 0 "
            "and 1.": not 0 < self.margin <= 1,
            f"field_weights {self.field_weights} and answer_weight {self.answer_weight}: expected "
            "weights of 0 or more.": min([self.answer_weight, *self.field_weights.values()]) < 0,
        }
        for problem, is_met in problems.items():
            if is_met:
                raise OptionError(problem)
        if self.parts.get("head") == "adapted":
            raise OptionError(
                "parts.head is adapted, but TRL reads the head's weight by itself and would never "
                "train an adapter on it. Choose full or frozen."
            )
        self.train_options()

    def train_options(self) -> TrainOptions:
        """Give what `loupe train` calls the same.

        Raises:
            OptionError: method, parts and adapters do not go together.
        """
        shared = {
            each.name: getattr(self, each.name)
            for each in fields(TrainOptions)
            if hasattr(self, each.name)
        }
        rate = self.learning_rate or LEARNING_RATES[self.method]
        metric = self.best_metric or "loss"
        minutes = math.inf  # or other rows might be answered before than after
        own = {"learning_rate": rate, "best_metric": metric, "evaluation_minutes": minutes}
        return TrainOptions(**{**shared, **own})
