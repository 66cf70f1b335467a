"""The tracker that needs nothing: one JSON object per event in metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loupe.tracking.tracker import PredictedRow, RunDescription

__all__ = ["JsonlTracker"]


class JsonlTracker:
    """Appends one JSON object per event to metrics.jsonl, in whole lines."""

    name = "metrics.jsonl"

    def __init__(self) -> None:
        self._path: Path | None = None

    def start(self, run: RunDescription) -> None:
        """Open metrics.jsonl in the run's folder; what a resumed run does again is dropped."""
        self._path = run.folder / "metrics.jsonl"
        step = run.resumed_step
        kept = [] if step is None else list(_events_until(self._path, step))
        self._path.write_text("".join(f"{line}\n" for line in kept), "utf-8")

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
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")


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
