"""The task by which pictures are asked, and where it differs from the one of the training."""

from __future__ import annotations

import logging
from pathlib import Path

from loupe.errors import PredictError
from loupe.predict.predictor import task_beside
from loupe.task import Task, find_differences

__all__ = ["choose_task"]

SPOILING = {"type", "currency"}

logger = logging.getLogger(__name__)


def choose_task(model: str, path: str | None) -> Task | None:
    """Read the task file to ask by, after it was compared with the one beside the model.

    What differs is told as a warning, since the model answers as it learnt to. None where no file
    is named.

    Raises:
        TaskError: the file declares no task.
        PredictError: a field would be read in another currency or as another type than was learnt.
    """
    if path is None:
        return None
    asked = Task.load(path)
    if not (Path(model) / "task.yaml").is_file():
        return asked
    differences = find_differences(task_beside(model), asked)
    spoiling = [each.text for each in differences if each.about in SPOILING]
    if spoiling:
        raise PredictError(
            f"Task file {path!r} does not fit model {model!r}: {'; '.join(spoiling)}. The model "
            "would go on to answer as it learnt to, so the answers would be misread. Correct the "
            "file, or leave --task out."
        )
    for each in differences:
        logger.warning("%s. The model learnt it otherwise; leave --task out to ask so.", each.text)
    return asked
