"""What is told of a run: to trackers, in the record of its folder, and in the model's card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from loupe.build.dataset import Dataset
from loupe.card import CardFacts, write_card
from loupe.options import PreferOptions, TrainOptions
from loupe.predict import Predictor
from loupe.tracking import RunDescription
from loupe.train import checkpoints
from loupe.train.run import Outcome
from loupe.vlm import make_dialogue

__all__ = ["TOLD_OF_MODEL", "base_name", "describe_run", "record_outcome", "write_model_card"]

TOLD_OF_MODEL = (
    "base",
    "method",
    "best_metric",
    "best_step",
    "best_score",
    "dataset_fingerprint",
)


def describe_run(
    job_type: str, options: TrainOptions | PreferOptions, dataset: Dataset
) -> RunDescription:
    """Tell trackers of a run, and from which step it goes on."""
    folder = Path(options.output)
    return RunDescription(
        job_type=job_type,
        project=options.project,
        name=options.run_name,
        folder=folder,
        options=asdict(options),
        dataset={name: dataset.info.get(name) for name in ("fingerprint", "counts", "task")},
        dataset_folder=dataset.path,
        resumed_step=checkpoints.find_resumed_step(folder),
    )


def record_outcome(outcome: Outcome, options: TrainOptions) -> dict[str, Any]:
    """Give what the record of every finished run holds."""
    return {
        "format": 1,
        "base": base_name(options.model),
        "method": options.method,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 1),
        **{name: round(value, 4) for name, value in outcome.times.items()},
        "best_metric": options.best_metric,
        "best_step": outcome.best_step,
        "best_score": outcome.best_score,
    }


def write_model_card(
    folder: Path,
    outcome: Outcome,
    predictor: Predictor,
    dataset: Dataset,
    options: TrainOptions | PreferOptions,
) -> None:
    """Write the card of a finished run; what is said of the model is that of the outcome's step."""
    model = predictor.model
    adapters = getattr(model, "peft_config", {})
    facts = CardFacts(
        options=options,
        base=adapters["default"].base_model_name_or_path if adapters else base_name(options.model),
        task=predictor.task,
        prompt=make_dialogue(predictor.processor, predictor.task.question).prompt,
        end_ids=model.generation_config.eos_token_id,
        is_phi3_v=model.config.model_type == "phi3_v",
        dataset=dataset.info,
        scores=outcome.best_scores,
        best_step=outcome.best_step,
    )
    write_card(folder, facts)


def base_name(model: str) -> str:
    """Give the name under which a model is found again from elsewhere."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.is_dir() else model
