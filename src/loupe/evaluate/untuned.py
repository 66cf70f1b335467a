"""The model before its fine-tuning: what it says of the same pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import EvaluateError
from loupe.evaluate.systems import System

if TYPE_CHECKING:
    from loupe.evaluate.rows import Rows
    from loupe.options import EvaluateOptions
    from loupe.task import Answer, Task

__all__ = ["answer_untuned", "find_untuned", "read_training_record"]

TRAINING_RECORD = "training.json"
ADAPTER = "adapter_config.json"


def read_training_record(model: str) -> dict[str, Any]:
    """Give the record of the run that made a model folder; empty where there is none."""
    return _read_json(Path(model) / TRAINING_RECORD)


def find_untuned(options: EvaluateOptions) -> str | None:
    """Name the checkpoint that the model was made from, as far as it is asked for.

    Raises:
        EvaluateError: neither the model's record nor its adapter tells.
    """
    if not options.untuned:
        return None
    adapter = _read_json(Path(options.model) / ADAPTER).get("base_model_name_or_path")
    base = read_training_record(options.model).get("base") or adapter
    if base and Path(base).is_absolute() and not Path(base).is_dir():
        raise EvaluateError(
            f"untuned needs {base!r}, which {options.model!r} was made from, and it is not there. "
            "Put it back, or leave untuned out."
        )
    if not base:
        raise EvaluateError(
            f"untuned needs the checkpoint that {options.model!r} was made from, and neither "
            f"{TRAINING_RECORD} nor {ADAPTER} in its folder tells. Evaluate that checkpoint into "
            "another folder and use `loupe compare`, or leave untuned out."
        )
    return str(base)


def answer_untuned(
    base: str, task: Task, rows: Rows, options: EvaluateOptions, max_new_tokens: int
) -> System:
    """Load the checkpoint, ask it about the rows' pictures by this task, and put it on the ladder.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    from loupe.predict import Predictor

    predictor = Predictor.load(base, task=task, device=options.device, threads=options.threads)
    answers: list[Answer] = []
    for start in range(0, len(rows), options.batch_size):
        numbers = rows.numbers[start : start + options.batch_size]
        answers += predictor.predict(
            [rows.split.pictures(number) for number in numbers],
            batch_size=options.batch_size,
            max_new_tokens=max_new_tokens,
            decoding=options.decoding,
            price=options.price,
        )
    name = Path(base).name if Path(base).is_dir() else base
    label = f"before fine-tuning: {name}"
    return System("untuned", label, "baseline", answers, tuple(task.fields))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
