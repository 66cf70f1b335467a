"""Where a run stands on disk: unfinished and resumable, finished, or something else's folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from loupe.errors import TrainError

__all__ = [
    "CHECKPOINTS",
    "FINISHED",
    "copy_model_files",
    "differing_options",
    "drop_all_but",
    "find_last_checkpoint",
    "find_resumed_step",
    "place_checkpoint",
    "prepare_output",
    "read_record",
    "write_record",
]

CHECKPOINTS = "checkpoints"
FINISHED = "training.json"
PLAN = "plan.json"
OPTIONS = "options.yaml"
UNFINISHED = ".unfinished"  # where a checkpoint is written, and where one goes to be removed
TRAINER_STATE = "trainer_state.json"  # what the Trainer writes last into a checkpoint
ONLY_TO_RESUME = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state", TRAINER_STATE)
MAY_DIFFER = {"overwrite", "threads", "output", "plan"}  # between a run and its continuation


def prepare_output(folder: Path, *, overwrite: bool) -> None:
    """Make the output folder; with `overwrite` empty it of an earlier run.

    What a kill left of a checkpoint is removed.

    Raises:
        TrainError: the folder holds something that no run of ours left there.
    """
    if folder.exists() and not folder.is_dir():
        raise TrainError(f"output {str(folder)!r} is a file; name a folder.")
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    is_ours = {OPTIONS, CHECKPOINTS} <= held or held == {CHECKPOINTS}
    if held and not is_ours:
        raise TrainError(
            f"output {str(folder)!r} holds files that are not of a training run; name a new or "
            "empty folder."
        )
    if overwrite and is_ours:
        shutil.rmtree(folder)
    (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / CHECKPOINTS / UNFINISHED, ignore_errors=True)  # what a kill left
    for checkpoint in _newest_first(folder / CHECKPOINTS):
        if not _is_whole(checkpoint):
            shutil.rmtree(checkpoint)


def differing_options(folder: Path, options: dict[str, Any]) -> list[str]:
    """Name the options that differ from those of the run in a folder, if there is one."""
    path = folder / OPTIONS
    if not path.is_file():
        return []
    before = yaml.safe_load(path.read_text("utf-8")) or {}
    names = (set(before) | set(options)) - MAY_DIFFER
    return sorted(name for name in names if before.get(name) != options.get(name))


def find_last_checkpoint(folder: Path) -> Path | None:
    """Give the newest checkpoint that can be gone on from."""
    whole = (each for each in _newest_first(folder / CHECKPOINTS) if _is_whole(each))
    return next(whole, None)


def find_resumed_step(folder: Path) -> int | None:
    """Give the step from which a run goes on; None where it starts anew."""
    last = find_last_checkpoint(folder)
    return None if last is None else _step_of(last)


def place_checkpoint(written: Path, folder: Path) -> None:
    """Put a checkpoint that is written to its end into the folder of checkpoints, at one go.

    Its files are on the disk itself by then, so a machine that loses its power has the checkpoint
    whole, or has not got it.

    Raises:
        OSError: the disk did not take all of it.
    """
    for path in written.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    target = folder / written.name
    if target.exists():  # broken, or it would have been gone on from
        shutil.rmtree(target)
    written.replace(target)


def drop_all_but(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all checkpoints of a folder but the last few and the best; none is seen in part."""
    for checkpoint in _newest_first(folder)[keep:]:
        if _step_of(checkpoint) != best_step:
            (folder / UNFINISHED).mkdir(exist_ok=True)
            doomed = checkpoint.rename(folder / UNFINISHED / checkpoint.name)
            shutil.rmtree(doomed, ignore_errors=True)


def copy_model_files(checkpoint: Path, folder: Path) -> None:
    """Copy what makes a checkpoint a model, each file whole or not at all."""
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and not path.name.startswith(ONLY_TO_RESUME):
            partial = folder / f".{path.name}.partial"
            shutil.copyfile(path, partial)
            partial.replace(folder / path.name)


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is missing or was not written to its end."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", "utf-8")
    partial.replace(path)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True)


def _is_whole(checkpoint: Path) -> bool:
    return read_record(checkpoint / TRAINER_STATE) is not None


def _step_of(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1
