"""The train stage from end to end: load, encode, tell, train, keep the best."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import TrainError
from loupe.options import TrainOptions, save_options

if TYPE_CHECKING:
    from loupe.build.dataset import Dataset
    from loupe.predict import Predictor
    from loupe.tracking import Tracker
    from loupe.train.outlook import Outlook
    from loupe.train.plan import Plan
    from loupe.train.run import Outcome

__all__ = [
    "TrainResult",
    "check_resumable",
    "choose_weight_type",
    "load_to_train",
    "tell_time",
    "train_model",
    "train_or_plan",
]

logger = logging.getLogger(__name__)

NAMED_LEFT_OUT = 100
WEIGHT_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class TrainResult:
    """What a run wrote."""

    output: str
    dataset: str
    record: dict[str, Any]
    """The content of training.json."""
    was_finished: bool
    """The folder held this finished run already; nothing was done."""
    differing: tuple[str, ...] = ()
    """Options that are other than those of the finished run."""

    def summary(self) -> str:
        """Tell a person what came out, and what to run next."""
        record, metric = self.record, self.record["best_metric"]
        score = record["best_score"]
        told = "" if score is None else f"; best {metric} {score:.3f} at step {record['best_step']}"
        lines = [f"Trained {record['steps']:,} steps in {tell_time(record['seconds'])}{told}."]
        if "step_seconds" in record:
            share = record["data_wait_seconds"] / record["step_seconds"]
            lines.append(
                f"A step took {record['step_seconds']:.3g} s, of which {share:.1%} waited for data."
            )
        if self.was_finished:
            lines.insert(0, f"{self.output} holds a finished run; nothing was done.")
            if self.differing:
                lines.append(
                    f"It was made with other values of {', '.join(self.differing)}; choose another "
                    "output, or --overwrite it."
                )
        verb = "Found" if self.was_finished else "Wrote"
        lines.append(
            f"{verb} the model in {self.output}. Next: `loupe evaluate --model {self.output} "
            f"--dataset {self.dataset} --output evaluation`"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {"output": self.output, "was_finished": self.was_finished, **self.record}


def train_or_plan(options: TrainOptions) -> TrainResult | Outlook:
    """Do what `loupe train` does: train, or with `plan` tell what that would take."""
    if not options.plan:
        return train_model(options)
    from loupe.train.planning import plan_training

    return plan_training(options)


def train_model(options: TrainOptions) -> TrainResult:
    """Fine-tune a model on a dataset; resume an unfinished run, leave a finished one alone.

    Raises:
        TrainError: the run cannot start or cannot go on.
        DatasetError: the dataset folder is missing or unfinished.
        CheckpointError: no model can be loaded.
        MissingExtraError: accelerate, peft, bitsandbytes or a tracker is not installed.
    """
    from loupe.train import processes
    from loupe.vlm import choose_device

    with processes.together(choose_device("auto")):
        finished = processes.on_main(lambda: _find_finished(options))
        return finished or _start(options)


def _find_finished(options: TrainOptions) -> TrainResult | None:
    from loupe.train import checkpoints

    folder = Path(options.output)
    finished = checkpoints.read_record(folder / checkpoints.FINISHED)
    if finished is None or options.overwrite:
        return None
    differing = tuple(checkpoints.differing_options(folder, asdict(options)))
    return TrainResult(
        options.output, options.dataset, finished, was_finished=True, differing=differing
    )


def _start(options: TrainOptions) -> TrainResult:
    from loupe.build.dataset import Dataset
    from loupe.tracking import Trackers, open_trackers
    from loupe.train import checkpoints, processes
    from loupe.train.material import check_best_metric_of
    from loupe.train.requirements import check_requirements

    folder = Path(options.output)
    dataset = Dataset.open(options.dataset, most_pictures=options.pictures)
    check_requirements(options)
    check_best_metric_of(dataset, options)
    tracker = open_trackers(options.tracker) if processes.is_main() else Trackers([])

    def prepare() -> None:
        differing = tuple(checkpoints.differing_options(folder, asdict(options)))
        checkpoints.prepare_output(folder, overwrite=options.overwrite)
        check_resumable(folder, differing, dataset, options)
        save_options(options, folder)

    processes.on_main(prepare)
    record = _train(options, dataset, folder, tracker)
    return TrainResult(options.output, options.dataset, record, was_finished=False)


def _train(
    options: TrainOptions, dataset: Dataset, folder: Path, tracker: Tracker
) -> dict[str, Any]:
    import torch

    from loupe.train import checkpoints, processes
    from loupe.train.adapters import choose_trained
    from loupe.train.features import keep_features
    from loupe.train.material import gather_material
    from loupe.train.plan import make_plan
    from loupe.train.planning import expect_memory
    from loupe.train.records import TOLD_OF_MODEL, base_name, describe_run
    from loupe.train.run import train_on
    from loupe.train.trial import held_memory

    held = held_memory()
    predictor = load_to_train(options, dataset)
    loaded = held_memory() - held
    predictor.model, targets = choose_trained(predictor.model, options, base_name(options.model))
    material = gather_material(dataset, predictor, options)
    memory = expect_memory(options, dataset, predictor, material, loaded)
    plan = make_plan(predictor.model, targets, material, options, memory, processes.count())
    train, features = keep_features(
        predictor,
        dataset.rows("train"),
        material.train,
        options,
        getattr(torch, _arithmetic(options)),
        repeats=plan.passes > 1,
    )
    for line in [*plan.describe(options), features]:
        logger.info(line)
    if processes.count() > 1:
        logger.info("In %s processes, each with batches of its own", processes.count())
    left_out = [asdict(each) for each in material.left_out[:NAMED_LEFT_OUT]]
    fingerprint = dataset.info["fingerprint"]
    told = {
        "dataset_fingerprint": fingerprint,
        "processes": processes.count(),
        **plan.to_dict(),
        "features": features,
        "left_out_rows": left_out,
    }
    processes.on_main(lambda: checkpoints.write_record(folder / checkpoints.PLAN, told))
    tracker.start(describe_run("train", options, dataset))
    has_failed = True
    try:
        outcome = train_on(predictor, train, material.validation, options, tracker, plan.steps)
        record = processes.on_main(
            lambda: _finish(folder, outcome, plan, predictor, dataset, options)
        )
        facts = {name: record[name] for name in TOLD_OF_MODEL}
        tracker.model(folder, facts, ["best", "latest"])
        has_failed = False
    finally:
        tracker.finish(has_failed=has_failed)
    return record


def _finish(
    folder: Path,
    outcome: Outcome,
    plan: Plan,
    predictor: Predictor,
    dataset: Dataset,
    options: TrainOptions,
) -> dict[str, Any]:
    """Copy the best model out of its checkpoint and write the record, last."""
    from loupe.train import checkpoints
    from loupe.train.features import FEATURES
    from loupe.train.records import record_outcome, write_model_card

    checkpoints.copy_model_files(outcome.checkpoint, folder)
    write_model_card(folder, outcome, predictor, dataset, options)
    record = {
        **record_outcome(outcome, options),
        "parts": {part: list(counts) for part, counts in plan.parts.items()},
        "train_rows": plan.train_rows,
        "train_share": options.train_share,
        "left_out": plan.left_out,
        "dataset_fingerprint": dataset.info["fingerprint"],
    }
    if options.pictures is not None:
        record["pictures"] = options.pictures
    if options.feature_folder is None:
        shutil.rmtree(folder / FEATURES, ignore_errors=True)
    checkpoints.write_record(folder / checkpoints.FINISHED, record)
    return record


def load_to_train(
    options: TrainOptions, dataset: Dataset, *, has_weights: bool = True
) -> Predictor:
    """Load the model to train, in the precision of its weights while training.

    Without weights it is built on the meta device, to plan with.

    Raises:
        TrainError: an option asks for what the model cannot do.
        CheckpointError: no model can be loaded.
    """
    import torch
    from transformers import BitsAndBytesConfig

    from loupe.predict import Predictor
    from loupe.train.adapters import four_bit_settings
    from loupe.vlm import (
        build_without_weights,
        check_pictures,
        choose_device,
        load_model_and_processor,
        load_processor,
        make_dialogue,
        stop_generation_at,
    )

    if (most_pictures := dataset.count_pictures()) > 1:
        check_pictures(load_processor(options.model), dataset.task.question, most_pictures)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)  # weights of new adapters
    device = choose_device("auto")
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun sets it; 4 bits stay there
    kept = choose_weight_type(options)
    if has_weights:
        model, processor = load_model_and_processor(
            options.model,
            dtype=kept,
            device=device,
            quantization=BitsAndBytesConfig(**four_bit_settings(kept))
            if options.method == "qlora"
            else None,
        )
    else:
        processor = load_processor(options.model)
        model = build_without_weights(options.model, kept)
    if options.num_crops is not None:
        if not hasattr(processor.image_processor, "num_crops"):
            raise TrainError(
                f"num_crops is for Phi-3-Vision; {options.model!r} has no HD crops. Drop num_crops."
            )
        processor.image_processor.num_crops = options.num_crops
    has_price = any(field.type == "price" for field in dataset.task.fields.values())
    if options.price_spread and not (has_price and processor.tokenizer.is_fast):
        lack = "the tokenizer cannot tell its places" if has_price else "the task has no price"
        raise TrainError(f"price_spread {options.price_spread}: {lack}. Drop price_spread.")
    stop_generation_at(model, make_dialogue(processor, dataset.task.question))
    return Predictor(model, processor, dataset.task)


def choose_weight_type(options: TrainOptions) -> str:
    """Name the dtype of the weights while training.

    What is trained is in float32; what stays as it is beneath adapters need not be.
    """
    return "float32" if options.method == "full" else _arithmetic(options)


def _arithmetic(options: TrainOptions) -> str:
    """Name the dtype in which a run computes."""
    from loupe.train.run import choose_precision
    from loupe.vlm import choose_device

    return WEIGHT_TYPES[choose_precision(options.precision, choose_device("auto"))]


def check_resumable(
    folder: Path, differing: tuple[str, ...], dataset: Dataset, options: TrainOptions
) -> None:
    """Refuse to go on with a run that was begun otherwise: its options, dataset or processes.

    Raises:
        TrainError: the message names what differs.
    """
    from loupe.train import checkpoints, processes

    if options.overwrite or checkpoints.find_last_checkpoint(folder) is None:
        return
    if differing:
        raise TrainError(
            f"output {options.output!r} holds an unfinished run with other values of "
            f"{', '.join(differing)}. Give the same to go on with it, choose another output, or "
            "--overwrite it."
        )
    plan = checkpoints.read_record(folder / checkpoints.PLAN) or {}
    if plan.get("dataset_fingerprint") != dataset.info["fingerprint"]:
        raise TrainError(
            f"output {options.output!r} holds an unfinished run on another state of dataset "
            f"{options.dataset!r}. Choose another output, or --overwrite it."
        )
    if plan.get("processes") != processes.count():
        raise TrainError(
            f"output {options.output!r} holds an unfinished run of {plan.get('processes')} "
            f"processes, and there are {processes.count()} now, which would see other batches. "
            "Start as many, choose another output, or --overwrite it."
        )


def tell_time(seconds: float) -> str:
    """Write a duration as people say it."""
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"
