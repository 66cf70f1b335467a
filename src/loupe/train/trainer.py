"""transformers' Trainer, told how to order, check, evaluate and save our runs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState

from loupe.errors import TrainError
from loupe.predict import Predictor
from loupe.train import checkpoints, processes
from loupe.train.adapters import add_full_parameters
from loupe.train.batches import Collator, FilledDataset, LengthGroupedOrder, TokenBatches
from loupe.train.callbacks import StepTimer
from loupe.train.examples import Sample
from loupe.train.sharding import (
    divide_model,
    gather_weights,
    load_optimizer,
    save_optimizer,
    without_reduction,
)
from loupe.train.soft_labels import SoftLabels
from loupe.vlm import (
    answer_loss,
    has_answer_loss,
    set_answers_apart,
    underlying_model,
    without_progress_bars,
)

__all__ = ["AnswerTrainer", "Scores"]

Scores = dict[str, float]
MAX_NAMED_ROWS = 20
OPTIMIZER_FILE, SCHEDULER_FILE = "optimizer.pt", "scheduler.pt"  # the Trainer's names


class LossWindow(TrainerCallback, ExportableState):  # type: ignore[misc]  # untyped
    """Carries the losses since the last log through a checkpoint, so that means stay the same."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must keep."""
        since = getattr(self._trainer, "_tr_loss", None)  # None before the training
        attributes = {
            "loss": 0.0 if since is None else since.item(),
            "last_logged": getattr(self._trainer, "_globalstep_last_logged", 0),
        }
        return {"args": {}, "attributes": attributes}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Go on from what a checkpoint kept."""
        kept = state.stateful_callbacks[type(self).__name__]["attributes"]
        self._trainer._tr_loss += kept["loss"]
        self._trainer._globalstep_last_logged = kept["last_logged"]


class AnswerTrainer(Trainer):  # type: ignore[misc]  # untyped in transformers
    """A Trainer whose evaluation is a function of ours, and that stops at a loss without a value.

    Args:
        args: its `output_dir` is the folder of checkpoints; `save_total_limit` are kept of them,
            beside the best.
        predictor: the model to train, with its processor and task.
        train_dataset: samples by (place, epoch), with `lengths`.
        make_optimizer: makes the optimizer of a model and its schedule, once the model is divided.
        evaluate_now: gives the scores of the model as it stands; `loss` is among them. None where
            a signal broke it off.
        soft_labels: what counts in the loss of training, and by how much; None scores the labels
            as they are.
    """

    def __init__(
        self,
        args: TrainingArguments,
        predictor: Predictor,
        train_dataset: Dataset[Sample],
        *,
        make_optimizer: Callable[[Any], tuple[Optimizer, LRScheduler]],
        evaluate_now: Callable[[], Scores | None],
        soft_labels: SoftLabels | None = None,
    ) -> None:
        material = self._material(predictor, train_dataset, soft_labels)
        super().__init__(args=args, model=predictor.model, **material)
        if not has_answer_loss(self.model):
            self.compute_loss_func = answer_loss
        self.remove_callback(PrinterCallback)  # it prints to stdout
        self.add_callback(LossWindow(self))
        self._predictor = predictor
        self._lengths: Sequence[int] = train_dataset.lengths  # type: ignore[attr-defined]  # ours
        self._make_optimizer = make_optimizer
        self._evaluate_now = evaluate_now
        self._features = getattr(train_dataset, "features", None)
        self._rows_of_step: list[str] = []
        self.timer = StepTimer()
        self.add_callback(self.timer)
        is_mean_of_all = self.model_accepts_loss_kwargs or self.compute_loss_func
        if processes.count() > 1 and not is_mean_of_all:
            raise TrainError(
                f"The loss of {type(predictor.model).__name__} is a mean over its own batch, which "
                "cannot be brought to the mean over the batches of all processes. Train it in one."
            )

    optimizer: Any
    batch_tokens: int | None = None
    """Most tokens of a batch; None goes by the number of samples in `args`."""
    _is_sharded = False
    _order: LengthGroupedOrder | TokenBatches

    def _material(
        self, predictor: Predictor, train_dataset: Any, soft_labels: SoftLabels | None
    ) -> dict[str, Any]:
        """Give the Trainer's settings of what is learnt from."""
        return {
            "train_dataset": FilledDataset(train_dataset),
            "data_collator": Collator(predictor.processor, soft_labels),
        }

    def get_batch_samples(self, *settings: Any, **more: Any) -> Any:
        """Collect the batches of one step, and measure how long they are waited for."""
        with self.timer.waiting():
            return super().get_batch_samples(*settings, **more)

    def log(self, logs: dict[str, float], *settings: Any, **more: Any) -> None:
        """Log how long steps take beside their loss."""
        super().log({**logs, **self.timer.tell()} if "loss" in logs else logs, *settings, **more)

    def divide_model(self) -> None:
        """Divide the model among the processes, once its weights are loaded."""
        self._is_sharded = True
        # The Trainer's word for a model that accelerate is neither to wrap nor to divide.
        self.is_distributed_loading_by_transformers = True

    def create_optimizer(self, model: Any = None) -> Optimizer:
        """Make the optimizer, once, and its schedule with it, of what is divided by then."""
        if self.optimizer is None:
            if self._is_sharded:
                divide_model(self.model)
            self.optimizer, self.lr_scheduler = self._make_optimizer(model or self.model)
        made: Optimizer = self.optimizer
        return made

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Take one step; remember which rows it saw, and stop where the loss has no value."""
        rows = inputs.pop("row_ids")
        self._rows_of_step += rows
        if self._features is not None:
            encode = underlying_model(self.model).get_tower_features
            with self.accelerator.autocast(), torch.no_grad():
                inputs = self._features.complete(inputs, encode)
        if self.compute_loss_func is not None:
            inputs, labels = set_answers_apart(self.model, inputs)
            inputs["labels"] = labels  # which the Trainer hands to that function as they are
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._check("loss", loss.item(), rows)
        shared: torch.Tensor = self.accelerator.reduce(loss, "mean")
        return shared

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the model as it stands, and tell the callbacks; no scores tell of none."""
        with self.accelerator.autocast():  # of a 16-bit base, parts may be trained in float32
            scores = self._evaluate_now() or {}
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        if metrics:
            self.log({name: value for name, value in metrics.items() if math.isfinite(value)})
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        worst = -math.inf if self.args.greater_is_better else math.inf
        return {f"eval_{self.args.metric_for_best_model}": worst, **metrics}

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        rows, self._rows_of_step = self._rows_of_step, []
        # fp16 skips steps until its scale fits; below 1 the gradient itself has no value.
        scaler = self.accelerator.scaler
        if norm is not None and (scaler is None or scaler.get_scale() < 1):
            self._check("gradient", float(norm), rows)
        return norm

    def _check(self, name: str, value: float, rows: Sequence[str]) -> None:
        if math.isfinite(value):
            return
        more = len(rows) - MAX_NAMED_ROWS
        named = ", ".join(rows[:MAX_NAMED_ROWS]) + (f" and {more} more" if more > 0 else "")
        raise TrainError(
            f"The {name} became {value} in step {self.state.global_step + 1}, in the batch of rows "
            f"{named}. Nothing of this step was kept. Look at these rows, or lower learning_rate, "
            "or choose --precision fp32; the last checkpoint is whole."
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Give batches by samples, as the Trainer makes them, or by tokens."""
        if self.batch_tokens is None:
            loader: DataLoader[Any] = super().get_train_dataloader()
        else:
            self._order = TokenBatches(self._lengths, self.batch_tokens, self.args.seed)
            by_tokens = DataLoader(
                self.train_dataset,
                batch_sampler=self._order,
                collate_fn=self.data_collator,
                num_workers=self.args.dataloader_num_workers,
                pin_memory=self.args.dataloader_pin_memory,
            )
            loader = self.accelerator.prepare(by_tokens)
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[Any]:
        count = self.args.world_size
        size = self.args.train_batch_size * count
        if count == 1:  # samples of a step are alike in length, so that pieces of a batch are, too
            size *= self.args.gradient_accumulation_steps
        self._order = LengthGroupedOrder(self._lengths, size, self.args.seed, count)
        return self._order

    def _run_epoch(self, *, epoch: int, **rest: Any) -> None:
        """Run one pass in its own order; accelerate cannot tell where batches are skipped."""
        self._order.set_epoch(epoch)
        super()._run_epoch(epoch=epoch, **rest)

    def _get_output_dir(self, trial: Any) -> str:
        """Give the folder in which checkpoints are written, before they are put in their place."""
        return str(Path(self.args.output_dir) / checkpoints.UNFINISHED)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint aside and put it in its place; what cannot be ended is removed.

        Raises:
            TrainError: the disk is full, or cannot be written for another reason.
        """
        folder = Path(self.args.output_dir)
        written = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"

        def put_in_place() -> None:
            self.state.save_to_json(str(written / checkpoints.TRAINER_STATE))
            checkpoints.place_checkpoint(written, folder)
            checkpoints.drop_all_but(
                folder, self.args.save_total_limit, self.state.best_global_step
            )

        try:
            super()._save_checkpoint(model, trial)
            processes.gather(None)  # each has written its random state
            self.state.best_model_checkpoint = None  # it is known by its step, and has moved
            processes.on_main(put_in_place)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch tells a full disk so
            if processes.is_loss_of_another(error):
                raise
            shutil.rmtree(written, ignore_errors=True)
            free = shutil.disk_usage(folder).free / 2**20
            raise TrainError(
                f"The checkpoint of step {self.state.global_step} cannot be written to "
                f"{str(folder)!r}, where {free:,.0f} MiB are free ({error}). The checkpoint before "
                "it is whole: free some room, and the same command goes on from there."
            ) from error

    def _save(
        self, output_dir: str | None = None, state_dict: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Save what makes a model folder, and not the arguments, which the Trainer would pickle."""
        if self._is_sharded:
            state_dict = gather_weights(self.model)
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        has_adapters = hasattr(self.model, "peft_config")
        extra = {"save_embedding_layers": False} if has_adapters else {}
        with without_progress_bars():
            self.model.save_pretrained(folder, state_dict=state_dict, **extra)
        if has_adapters:
            add_full_parameters(self.model, folder, state_dict)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card
        self._predictor.processor.save_pretrained(folder)
        self._predictor.task.save(folder / "task.yaml")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self._is_sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        save_optimizer(self.model, self.optimizer.optimizer, Path(output_dir) / OPTIMIZER_FILE)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self._is_sharded:
            super()._load_optimizer_and_scheduler(checkpoint)
        elif checkpoint is not None:
            load_optimizer(self.model, self.optimizer.optimizer, Path(checkpoint) / OPTIMIZER_FILE)
            schedule = torch.load(Path(checkpoint) / SCHEDULER_FILE, weights_only=True)
            self.lr_scheduler.load_state_dict(schedule)

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        return without_reduction(self.model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load weights as transformers does, which knows how names on disk and inside differ."""
        if hasattr(self.model, "peft_config"):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        with without_progress_bars():
            saved = type(self.model).from_pretrained(
                resume_from_checkpoint, dtype=next(self.model.parameters()).dtype
            )
        self.model.load_state_dict(saved.state_dict())
