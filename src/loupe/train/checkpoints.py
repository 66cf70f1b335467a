"""Where a run stands on disk: unfinished and resumable, finished, or something else's folder."""

from __future__ import annotations

import json
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
    "find_last_checkpoint",
    "find_resumed_step",
    "prepare_output",
    "read_record",
    "write_record",
]

CHECKPOINTS = "checkpoints"
FINISHED = "training.json"
PLAN = "plan.json"
OPTIONS = "options.yaml"
TRAINER_STATE = "trainer_state.json"  # what the Trainer writes last into a checkpoint
ONLY_TO_RESUME = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state", TRAINER_STATE)
MAY_DIFFER = {"overwrite", "threads", "output", "plan"}  # between a run and its continuation


def prepare_output(folder: Path, *, overwrite: bool) -> None:
    """Make the output folder; with `overwrite` empty it of an earlier run.

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


def differing_options(folder: Path, options: dict[str, Any]) -> list[str]:
    """Name the options that differ from those of the run in a folder, if there is one."""
    path = folder / OPTIONS
    if not path.is_file():
        return []
    before = yaml.safe_load(path.read_text("utf-8")) or {}
    names = (set(before) | set(options)) - MAY_DIFFER
    return sorted(name for name in names if before.get(name) != options.get(name))


def find_last_checkpoint(folder: Path) -> Path | None:
    """Give the newest whole checkpoint, and remove those that a kill left unfinished."""
    found = sorted((folder / CHECKPOINTS).glob("checkpoint-*"), key=_step_of, reverse=True)
    whole = None
    for checkpoint in found:
        if read_record(checkpoint / TRAINER_STATE) is None:
            shutil.rmtree(checkpoint)
        else:
            whole = whole or checkpoint
    return whole


def find_resumed_step(folder: Path) -> int | None:
    """Give the step from which a run goes on; None where it starts anew."""
    last = find_last_checkpoint(folder)
    return None if last is None else _step_of(last)


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


def _step_of(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1
