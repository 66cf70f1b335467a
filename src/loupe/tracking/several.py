"""Several trackers as one; only a run's own record, metrics.jsonl, can end it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loupe.errors import LoupeError, OptionError
from loupe.tracking.jsonl import JsonlTracker
from loupe.tracking.tensorboard import TensorBoardTracker
from loupe.tracking.tracker import PredictedRow, RunDescription, Tracker
from loupe.tracking.trackio import TrackioTracker
from loupe.tracking.wandb import WandbTracker

__all__ = ["Trackers", "open_trackers"]

logger = logging.getLogger(__name__)

TRACKERS: dict[str, Callable[[], Tracker]] = {
    tracker.name: tracker for tracker in (WandbTracker, TensorBoardTracker, TrackioTracker)
}


class Trackers:
    """Several trackers as one.

    What one of them raises is logged as a warning, once for each tracker and kind of call, and
    the others are told all the same. A tracker that cannot start is not asked again. An error of
    ours is raised: the record of a night is worth no less than its checkpoints.
    """

    name = "several"

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)
        self._failures: set[tuple[str, str]] = set()

    def start(self, run: RunDescription) -> None:
        """Start each; those that fail are left out from then on."""
        self._trackers = self._tell("start", lambda tracker: tracker.start(run))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log to each."""
        self._tell("log", lambda tracker: tracker.log(metrics, step))

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Show predictions to each."""
        self._tell("show predictions", lambda tracker: tracker.predictions(key, rows, step))

    def settle(self, step: int) -> None:
        """Let each keep what it was told."""
        self._tell("settle", lambda tracker: tracker.settle(step))

    def model(self, folder: Path, facts: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Give the model folder to each."""
        self._tell("keep the model", lambda tracker: tracker.model(folder, facts, aliases))

    def finish(self, *, has_failed: bool) -> None:
        """Finish each."""
        self._tell("finish", lambda tracker: tracker.finish(has_failed=has_failed))

    def _tell(self, deed: str, call: Callable[[Tracker], None]) -> list[Tracker]:
        """Call each tracker, and give those that did not fail."""
        well = []
        for tracker in self._trackers:
            try:
                call(tracker)
            except LoupeError:
                raise
            except Exception as error:  # noqa: BLE001  # other people's services fail in any way
                self._complain(tracker.name, deed, error)
            else:
                well.append(tracker)
        return well

    def _complain(self, name: str, deed: str, error: Exception) -> None:
        if (name, deed) in self._failures:
            return
        self._failures.add((name, deed))
        reason = " ".join(str(error).split()) or "no reason given"
        logger.warning(
            "The tracker %s could not %s (%s: %s); the run goes on. Drop it from --tracker to "
            "stop this.",
            name,
            deed,
            type(error).__name__,
            reason,
        )


def open_trackers(names: Sequence[str]) -> Trackers:
    """Make metrics.jsonl's tracker and those named; a name that stands twice counts once.

    Raises:
        OptionError: a name is not a tracker's.
        MissingExtraError: a tracker's package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise OptionError(
                f"tracker {name!r} is not known; choose from {', '.join(TRACKERS)}. "
                "metrics.jsonl is written in any case."
            )
    return Trackers([JsonlTracker(), *(TRACKERS[name]() for name in dict.fromkeys(names))])
