"""One run: a model, rows and options in; checkpoints, scores and the best model out.

Nothing here opens a dataset, so that other sources of samples can be trained on as well.
"""

from __future__ import annotations

import inspect
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import Dataset
from transformers import TrainingArguments

from loupe import vlm
from loupe.errors import StoppedError
from loupe.evaluate.scores import headline_score, is_lower_better
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.task import Task
from loupe.tracking import Tracker
from loupe.train import checkpoints, processes
from loupe.train.batches import samples_at_once
from loupe.train.callbacks import (
    PaceCallback,
    ProgressCallback,
    StepTimer,
    TrackerCallback,
    mean_times,
    stop_after_step,
)
from loupe.train.examples import Sample
from loupe.train.optimizer import build_optimizer, default_learning_rate, find_optimizer
from loupe.train.schedule import RunClock, learning_rate_course
from loupe.train.soft_labels import SoftLabels
from loupe.train.trainer import AnswerTrainer
from loupe.train.validation import Validation

__all__ = ["Learning", "Outcome", "choose_precision", "soften_labels", "train_on"]

logger = logging.getLogger(__name__)

NEVER = 10**9  # a step that no run reaches: when to log and save is PaceCallback's to say
TRACKED_PICTURES = 16


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    checkpoint: Path
    """The checkpoint with the best model."""
    steps: int
    seconds: float
    best_step: int
    best_score: float | None
    """Value of best_metric at `best_step`; None where nothing was evaluated."""
    best_scores: Mapping[str, float]
    """All scores on validation rows at `best_step`; empty where nothing was evaluated."""
    times: Mapping[str, float]
    """Means over all steps: `step_seconds`, and of these `data_wait_seconds`."""


@dataclass(frozen=True)
class Learning:
    """How is learnt: by a kind of trainer, and by what makes its arguments of the Trainer's."""

    trainer: Callable[..., AnswerTrainer]
    arguments: Callable[..., TrainingArguments]


def train_on(
    predictor: Predictor,
    train: Dataset[Sample],
    validation: Validation | None,
    options: TrainOptions,
    tracker: Tracker,
    steps: int,
) -> Outcome:
    """Train a model until `steps`, max_minutes or a signal; resume where checkpoints stand.

    Args:
        predictor: the model, ready to be trained, with processor and task.
        train: samples by draw (place, epoch), with `lengths` and, for price_spread, `spellings`;
            its `learning`, where it has one, says how is learnt from it.
        validation: rows to answer from time to time; None for none.
        options: of these `dataset` and `model` are not read.
        tracker: started.
        steps: number of optimizer steps.

    Raises:
        TrainError: the loss or a gradient has no finite value; the optimizer cannot run here.
        StoppedError: a signal ended the run, with a checkpoint.
    """
    folder = Path(options.output)
    seconds = None if options.max_minutes is None else 60 * options.max_minutes
    time = processes.MainTime()
    clock = RunClock(steps, seconds, now=time, tick=time.tick)
    pace = PaceCallback(clock, options.evaluations if validation else 0, options.patience)
    trainer = _make_trainer(predictor, train, validation, options, tracker, pace)
    for callback in (pace, ProgressCallback(clock), TrackerCallback(tracker)):
        trainer.add_callback(callback)
    last = checkpoints.find_last_checkpoint(folder)
    is_over = last is not None and _resume(pace, trainer.timer, last)
    if not is_over:
        with stop_after_step(pace):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        if pace.stopped_by and not pace.is_over:
            raise StoppedError(
                f"stopped by {signal.Signals(pace.stopped_by).name} after step "
                f"{trainer.state.global_step}, with a checkpoint; the same command goes on.",
                pace.stopped_by,
            )
    return _conclude(folder, clock)


def choose_precision(precision: str, device: str) -> str:
    """Resolve `auto`: bf16 on a GPU that has it, else fp32."""
    if precision != "auto":
        return precision
    has_bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return "bf16" if has_bf16 else "fp32"


def _resume(pace: PaceCallback, timer: StepTimer, checkpoint: Path) -> bool:
    """Set the pace as a checkpoint left it, and tell whether the run was at its end there."""
    state = checkpoints.read_record(checkpoint / checkpoints.TRAINER_STATE) or {}
    pace.resume(state["stateful_callbacks"]["PaceCallback"]["attributes"])
    timer.resume(state["stateful_callbacks"]["StepTimer"]["attributes"])
    if not pace.is_over:
        logger.info("Going on from step %s", state["global_step"])
    return pace.is_over


def _make_trainer(
    predictor: Predictor,
    train: Dataset[Sample],
    validation: Validation | None,
    options: TrainOptions,
    tracker: Tracker,
    pace: PaceCallback,
) -> AnswerTrainer:
    rate = options.learning_rate or default_learning_rate(options.method, options.optimizer)
    course = learning_rate_course(
        options.schedule, options.warmup_share, rate, options.schedule_settings
    )
    make = find_optimizer(options.optimizer, rate, predictor.model.device.type)
    longest = max(train.lengths)  # type: ignore[attr-defined]  # a Dataset of ours has them
    at_once = samples_at_once(predictor.model, options, longest, vlm.choose_device("auto"))
    learning = getattr(train, "learning", None) or Learning(AnswerTrainer, TrainingArguments)
    trainer: AnswerTrainer

    def make_optimizer(model: Any) -> tuple[Optimizer, LRScheduler]:
        optimizer = build_optimizer(
            model, options.optimizer, rate, options.weight_decay, options.learning_rates, make
        )
        return optimizer, LambdaLR(optimizer, lambda step: course(pace.clock.progress(step)))

    def evaluate_now() -> dict[str, float] | None:
        assert validation is not None, "nothing asks for scores without validation rows"
        step = trainer.state.global_step
        scored = validation.score(pace.breaks_off)
        if scored is None:
            return None
        scores, answers = scored
        logger.info("step %s: %s", step, _tell(scores, predictor.task))
        rows = validation.predicted_rows(answers, TRACKED_PICTURES)
        tracker.predictions("train/predictions", rows, step)
        return scores

    trainer = learning.trainer(
        _arguments(options, pace.clock.max_steps, at_once, learning.arguments),
        predictor,
        train,
        make_optimizer=make_optimizer,
        evaluate_now=evaluate_now,
        soft_labels=soften_labels(predictor, train, options),
    )
    trainer.batch_tokens = options.batch_tokens
    if options.sharding == "fsdp":
        trainer.divide_model()
    return trainer


def soften_labels(
    predictor: Predictor, train: Dataset[Sample], options: TrainOptions
) -> SoftLabels | None:
    """Give what counts in the loss, and by how much; None where labels count as they are."""
    if options.digit_weight == 1 and options.price_spread == options.label_smoothing == 0:
        return None
    return SoftLabels(
        predictor.processor.tokenizer,
        options.digit_weight,
        options.price_spread,
        getattr(train, "spellings", {}),
        options.label_smoothing,
    )


def _arguments(
    options: TrainOptions, steps: int, at_once: int, kind: Callable[..., TrainingArguments]
) -> TrainingArguments:
    device = vlm.choose_device("auto")
    # transformers 5.23 renamed it; the old name goes away with 6.
    known = inspect.signature(TrainingArguments).parameters
    recompute = (
        "activation_checkpointing"
        if "activation_checkpointing" in known
        else ("gradient_checkpointing")
    )
    settings: Mapping[str, Any] = {
        recompute: options.gradient_checkpointing,
        "output_dir": str(Path(options.output) / checkpoints.CHECKPOINTS),
        "max_steps": steps,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": options.gradient_accumulation
        * (options.batch_size // at_once),
        "max_grad_norm": options.max_gradient_norm,
        "bf16": choose_precision(options.precision, device) == "bf16",
        "fp16": options.precision == "fp16",
        "neftune_noise_alpha": options.neftune_noise_alpha,
        "use_cpu": device == "cpu",
        "seed": options.seed,
        "save_strategy": "steps",
        "save_steps": NEVER,
        "save_total_limit": options.keep_checkpoints,
        "metric_for_best_model": options.best_metric,
        "greater_is_better": not is_lower_better(options.best_metric),
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,  # a loss without a value stops the run
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device != "cpu",
        "dataloader_num_workers": _count_loader_workers(device),
        "label_names": ["labels"],
        "ddp_find_unused_parameters": True,  # a CLIP tower's last layer never runs
    }
    arguments = kind(**settings)
    if arguments.n_gpu > 1:
        # Else the Trainer would deal one process's batch out to all GPUs with DataParallel, which
        # cannot cut pictures of several crops. torchrun starts one process for each GPU.
        arguments._n_gpu = 1
    return arguments


def _count_loader_workers(device: str) -> int:
    """Prepare batches beside a GPU; on a CPU a second process would only take turns."""
    return 0 if device == "cpu" else min(8, max(1, (os.cpu_count() or 2) // 2))


def _conclude(folder: Path, clock: RunClock) -> Outcome:
    last = checkpoints.find_last_checkpoint(folder)
    assert last is not None, "a run ends with a checkpoint"
    state = checkpoints.read_record(last / checkpoints.TRAINER_STATE) or {}
    best_step = state.get("best_global_step") or state["global_step"]
    best = last.with_name(f"checkpoint-{best_step}")
    return Outcome(
        checkpoint=best,
        steps=state["global_step"],
        seconds=clock.elapsed_seconds,
        best_step=best_step,
        best_score=state.get("best_metric"),
        best_scores={
            name.removeprefix("eval_"): value
            for event in state["log_history"]
            if event["step"] == best_step
            for name, value in event.items()
            if name.startswith("eval_")
        },
        times=mean_times(state["stateful_callbacks"]["StepTimer"]["attributes"]["totals"]),
    )


def _tell(scores: Mapping[str, float], task: Task) -> str:
    """Tell the scores that stand for all others."""
    names = ["loss", "parse_rate", *(headline_score(task, field) for field in task.fields)]
    return ", ".join(f"{name} {scores[name]:.3f}" for name in names if name in scores)
