"""Trackers of a run behind one small protocol: a JSONL file always, Weights & Biases where asked.

Only this module talks to a tracker. A run goes on without an account and without a network: W&B
then writes an offline run that `wandb sync` uploads later.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from loupe.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "JsonlTracker",
    "PredictedRow",
    "RunDescription",
    "Tracker",
    "Trackers",
    "WandbTracker",
    "open_trackers",
]

logger = logging.getLogger(__name__)

TRACKER_NAMES = ("wandb",)
MAX_PICTURES = 64  # W&B shows at most 108 pictures of one list, and a few dozen are looked at
CONNECT_SECONDS = 3.0


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
    resumed_step: int | None = None
    """Step from which the run goes on; later records are dropped, as it does them again."""


@dataclass(frozen=True)
class PredictedRow:
    """One answered row beside its truth."""

    row_id: str
    picture: Image.Image
    truth: str
    prediction: str


class Tracker(Protocol):
    """Where a run is recorded."""

    def start(self, run: RunDescription) -> None:
        """Open the record; called once, before anything else."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars of one step, named `stage/what_unit`."""

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Record pictures with truth and prediction under one steady key."""

    def artifact(self, folder: Path, aliases: Sequence[str]) -> None:
        """Record a finished folder, for example the best model."""

    def finish(self, *, has_failed: bool) -> None:
        """Close the record; called once, last."""


class JsonlTracker:
    """Appends one JSON object per event to metrics.jsonl, in whole lines."""

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
        """Append row ids, truths and predictions; the pictures stay in the dataset."""
        told = [
            {"row_id": row.row_id, "truth": row.truth, "prediction": row.prediction} for row in rows
        ]
        self._append({"step": step, key: told})

    def artifact(self, folder: Path, aliases: Sequence[str]) -> None:
        """Append the folder's name."""
        self._append({"artifact": folder.name, "aliases": list(aliases)})

    def finish(self, *, has_failed: bool) -> None:
        """Nothing is open between lines."""

    def _append(self, event: Mapping[str, Any]) -> None:
        assert self._path is not None, "start() comes first"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")


class WandbTracker:
    """Weights & Biases: options, curves, predicted pictures, the model as an artifact.

    Without login or network the run is written below the run's folder, media of tables included,
    and `wandb sync` uploads it later. A resumed run continues under its first id.
    """

    def __init__(self) -> None:
        self._run: Any = None
        self._folder: Path | None = None

    def start(self, run: RunDescription) -> None:
        """Open a run.

        Raises:
            MissingExtraError: wandb is not installed.
        """
        wandb = _import_wandb()
        self._folder = run.folder / "wandb"
        self._folder.mkdir(parents=True, exist_ok=True)
        with _staged_in(self._folder):
            self._run = wandb.init(
                project=run.project,
                name=run.name,
                id=_steady_id(self._folder),
                resume="allow",
                job_type=run.job_type,
                dir=str(run.folder),
                mode=choose_wandb_mode(os.environ, Path.home() / ".netrc"),
                config={**run.options, "dataset_info": dict(run.dataset)},
                settings=wandb.Settings(silent=True, console="off"),
            )

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars."""
        self._run.log(dict(metrics), step=step)

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Record a list of captioned pictures as `key`, and a table as `key`_table.

        W&B writes a table twice: an artifact that holds the pictures, and a JSON file among the
        run's media whose picture cells read "Image". The list is there for whoever has the media
        alone.
        """
        wandb = _import_wandb()
        shown = list(rows[:MAX_PICTURES])
        pictures = [
            wandb.Image(
                row.picture, caption=f"{row.row_id}\ntruth: {row.truth}\nsaid: {row.prediction}"
            )
            for row in shown
        ]
        table = wandb.Table(columns=["row_id", "picture", "truth", "prediction"])
        for row in shown:
            table.add_data(row.row_id, wandb.Image(row.picture), row.truth, row.prediction)
        assert self._folder is not None, "start() comes first"
        with _staged_in(self._folder):
            self._run.log({key: pictures, f"{key}_table": table}, step=step)

    def artifact(self, folder: Path, aliases: Sequence[str]) -> None:
        """Record the files of a model folder, checkpoints and the tracker's own files left out."""
        wandb = _import_wandb()
        assert self._folder is not None, "start() comes first"
        with _staged_in(self._folder):
            artifact = wandb.Artifact(f"model-{self._run.id}", type="model")
            for path in sorted(path for path in folder.iterdir() if path.is_file()):
                artifact.add_file(str(path), name=path.name)
            self._run.log_artifact(artifact, aliases=list(aliases))

    def finish(self, *, has_failed: bool) -> None:
        """Close the run; say where an offline one lies and how to upload it."""
        self._run.finish(exit_code=int(has_failed))
        if self._run.offline:
            logger.info(
                "W&B wrote an offline run; upload it with: wandb sync %s",
                Path(self._run.dir).parent,
            )


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)

    def start(self, run: RunDescription) -> None:
        """Start each."""
        for tracker in self._trackers:
            tracker.start(run)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log to each."""
        for tracker in self._trackers:
            tracker.log(metrics, step)

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Show predictions to each."""
        for tracker in self._trackers:
            tracker.predictions(key, rows, step)

    def artifact(self, folder: Path, aliases: Sequence[str]) -> None:
        """Give the folder to each."""
        for tracker in self._trackers:
            tracker.artifact(folder, aliases)

    def finish(self, *, has_failed: bool) -> None:
        """Finish each."""
        for tracker in self._trackers:
            tracker.finish(has_failed=has_failed)


def open_trackers(names: Sequence[str]) -> Trackers:
    """Make metrics.jsonl's tracker and those named.

    Raises:
        OptionError: a name is not a tracker's.
        MissingExtraError: a tracker's package is not installed.
    """
    trackers: list[Tracker] = [JsonlTracker()]
    for name in names:
        if name not in TRACKER_NAMES:
            raise OptionError(
                f"tracker {name!r} is not known; choose from {', '.join(TRACKER_NAMES)}. "
                "metrics.jsonl is written in any case."
            )
        _import_wandb()
        trackers.append(WandbTracker())
    return Trackers(trackers)


def choose_wandb_mode(environment: Mapping[str, str], login_file: Path) -> str:
    """Decide whether W&B can be reached: WANDB_MODE where set, else by login and network."""
    if environment.get("WANDB_MODE"):
        return environment["WANDB_MODE"]
    address = urlsplit(environment.get("WANDB_BASE_URL") or "https://api.wandb.ai")
    host = address.hostname or ""
    if not environment.get("WANDB_API_KEY") and not _has_login(login_file, host):
        return "offline"
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError:
        return "offline"
    return "online"


def _import_wandb() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("The wandb tracker", "wandb", "track") from error
    return wandb


def _has_login(login_file: Path, host: str) -> bool:
    """Whether `wandb login` has left a key for the host."""
    return login_file.is_file() and host in login_file.read_text("utf-8", errors="replace").split()


def _steady_id(folder: Path) -> str:
    """Give the id under which this folder's run is known, made up at the first start."""
    path = folder / "run_id"
    if not path.exists():
        path.write_text(os.urandom(4).hex(), "utf-8")
    return path.read_text("utf-8")


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Keep what W&B holds back for a later upload beside the run, not in the user's home.

    wandb 0.31 has no setting for this, only a variable that it reads at each call.
    """
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = before or str(folder / "staged")
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]


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
