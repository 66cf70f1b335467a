"""The calibrate stage: answer validation rows with their distributions, write what that tells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.calibrate.make import make_calibration
from loupe.calibrate.told import Answered, describe, measure
from loupe.certainty import CALIBRATION, identify
from loupe.errors import CalibrationError
from loupe.options import CalibrateOptions

if TYPE_CHECKING:
    from loupe.build.dataset import Dataset, Split
    from loupe.predict import Predictor
    from loupe.predict.readings import Reading

__all__ = ["CalibrateResult", "calibrate_model"]

SPLIT = "validation"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrateResult:
    """What a calibration says of its own rows."""

    path: str
    """The file that was written."""
    told: dict[str, Any]
    lines: tuple[str, ...]
    """The same for people."""
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        return {"calibration": self.path, **self.told}

    def summary(self) -> str:
        """Tell a person what came out, and what to run next."""
        last = (
            f"Wrote {self.path}. Next: `loupe evaluate --model {self.model} --dataset DATASET "
            f"--output evaluation`, or `loupe predict PICTURE --model {self.model} --coverage 0.9`"
        )
        return "\n".join([*self.lines, "", last])


def calibrate_model(options: CalibrateOptions) -> CalibrateResult:
    """Answer the validation rows and write calibration.json beside the model.

    Raises:
        CalibrationError: an option, the folder or the rows allow no calibration.
        DatasetError: there is no finished dataset.
        CheckpointError: there is no model.
    """
    from loupe.build.dataset import Dataset
    from loupe.predict import Predictor, pictures_beside

    _check(options)
    dataset = Dataset.open(options.dataset, most_pictures=pictures_beside(options.model))
    rows = _choose_rows(dataset.rows(SPLIT), options)
    predictor = Predictor.load(options.model, device=options.device, threads=options.threads)
    _check_fields(predictor, dataset, options)
    return _calibrate(predictor, dataset, rows, options)


def _check(options: CalibrateOptions) -> None:
    for name, least in {
        "max_rows": 1,
        "batch_size": 1,
        "max_new_tokens": 1,
        "bootstrap": 0,
        "seed": 0,
    }.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise CalibrationError(f"{name} is {value}; it must be at least {least}.")
    folder = Path(options.model)
    if not folder.is_dir():
        raise CalibrationError(
            f"Model {options.model!r} is no folder to write {CALIBRATION} into. Name a folder that "
            "`loupe train` wrote."
        )
    if (folder / CALIBRATION).exists() and not options.overwrite:
        raise CalibrationError(
            f"Model {options.model!r} has a {CALIBRATION}. Add --overwrite to replace it."
        )


def _choose_rows(split: Split, options: CalibrateOptions) -> list[int]:
    import numpy as np

    rows = list(range(len(split)))
    if not rows:
        raise CalibrationError(
            f"Dataset {options.dataset!r} has no {SPLIT} rows. Build it with a larger "
            "--validation-share."
        )
    if options.max_rows is not None and options.max_rows < len(rows):
        drawn = np.random.default_rng(options.seed).choice(len(rows), options.max_rows, False)
        rows = sorted(drawn.tolist())
    return rows


def _check_fields(predictor: Predictor, dataset: Dataset, options: CalibrateOptions) -> None:
    ours = {name: field.type for name, field in dataset.task.fields.items()}
    theirs = {name: field.type for name, field in predictor.task.fields.items()}
    if ours != theirs:
        raise CalibrationError(
            f"Model {options.model!r} answers with the fields {theirs}, the dataset "
            f"{options.dataset!r} has {ours}. Calibrate a model on rows of its own task."
        )
    if not {"price", "choice"} & {*theirs.values()}:
        raise CalibrationError(
            f"The task's fields are {theirs}; only prices and choices can be calibrated."
        )


def _calibrate(
    predictor: Predictor, dataset: Dataset, rows: Sequence[int], options: CalibrateOptions
) -> CalibrateResult:
    split = dataset.rows(SPLIT)
    logger.info("Answering %d pictures of split %s", len(rows), SPLIT)
    readings = _read(predictor, split, rows, options)
    truths: list[Mapping[str, Any]] = [split.values(row) for row in rows]
    names = split.column("group_id")
    groups = [str(names[row]) for row in rows]
    origin = {
        "training": identify(options.model),
        "dataset": str(dataset.info.get("fingerprint")),
        "split": SPLIT,
        "decoding": options.decoding,
    }
    calibration = make_calibration(predictor.task, truths, readings, groups, origin)
    answered = Answered(truths, readings, groups, options.bootstrap, options.seed)
    told = measure(calibration, answered)
    lines = tuple(describe(calibration, told))
    return CalibrateResult(str(calibration.save(options.model)), told, lines, options.model)


def _read(
    predictor: Predictor, split: Split, rows: Sequence[int], options: CalibrateOptions
) -> list[Reading]:
    from tqdm import tqdm

    readings: list[Reading] = []
    with tqdm(total=len(rows), unit="picture", leave=False, disable=None) as bar:
        for start in range(0, len(rows), options.batch_size):
            pictures = [split.pictures(row) for row in rows[start : start + options.batch_size]]
            answers = predictor.predict(
                pictures,
                batch_size=options.batch_size,
                max_new_tokens=options.max_new_tokens,
                decoding=options.decoding,
            )
            readings += predictor.read(pictures, answers, batch_size=options.batch_size)
            bar.update(len(pictures))
    return readings
