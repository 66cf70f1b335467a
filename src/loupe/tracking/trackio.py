"""trackio: a dashboard on this machine, without an account."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from loupe.errors import MissingExtraError
from loupe.tracking.artifacts import artifact_name, dataset_files, model_files, refer_to_rows
from loupe.tracking.tracker import PredictedRow, RunDescription, steady_id

__all__ = ["TrackioTracker"]

logger = logging.getLogger(__name__)


class TrackioTracker:
    """Writes into trackio's own folder (TRACKIO_DIR), which `trackio show` reads.

    trackio knows a run by its name, so the run's id is part of it. What trackio prints goes to
    stderr, as stdout is for results.

    Raises:
        MissingExtraError: trackio is not installed.
    """

    name = "trackio"

    def __init__(self) -> None:
        try:
            import trackio
        except ImportError as error:
            raise MissingExtraError("The tracker trackio", "trackio", "trackio") from error
        self._trackio = trackio
        self._run: Any = None
        self._id = ""

    def start(self, run: RunDescription) -> None:
        """Open a run, or go on with the one of this folder; note which dataset it uses."""
        self._id = steady_id(run.folder)
        with redirect_stdout(sys.stderr):
            self._run = self._trackio.init(
                project=run.project,
                name=f"{run.name or run.folder.name}-{self._id}",
                config={**run.options, "dataset_info": dict(run.dataset)},
                resume="allow",
                embed=False,
            )
            if run.dataset_folder is not None:
                self._use_dataset(run.dataset_folder, run.dataset)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars."""
        self._run.log(dict(metrics), step=step)

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Record a table with pictures."""
        told = [
            {
                "step": step,
                "row_id": row.row_id,
                "picture": self._trackio.Image(row.picture, caption=row.row_id),
                "truth": row.truth,
                "prediction": row.prediction,
                **row.scores,
            }
            for row in rows
        ]
        self._run.log({key: self._trackio.Table(data=told)}, step=step)

    def settle(self, step: int) -> None:
        """Trackio writes what it is told within half a second."""

    def model(self, folder: Path, facts: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Refer to the model's files where they lie, with their hashes."""
        artifact = self._trackio.Artifact(f"model-{self._id}", "model", metadata=dict(facts))
        for path in model_files(folder):
            artifact.add_reference(path.resolve().as_uri(), name=path.name)
        with redirect_stdout(sys.stderr):
            self._run.log_artifact(artifact, aliases=list(aliases))

    def finish(self, *, has_failed: bool) -> None:
        """Write what is still on its way, and say how to see it."""
        with redirect_stdout(sys.stderr):
            self._trackio.finish()
        logger.info("See the run with: trackio show --project %s", self._run.project)

    def _use_dataset(self, folder: Path, facts: Mapping[str, Any]) -> None:
        name = artifact_name("dataset", folder.resolve().name)
        artifact = self._trackio.Artifact(name, "dataset", metadata=dict(facts))
        for path in dataset_files(folder):
            artifact.add_file(path)
        refer_to_rows(artifact, folder)
        self._run.use_artifact(self._run.log_artifact(artifact))
