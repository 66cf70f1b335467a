"""TRL's DPOTrainer, given pairs that are token ids already, and our runs' habits.

DPO: arXiv:2305.18290. TRL 1.16 takes the model, the batches of a collator and the optimizer as they
are. It cannot precompute the reference's log probabilities of rows with an `image` column ("not
supported for vision datasets"), and it would tokenize rows without one by the processor, which
refuses a prompt that names a picture and comes without. So it is handed a table of places, which it
has nothing to prepare of; ids and pictures come from the collator.
"""

from __future__ import annotations

from typing import Any

import datasets
import torch
from trl import DPOConfig, DPOTrainer

from loupe.predict import Predictor
from loupe.prefer.pairs import REFERENCE, PairCollator, PairSet
from loupe.train.trainer import AnswerTrainer
from loupe.vlm import without_peft_warning

__all__ = ["PreferenceTrainer"]

REFERENCE_ADAPTER = "ref"  # as TRL names its copy


class PreferenceTrainer(AnswerTrainer, DPOTrainer):  # type: ignore[misc]  # untyped in TRL
    """A DPOTrainer whose evaluation, order of samples, checks and checkpoints are ours.

    The reference is the model as it is handed in: its log probabilities are computed before the
    first step, so no second model is kept.

    Args:
        args: with `precompute_ref_log_probs`.
        predictor: the model to tune, with its processor and task.
        pairs: what is learnt from.
        **settings: as an AnswerTrainer's; labels are not softened here.
    """

    train_dataset: Any
    compute_loss_func: Any

    def __init__(
        self, args: DPOConfig, predictor: Predictor, pairs: PairSet, **settings: Any
    ) -> None:
        trained = [value for value in predictor.model.parameters() if value.requires_grad]
        with without_peft_warning():  # TRL reads the same property
            super().__init__(args, predictor, pairs, **settings)
        self.compute_loss_func = None  # of whatever family, the loss is TRL's
        self.train_dataset = _DrawnRows(self.train_dataset)
        if REFERENCE_ADAPTER in getattr(self.model, "peft_config", {}):
            # TRL's copy of the adapter has done its work; adding it froze all but adapters.
            self.model.delete_adapter(REFERENCE_ADAPTER)
            self.model.requires_grad_(False)
            for value in trained:
                value.requires_grad_(True)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Leave the card to the stage."""

    def _material(self, predictor: Predictor, train_dataset: PairSet, _: Any) -> dict[str, Any]:
        places = range(len(train_dataset))
        return {
            "train_dataset": datasets.Dataset.from_dict({"pair": places}),
            "data_collator": PairCollator(predictor.processor, train_dataset),
            "processing_class": predictor.processor,
        }

    def _prepare_dataset(self, dataset: datasets.Dataset, *_: Any) -> datasets.Dataset:
        return dataset

    def _precompute_ref_logps(
        self, dataset: datasets.Dataset, _: str, batch_size: int
    ) -> datasets.Dataset:
        """Do it in memory; TRL's own writes a cache file and bars for whoever has no terminal."""
        batches = torch.utils.data.DataLoader(dataset, batch_size, collate_fn=self.data_collator)
        found = [
            torch.stack(self.compute_ref_log_probs(self.model, self._prepare_inputs(batch)))
            for batch in batches  # each (2, pairs)
        ]
        for name, values in zip(REFERENCE, torch.cat(found, dim=1).tolist(), strict=True):
            dataset = dataset.add_column(name, values)
        return dataset

    def _send_telemetry(self) -> None:
        """Tell nobody of the run."""


class _DrawnRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows of a table by (place, epoch), as our order draws them."""

    def __init__(self, table: datasets.Dataset) -> None:
        self._rows: list[dict[str, Any]] = table.to_list()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        return self._rows[draw[0]]
