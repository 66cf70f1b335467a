"""Options of `loupe train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from loupe.errors import OptionError

__all__ = ["MOST_SEED", "PARTS", "TrainOptions"]

PARTS = ("tower", "projection", "embeddings", "decoder", "head")  # of a model, as vlm.py tells them
MOST_SEED = 2**32 - 1  # NumPy's


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Fine-tune a vision-language model on a dataset, with the loss on the answer alone."""

    dataset: str
    """Folder that `loupe build` wrote."""
    output: str
    """Folder to write: the model or adapter with its processor and task, options.yaml,
    metrics.jsonl, checkpoints/."""
    model: str = "tiny"
    """Checkpoint folder or hub name; `tiny` is the small pretrained base that ships with Loupe."""
    method: Literal["full", "lora", "qlora"] = "full"
    """Train every parameter, or low-rank adapters on the decoder's linear layers; qlora keeps the
    decoder beneath them in 4 bits (NF4) and needs a CUDA GPU with bitsandbytes."""
    parts: dict[str, str] = field(default_factory=dict)
    """How parts are trained where it differs from the method, as {part: frozen, adapted or full}:
    tower, projection (with its separators), embeddings, decoder, head. With lora and qlora the
    decoder is adapted and the rest frozen."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Peak learning rates of parts where they differ from learning_rate, as {part: rate}."""
    lora_rank: int = 16
    """Rank of the adapters."""
    lora_alpha: float = 32.0
    """Scale of the adapters; alpha / rank multiplies their output."""
    lora_dropout: float = 0.0
    """Dropout before the adapters, 0 to 1."""
    lora_targets: list[str] = field(default_factory=list)
    """Linear layers of the adapted parts that get an adapter, by the end of their name, such as
    qkv_proj; none means all. A name, or a part, that matches none is an error."""
    use_dora: bool = False
    """Adapters learn direction and length of the weights apart (DoRA)."""
    use_rslora: bool = False
    """Adapters are scaled by alpha / √rank, which suits high ranks (rsLoRA)."""
    train_share: float = 1.0
    """Share of the training rows to learn from, whole groups drawn by seed; below 1 it tells what
    fewer rows would have given, as `loupe curve` does for several shares."""
    epochs: float = 3.0
    """Passes over the training rows; the run ends with them, with max_steps or with max_minutes,
    whichever comes first."""
    max_steps: int | None = None
    """Largest number of optimizer steps."""
    max_minutes: float | None = None
    """Largest training time; the learning-rate schedule is fitted to it from the measured speed."""
    batch_size: int = 16
    """Samples per step and process."""
    batch_tokens: int | None = None
    """Tokens per step and process, padding counted, in place of batch_size: many short samples or
    few long ones, so that large pictures do not set the size for all."""
    gradient_accumulation: int = 1
    """Steps whose gradients are added before the optimizer moves."""
    optimizer: str = "adamw"
    """`muon` uses Muon for the two-dimensional weights inside the layers and AdamW for the rest;
    other names are those of transformers' Trainer, such as adamw_torch_fused or adafactor."""
    learning_rate: float | None = None
    """Peak learning rate; none means 3e-3 for muon, else 1e-5 for full and 2e-4 for lora and
    qlora."""
    label_smoothing: float = 0.0
    """Share of each label that all tokens of the vocabulary divide, 0 to 1."""
    neftune_noise_alpha: float | None = None
    """Size of the noise on the embeddings of words while training (NEFTune), such as 5."""
    digit_weight: float = 1.0
    """By how much a digit counts in the loss, where other tokens count 1; above 1 prices and
    numbers are learnt sooner, at some cost to words."""
    price_spread: float = 0.0
    """How far a price nearby counts as partly right in the loss, as a share of the true price: 0.08
    lets prices 8 % off count 0.6 times as much as the true one; 0 counts the true one alone."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices; vectors have none."""
    warmup_share: float = 0.05
    """Share of the steps over which the learning rate rises."""
    schedule: str = "cosine"
    """Course of the learning rate after the warm-up, by the names of transformers' Trainer: cosine,
    linear, constant, polynomial, inverse_sqrt, cosine_with_restarts, cosine_with_min_lr,
    warmup_stable_decay."""
    schedule_settings: dict[str, float] = field(default_factory=dict)
    """What a schedule asks for further: num_cycles, power, lr_end, min_lr, min_lr_rate,
    min_lr_ratio, or decay_share (share of the run in which warmup_stable_decay falls)."""
    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    num_crops: int | None = None
    """HD crops per picture; none keeps the processor's own."""
    pictures: int | None = None
    """How many of a row's pictures are shown, the main one first; none shows all."""
    augment: bool = False
    """Shift, scale and mirror training pictures by a little, anew in each epoch."""
    keep_features: bool = True
    """Let a frozen tower see each picture once and keep what it saw on disk, where that is possible
    and helps: Phi-3-Vision, no augment, more than one pass, half of the free disk at most."""
    feature_folder: str | None = None
    """Folder in which features are kept for later runs as well; none keeps them in the output
    folder until the run is over."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the training; auto is bf16 on a GPU that has it, else fp32. fp16 is for GPUs
    without bf16."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    evaluations: int = 5
    """How often the validation rows are answered while training, spread evenly."""
    evaluation_rows: int = 128
    """Validation rows answered each time."""
    evaluation_minutes: float = 10.0
    """Largest time for answering them; where it is up, the rows answered by then are scored."""
    patience: int | None = None
    """End the run after so many evaluations in a row without a better best_metric; none never
    does. Raise evaluations with it."""
    best_metric: str = "loss"
    """Score that chooses the best model: loss, or any name that `loupe evaluate` prints, such as
    full_price_median_ape or title_token_f1."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints are kept to resume from; the best is kept as well."""
    sharding: Literal["none", "fsdp"] = "none"
    """What each of several processes holds: none, all of the model; fsdp, its share of weights,
    gradients and optimizer (FSDP2)."""
    tracker: list[str] = field(default_factory=list)
    """Trackers beside metrics.jsonl, which is always written, in any combination: wandb,
    tensorboard, trackio."""
    project: str = "loupe"
    """The tracker's project."""
    run_name: str | None = None
    """The tracker's name of this run; none lets it choose."""
    seed: int = 0
    """Order of rows, augmentation, new weights."""
    threads: int | None = None
    """CPU threads; none means one per core."""
    plan: bool = False
    """Start nothing and write nothing: tell parameters, picture tokens by num_crops, memory by what
    holds it, and time by a few steps tried; where it does not fit, what to change."""
    overwrite: bool = False
    """Start again where the output folder holds a run; without it an unfinished run is resumed."""

    def __post_init__(self) -> None:
        modes = self.part_modes()
        adapted = [part for part, mode in modes.items() if mode == "adapted"]
        named = self.parts.keys() | self.learning_rates.keys()
        kinds = {"frozen", "adapted", "full"}
        has_adapters = self.lora_targets or self.use_dora or self.use_rslora or adapted
        is_idle = set(modes.values()) == {"frozen"} or (self.method != "full" and not adapted)
        idle_rates = [part for part in self.learning_rates if modes.get(part) == "frozen"]
        noise = 1.0 if self.neftune_noise_alpha is None else self.neftune_noise_alpha
        is_featured = self.keep_features and not self.augment and modes.get("tower") == "frozen"
        problems = {
            f"parts {self.parts} and learning_rates {self.learning_rates}: expected "
            f"{', '.join(PARTS)}, and for parts one of {', '.join(sorted(kinds))}.": not (
                named <= set(PARTS) and set(self.parts.values()) <= kinds
            ),
            "method full trains without adapters: parts that are adapted, lora_targets, use_dora "
            "and use_rslora go with --method lora or qlora. Drop them, or choose one.": (
                self.method == "full" and has_adapters
            ),
            f"method {self.method} with parts {self.parts} has nothing to "
            f"{'train' if self.method == 'full' else 'adapt'}. Name other parts, or another "
            "method.": is_idle,
            "parts.decoder is full, but method qlora keeps the decoder in 4 bits, which cannot be "
            "trained. Choose adapted or frozen, or --method lora.": (
                self.method == "qlora" and modes["decoder"] == "full"
            ),
            f"learning_rates names {', '.join(idle_rates)}, frozen by parts or method. Drop the "
            "rate, or train it by parts.": bool(idle_rates),
            f"feature_folder is {self.feature_folder!r}, but features are kept of pictures that do "
            "not vary, of a tower that does not learn: with keep_features, without augment, with "
            "the tower frozen by parts or method. Change these, or drop feature_folder.": (
                bool(self.feature_folder) and not is_featured
            ),
            f"label_smoothing is {self.label_smoothing}, lora_dropout {self.lora_dropout} and "
            f"warmup_share {self.warmup_share}; expected shares of 0 to below 1.": not all(
                0 <= share < 1
                for share in (self.label_smoothing, self.lora_dropout, self.warmup_share)
            ),
            f"neftune_noise_alpha {self.neftune_noise_alpha} and learning_rates "
            f"{self.learning_rates}: expected values above 0.": (
                min(noise, *self.learning_rates.values(), 1.0) <= 0
            ),
            f"evaluation_minutes is {self.evaluation_minutes} and keep_checkpoints "
            f"{self.keep_checkpoints}; expected more than 0 minutes and at least 1 checkpoint.": (
                self.evaluation_minutes <= 0 or self.keep_checkpoints < 1
            ),
            f"patience {self.patience} with {self.evaluations} evaluations can never end a run; "
            "expected at least 1, and more evaluations than that. Raise evaluations.": (
                self.patience is not None and not 0 < self.patience < self.evaluations
            ),
            f"pictures is {self.pictures}; expected at least 1, or none for all of a row's.": (
                self.pictures is not None and self.pictures < 1
            ),
            f"seed is {self.seed}; expected 0 to {MOST_SEED}.": not 0 <= self.seed <= MOST_SEED,
            f"train_share is {self.train_share}; expected above 0 and at most 1.": not (
                0 < self.train_share <= 1
            ),
            f"digit_weight is {self.digit_weight} and price_spread {self.price_spread}; expected "
            "a weight above 0 and a spread of 0 to below 1.": (
                self.digit_weight <= 0 or not 0 <= self.price_spread < 1
            ),
        }
        for problem, is_met in problems.items():
            if is_met:
                raise OptionError(problem)

    def part_modes(self) -> dict[str, str]:
        """Give for each part how it is trained: frozen, adapted or full."""
        modes = dict.fromkeys(PARTS, "full" if self.method == "full" else "frozen")
        if self.method != "full":
            modes["decoder"] = "adapted"
        return modes | self.parts
