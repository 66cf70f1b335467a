"""The tracker that needs nothing: one JSON object per event in metrics.jsonl."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loupe.errors import TrainError
from loupe.tracking.tracker import PredictedRow, RunDescription

__all__ = ["JsonlTracker"]


class JsonlTracker:
    """Appends one JSON object per event to metrics.jsonl, in whole lines.

    Raises:
        TrainError: the file cannot be written, as on a full disk.
    """

    name = "metrics.jsonl"

    def __init__(self) -> None:
        self._path: Path | None = None

    def start(self, run: RunDescription) -> None:
        """Open metrics.jsonl in the run's folder; what a resumed run does again is dropped."""
        self._path = run.folder / "metrics.jsonl"
        step = run.resumed_step
        kept = [] if step is None else list(_events_until(self._path, step))
        partial = self._path.with_name(f".{self._path.name}.partial")
        with _told_where(self._path):
            partial.write_text("".join(f"{line}\n" for line in kept), "utf-8")
            partial.replace(self._path)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append the scalars of one step."""
        self._append({"step": step, **metrics})

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Append row ids, truths, predictions and scores; the pictures stay in the dataset."""
        told = [
            {"row_id": row.row_id, "truth": row.truth, "prediction": row.prediction, **row.scores}
            for row in rows
        ]
        self._append({"step": step, key: told})

    def settle(self, step: int) -> None:
        """Nothing is held back between lines."""

    def model(self, folder: Path, facts: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Append the folder's name."""
        self._append({"model": folder.name, **facts, "aliases": list(aliases)})

    def finish(self, *, has_failed: bool) -> None:
        """Nothing is open between lines."""

    def _append(self, event: Mapping[str, Any]) -> None:
        assert self._path is not None, "start() comes first"
        with _told_where(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")


@contextmanager
def _told_where(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(path.parent).free / 2**20
        raise TrainError(
            f"{str(path)!r} cannot be written ({error.strerror or error}); {free:,.0f} MiB are "
            "free. The last checkpoint is whole: free some room, and the same command goes on."
        ) from error


def _events_until(path: Path, step: int) -> Iterator[str]:
    """Give the lines of a metrics file up to a step, without one that a kill left unfinished."""
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if event.get("step", 0) <= step:
            yield line
