"""transformers' Trainer, told how to order, check, evaluate and save our runs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Dataset, Sampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from loupe.errors import TrainError
from loupe.train.adapters import add_full_parameters
from loupe.train.batches import Collator, LengthGroupedOrder
from loupe.train.examples import Sample
from loupe.train.soft_labels import SoftLabels
from loupe.vlm import without_progress_bars

__all__ = ["AnswerTrainer", "Scores"]

Scores = dict[str, float]
MAX_NAMED_ROWS = 20


class AnswerTrainer(Trainer):  # type: ignore[misc]  # untyped in transformers
    """A Trainer whose evaluation is a function of ours, and that stops at a loss without a value.

    Args:
        args: its `output_dir` is the folder of checkpoints.
        train_dataset: samples by (place, epoch), with `lengths`.
        evaluate_now: gives the scores of the model as it stands; `loss` is among them.
        soft_labels: what counts in the loss of training, and by how much; None scores the labels
            as they are.
        **kwargs: the Trainer's.
    """

    def __init__(
        self,
        args: TrainingArguments,
        processor: Any,
        train_dataset: Dataset[Sample],
        evaluate_now: Callable[[], Scores],
        soft_labels: SoftLabels | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("data_collator", Collator(processor, soft_labels))
        super().__init__(args=args, train_dataset=train_dataset, **kwargs)
        self.remove_callback(PrinterCallback)  # it prints to stdout
        self._processor = processor
        self._evaluate_now = evaluate_now
        self._rows_of_step: list[str] = []

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Take one step; remember which rows it saw, and stop where the loss has no value."""
        rows = inputs.pop("row_ids")
        self._rows_of_step += rows
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._check("loss", loss.item(), rows)
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the model as it stands, and tell the callbacks."""
        with self.accelerator.autocast():  # of a 16-bit base, parts may be trained in float32
            scores = self._evaluate_now()
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log({name: value for name, value in metrics.items() if math.isfinite(value)})
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
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

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[Any]:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        size = self.args.train_batch_size * self.args.world_size
        return LengthGroupedOrder(dataset.lengths, size, self.args.seed)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint; one that cannot be written to its end is removed.

        Raises:
            TrainError: the disk is full, or cannot be written for another reason.
        """
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch tells a full disk so
            folder = Path(self.args.output_dir)
            shutil.rmtree(folder / f"checkpoint-{self.state.global_step}", ignore_errors=True)
            free = shutil.disk_usage(folder).free / 2**20
            raise TrainError(
                f"The checkpoint of step {self.state.global_step} cannot be written to "
                f"{str(folder)!r}, where {free:,.0f} MiB are free ({error}). The checkpoint before "
                "it is whole: free some room, and the same command goes on from there."
            ) from error

    def _save(
        self, output_dir: str | None = None, state_dict: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Save model and processor, and not the arguments, which the Trainer would pickle."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        has_adapters = hasattr(self.model, "peft_config")
        extra = {"save_embedding_layers": False} if has_adapters else {}
        with without_progress_bars():
            self.model.save_pretrained(folder, state_dict=state_dict, **extra)
        if has_adapters:
            add_full_parameters(self.model, folder)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card
        self._processor.save_pretrained(folder)

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
