"""The prefer stage from end to end: draw answers, rank them, tune, tell whether it helped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import MissingExtraError, PreferError
from loupe.options import PreferOptions, TrainOptions, save_options

if TYPE_CHECKING:
    from loupe.build.dataset import Dataset
    from loupe.predict import Predictor
    from loupe.task import Task
    from loupe.tracking import Tracker
    from loupe.train.run import Outcome

__all__ = ["PreferResult", "prefer_answers"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreferResult:
    """What a run wrote."""

    options: PreferOptions
    record: dict[str, Any]
    """The content of training.json."""
    was_finished: bool
    """The folder held this finished run already; nothing was done."""
    differing: tuple[str, ...] = ()
    """Options that are other than those of the finished run."""

    def summary(self) -> str:
        """Tell a person what came out, whether it helped, and what to run next."""
        from loupe.prefer.ranking import tell_pairs
        from loupe.train.stage import tell_time

        record, output = self.record, self.options.output
        lines = [
            tell_pairs(record["preferences"]),
            f"Tuned {record['steps']:,} steps in {tell_time(record['seconds'])}. "
            + tell_change(record["best_metric"], record["before"], record["best_score"]),
        ]
        if self.was_finished:
            lines.insert(0, f"{output} holds a finished run; nothing was done.")
            if self.differing:
                lines.append(
                    f"It was made with other values of {', '.join(self.differing)}; choose another "
                    "output, or --overwrite it."
                )
        lines.append(
            f"{'Found' if self.was_finished else 'Wrote'} the model in {output}. Next: `loupe "
            f"evaluate --model {output} --dataset {self.options.dataset} --output evaluation`"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {"output": self.options.output, "was_finished": self.was_finished, **self.record}


def prefer_answers(options: PreferOptions) -> PreferResult:
    """Tune a model by its own ranked answers; resume an unfinished run, leave a finished one alone.

    Raises:
        PreferError: no row gives a pair, or the options do not fit the model or the dataset.
        TrainError: the run cannot start or cannot go on.
        DatasetError: the dataset folder is missing or unfinished.
        CheckpointError: no model can be loaded.
        MissingExtraError: TRL, peft or a tracker is not installed.
    """
    from loupe.build.dataset import Dataset
    from loupe.tracking import open_trackers
    from loupe.train import checkpoints
    from loupe.train.material import check_best_metric_of
    from loupe.train.requirements import check_requirements
    from loupe.train.stage import check_resumable

    folder = Path(options.output)
    differing = tuple(checkpoints.differing_options(folder, asdict(options)))
    finished = checkpoints.read_record(folder / checkpoints.FINISHED)
    if finished is not None and "preferences" not in finished:
        raise PreferError(
            f"output {options.output!r} holds a run of `loupe train`, which would be lost. Name "
            "another folder."
        )
    if finished is not None and not options.overwrite:
        return PreferResult(options, finished, was_finished=True, differing=differing)
    dataset = Dataset.open(options.dataset, most_pictures=options.pictures)
    settings = _settle(options, dataset)
    if find_spec("trl") is None:
        raise MissingExtraError("Preference tuning", "TRL", "prefer")
    check_requirements(settings)
    check_best_metric_of(dataset, settings)
    tracker = open_trackers(options.tracker)
    checkpoints.prepare_output(folder, overwrite=options.overwrite)
    check_resumable(folder, differing, dataset, settings)
    save_options(options, folder)
    record = _prefer(options, settings, dataset, tracker)
    return PreferResult(options, record, was_finished=False)


def tell_change(metric: str, before: Mapping[str, float], after: float | None) -> str:
    """Tell whether a score on validation rows became better."""
    from loupe.evaluate.scores import is_lower_better

    if after is None or metric not in before:
        return "No validation rows were answered, so it is not known whether it helped."
    was = before[metric]
    is_better = after < was if is_lower_better(metric) else after > was
    told = f"On validation rows {metric} was {was:.3f} before and is {after:.3f} now: "
    return told + ("better." if is_better else "it did not help; keep the model as it was.")


def _settle(options: PreferOptions, dataset: Dataset) -> TrainOptions:
    """Give the options of training, and refuse what this task or this call cannot have."""
    from loupe.evaluate.scores import headline_score, is_number
    from loupe.train import processes

    task = dataset.task
    if unknown := sorted(options.field_weights.keys() - task.fields.keys()):
        raise PreferError(
            f"field_weights names {', '.join(unknown)}; the task has {', '.join(task.fields)}."
        )
    if not any(options.field_weights.get(field, 1.0) for field in task.fields):
        raise PreferError("field_weights are all 0, so no answer is better than another.")
    if processes.count() > 1:
        raise PreferError("loupe prefer runs in one process; start it without torchrun.")
    first = next((each for each in task.fields if is_number(task, each)), next(iter(task.fields)))
    has_scores = options.evaluations and options.evaluation_rows and len(dataset.rows("validation"))
    metric = options.best_metric or (headline_score(task, first) if has_scores else "loss")
    return replace(options.train_options(), best_metric=metric)


def _prefer(
    options: PreferOptions, settings: TrainOptions, dataset: Dataset, tracker: Tracker
) -> dict[str, Any]:
    from loupe.prefer.material import encode_pairs, rank_drawn_answers
    from loupe.prefer.tuned import choose_tuned
    from loupe.train import checkpoints, processes
    from loupe.train.examples import Encoder
    from loupe.train.material import gather_validation
    from loupe.train.plan import count_steps
    from loupe.train.records import TOLD_OF_MODEL, base_name, describe_run
    from loupe.train.run import train_on
    from loupe.train.stage import load_to_train
    from loupe.vlm import count_parameters_by_part

    folder = Path(options.output)
    predictor = load_to_train(settings, dataset)
    _check_task(options, dataset.task)
    _check_family(predictor.model, dataset.count_pictures())
    split = dataset.rows("train")
    ranked = rank_drawn_answers(predictor, split, dataset, options)
    encoder = Encoder(predictor.processor, predictor.task)
    pairs = encode_pairs(ranked, split, encoder, predictor, options)
    validation = gather_validation(dataset, predictor, encoder, settings)
    plan = checkpoints.read_record(folder / checkpoints.PLAN) or {}
    if checkpoints.find_resumed_step(folder) is None:
        scored = validation.score() if validation else None
        plan = {
            "dataset_fingerprint": dataset.info["fingerprint"],
            "processes": processes.count(),
            "preferences": ranked.to_dict(),
            "before": scored[0] if scored else {},
        }
        checkpoints.write_record(folder / checkpoints.PLAN, plan)
    predictor.model = choose_tuned(predictor.model, settings, base_name(options.model))
    parts = count_parameters_by_part(predictor.model)
    steps = count_steps(pairs.lengths, settings)
    logger.info(
        "Training %s of %s parameters for up to %s steps of %s pairs",
        *(f"{sum(counts):,}" for counts in zip(*parts.values(), strict=True)),
        f"{steps:,}",
        options.batch_size * options.gradient_accumulation,
    )
    tracker.start(describe_run("prefer", options, dataset))
    has_failed = True
    try:
        outcome = train_on(predictor, pairs, validation, settings, tracker, steps)
        facts = {"parts": {part: list(counts) for part, counts in parts.items()}, **plan}
        record = _finish(options, settings, outcome, predictor, dataset, facts)
        tracker.model(folder, {name: record[name] for name in TOLD_OF_MODEL}, ["best", "latest"])
        has_failed = False
    finally:
        tracker.finish(has_failed=has_failed)
    return record


def _check_task(options: PreferOptions, task: Task) -> None:
    """Refuse a model that was trained to answer something else."""
    from loupe.predict import task_beside

    if not (Path(options.model) / "task.yaml").is_file():
        return
    models = task_beside(options.model)
    if (models.question, models.answer) != (task.question, task.answer):
        raise PreferError(
            f"Model {options.model!r} was trained to answer {models.question!r} by "
            f"{models.answer!r}, and dataset {options.dataset!r} asks {task.question!r} and wants "
            f"{task.answer!r}. Name the dataset that the model was trained on."
        )


def _check_family(model: Any, most_pictures: int) -> None:
    """Refuse several pictures of a row where transformers would mix them up among drawn answers.

    It repeats the inputs of other families picture by picture, not row by row.
    """
    from loupe.vlm import underlying_model

    kind = underlying_model(model).config.model_type
    if most_pictures > 1 and kind != "phi3_v":
        raise PreferError(
            f"Rows have up to {most_pictures} pictures, and answers about several can be drawn by "
            f"Phi-3-Vision alone, not by model type {kind}. Show one of each row: --pictures 1."
        )


def _finish(
    options: PreferOptions,
    settings: TrainOptions,
    outcome: Outcome,
    predictor: Predictor,
    dataset: Dataset,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Copy the best model out of its checkpoint and write the record, last."""
    from loupe.train import checkpoints
    from loupe.train.records import record_outcome, write_model_card

    folder = Path(options.output)
    checkpoints.copy_model_files(outcome.checkpoint, folder)
    told = replace(options, best_metric=settings.best_metric)
    write_model_card(folder, outcome, predictor, dataset, told)
    record = {**record_outcome(outcome, settings), **facts}
    checkpoints.write_record(folder / checkpoints.FINISHED, record)
    return record
