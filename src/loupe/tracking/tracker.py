"""The protocol of trackers, and what a run tells them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PredictedRow", "RunDescription", "Tracker", "steady_id"]


@dataclass(frozen=True)
class RunDescription:
    """What a tracker records before the first step."""

    job_type: str
    """The stage, for example train."""
    project: str
    name: str | None
    folder: Path
    """Folder that the run writes; trackers keep their files in it."""
    options: Mapping[str, Any]
    dataset: Mapping[str, Any]
    """What the run learns from: fingerprint, counts, task."""
    dataset_folder: Path | None = None
    """Where the dataset lies; None where the rows came from elsewhere."""
    resumed_step: int | None = None
    """Step from which the run goes on; later records are dropped, as it does them again."""


@dataclass(frozen=True)
class PredictedRow:
    """One answered row beside its truth."""

    row_id: str
    picture: Image.Image
    truth: str
    prediction: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """What the row adds to each score, field by field, such as title_token_f1 or full_price_ape;
    None where it does not count."""


class Tracker(Protocol):
    """Where a run is recorded."""

    name: str
    """As options and messages call it."""

    def start(self, run: RunDescription) -> None:
        """Open the record; called once, before anything else."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars of one step, named `stage/what_unit`."""

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Record answered rows under one steady key."""

    def settle(self, step: int) -> None:
        """Keep what was told up to this step even if the run is killed: it is not done again."""

    def model(self, folder: Path, facts: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Record a finished model folder with what is known of it."""

    def finish(self, *, has_failed: bool) -> None:
        """Close the record; called once, last."""


def steady_id(folder: Path) -> str:
    """Give the id under which trackers know this folder's run, made up at the first start."""
    path = folder / "run_id"
    if not path.exists():
        path.write_text(os.urandom(4).hex(), "utf-8")
    return path.read_text("utf-8")
