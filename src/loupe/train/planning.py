"""Plan a run without starting it: build it without weights, estimate, and try it where it fits."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from loupe import vlm
from loupe.build.dataset import Dataset
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.train.adapters import choose_trained
from loupe.train.load import Load, count_picture_bytes, count_picture_tokens, find_load
from loupe.train.material import Material, gather_material
from loupe.train.memory import Memory, estimate_memory
from loupe.train.outlook import Change, Outlook, suggest_changes
from loupe.train.plan import make_plan
from loupe.train.requirements import check_requirements
from loupe.train.run import choose_precision
from loupe.train.stage import choose_weight_type, load_to_train
from loupe.train.trial import Trial, available_memory, held_memory, try_run, watch_memory

__all__ = ["expect_memory", "plan_training"]

# Libraries at their first use, and gaps in the heap: by benchmarks/train_plan.py.
LOADED_LATER = 104 * 2**20


def plan_training(options: TrainOptions) -> Outlook:
    """Tell what a run would do and need; nothing is written.

    Raises:
        TrainError: the run could not start.
        DatasetError: the dataset folder is missing or unfinished.
        CheckpointError: no model can be loaded.
        MissingExtraError: accelerate, peft or bitsandbytes is not installed.
    """
    dataset = Dataset.open(options.dataset, most_pictures=options.pictures)
    check_requirements(options)
    device = vlm.choose_device("auto")
    predictor = load_to_train(options, dataset, has_weights=False)
    with torch.device("meta"):
        predictor.model, targets = choose_trained(predictor.model, options, options.model)
    material = gather_material(dataset, predictor, options)
    rows = dataset.rows("train")
    load = find_load(material, rows, predictor, options)
    standing = _weigh_standing(dataset, predictor, model_bytes=0)

    def estimate(changed: TrainOptions, load: Load) -> Memory:
        return replace(_estimate(changed, load), **standing)

    memory = estimate(options, load)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    plan = make_plan(predictor.model, targets, material, options, memory, processes)
    tokens = count_picture_tokens(rows, predictor.processor)
    available = available_memory(device) + memory.process
    changes: tuple[Change, ...] = ()
    trial = None
    if memory.peak <= available:
        trial = _try(options, dataset, material, device)
    else:
        crops = getattr(predictor.processor.image_processor, "num_crops", 1)
        found = suggest_changes(options, load, tokens, crops, available, estimate)
        can_pack = device.startswith("cuda")
        changes = tuple(one for one in found if can_pack or one.options.get("method") != "qlora")
    return Outlook(plan, options, tokens, available, trial, changes)


def expect_memory(
    options: TrainOptions,
    dataset: Dataset,
    predictor: Predictor,
    material: Material,
    loaded_bytes: int,
) -> Memory:
    """Expect a run's memory from its rows; `loaded_bytes` came in with the predictor's model."""
    load = find_load(material, dataset.rows("train"), predictor, options)
    memory = _estimate(options, load)
    # Weights are mapped from their file, and resident in part; with them came libraries.
    resident = min(loaded_bytes, memory.weights)
    return replace(memory, **_weigh_standing(dataset, predictor, resident))


def _estimate(options: TrainOptions, load: Load) -> Memory:
    """Estimate a run on a model without weights: packed or sharded ones cannot be counted on."""
    device = vlm.choose_device("auto")
    model = vlm.build_without_weights(options.model, choose_weight_type(options))
    with torch.device("meta"):
        model, _ = choose_trained(model, options, options.model)
    precision = choose_precision(options.precision, device)
    return estimate_memory(model, load, options, precision=precision, device=device)


def _weigh_standing(dataset: Dataset, predictor: Predictor, model_bytes: int) -> dict[str, int]:
    """Weigh what stands beside the model where it is on the CPU: pictures, and the process."""
    if vlm.choose_device("auto") != "cpu":
        return {}
    splits = [dataset.rows(name) for name in ("train", "validation")]
    pictures = sum(
        split.kept_bytes + count_picture_bytes(split, predictor.processor) for split in splits
    )
    return {"pictures": pictures, "process": held_memory() - model_bytes + LOADED_LATER}


def _try(options: TrainOptions, dataset: Dataset, material: Material, device: str) -> Trial:
    with watch_memory(device) as seen:
        predictor = load_to_train(options, dataset)
        predictor.model, _ = choose_trained(predictor.model, options, options.model)
        step, answering = try_run(predictor, material, options)
    return Trial(step, answering, seen.peak)
