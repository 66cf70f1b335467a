"""TensorBoard: curves, options and predictions in event files below the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from loupe.errors import MissingExtraError
from loupe.tracking.tracker import PredictedRow, RunDescription

__all__ = ["TensorBoardTracker"]


class TensorBoardTracker:
    """Writes event files into the folder `tensorboard`; `tensorboard --logdir` shows them.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    name = "tensorboard"

    def __init__(self) -> None:
        try:
            import tensorboard  # noqa: F401  # torch's writer needs it
        except ImportError as error:
            raise MissingExtraError(
                "The tracker tensorboard", "tensorboard", "tensorboard"
            ) from error
        self._writer: Any = None

    def start(self, run: RunDescription) -> None:
        """Open an event file; what a resumed run does again is hidden by it."""
        from torch.utils.tensorboard import SummaryWriter

        step = run.resumed_step
        purged = None if step is None else step + 1
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purged)
        for title, facts in (("options", run.options), ("dataset", run.dataset)):
            self._writer.add_text(title, _as_code(facts), step or 0)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Record a table as text; the pictures stay in the dataset."""
        told = [
            {"row": row.row_id, "truth": row.truth, "prediction": row.prediction, **row.scores}
            for row in rows
        ]
        self._writer.add_text(key, _as_table(told), step)

    def settle(self, step: int) -> None:
        """Write what is held back."""
        self._writer.flush()

    def model(self, folder: Path, facts: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Record what is known of the model; TensorBoard keeps no files."""
        self._writer.add_text("model", _as_code({**facts, "aliases": list(aliases)}))

    def finish(self, *, has_failed: bool) -> None:
        """Close the file."""
        self._writer.close()


def _as_code(facts: Mapping[str, Any]) -> str:
    """Write facts as a Markdown block of YAML, which indents what it shows."""
    text = yaml.safe_dump(dict(facts), sort_keys=False, allow_unicode=True)
    return "".join(f"    {line}\n" for line in text.splitlines())


def _as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a Markdown table."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(map(_as_cell, line)) + " |" for line in lines)


def _as_cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")
