"""Weights & Biases: online where there is a login and a network, else a run to upload later."""

from __future__ import annotations

import logging
import os
import shlex
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loupe.errors import MissingExtraError
from loupe.tracking.artifacts import artifact_name, dataset_files, model_files, refer_to_rows
from loupe.tracking.tracker import PredictedRow, RunDescription, steady_id

__all__ = ["WandbTracker", "choose_mode"]

logger = logging.getLogger(__name__)

MAX_PICTURES = 64  # W&B shows at most 108 pictures of one list, and a few dozen are looked at
CONNECT_SECONDS = 3.0
INIT_SECONDS = 30.0
FINISH_SECONDS = 600.0  # what is not sent by then can be sent by `wandb sync`
FLUSH_SECONDS = 1.0  # a kill loses what was not written by then; W&B's own 15 s are many steps
SAME_SERVICE = {"api.forge.coreweave.com", "api.wandb.ai"}  # a login for one holds for the other


class WandbTracker:
    """Options, curves, tables of answered pictures; the run uses a dataset and gives a model.

    All that an offline run must send later lies below the folder `wandb`, but for the model's
    weights, which are sent from the model folder itself. A resumed run goes on under its first id.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    name = "wandb"

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("The tracker wandb", "wandb", "track") from error
        self._wandb = wandb
        self._run: Any = None
        self._folder = Path()

    def start(self, run: RunDescription) -> None:
        """Open a run, or go on with the one of this folder; note which dataset it uses."""
        self._folder = run.folder / "wandb"
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._wandb.setup().settings  # of WANDB_ variables and W&B's own files
        login_file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
        has_key = bool(settings.api_key or settings.identity_token_file)
        mode = choose_mode(settings.mode, settings.base_url, login_file, has_key=has_key)
        with _staged_in(self._folder):
            try:
                self._run = self._open(run, mode)
            except self._wandb.Error as error:
                if mode == "offline":
                    raise
                logger.warning(
                    "W&B took no run online (%s); it is written to be uploaded later. Look at "
                    "`wandb login`, or set WANDB_MODE=offline.",
                    " ".join(str(error).split()),
                )
                self._wandb.teardown()  # W&B's process still holds the id
                self._run = self._open(run, "offline")
            if run.dataset_folder is not None:
                self._use_dataset(run.dataset_folder, run.dataset)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars."""
        self._run.log(dict(metrics), step=step)

    def predictions(self, key: str, rows: Sequence[PredictedRow], step: int) -> None:
        """Record a table as `key`, and its pictures, captioned, as `key`_pictures.

        W&B writes a table twice: an artifact that holds the pictures, from which its page shows
        them, and a JSON file among the run's media whose picture cells read "Image". The list
        shows the pictures over the steps, and to whoever has the media alone.
        """
        shown = list(rows[:MAX_PICTURES])
        image = self._wandb.Image
        scores = list(shown[0].scores) if shown else []
        table = self._wandb.Table(
            columns=["step", "row_id", "picture", "truth", "prediction", *scores]
        )
        for row in shown:
            told = [row.scores[name] for name in scores]
            table.add_data(step, row.row_id, image(row.picture), row.truth, row.prediction, *told)
        pictures = [
            image(row.picture, caption=f"{row.row_id}\ntruth: {row.truth}\nsaid: {row.prediction}")
            for row in shown
        ]
        with _staged_in(self._folder):
            self._run.log({key: table, f"{key}_pictures": pictures}, step=step)

    def settle(self, step: int) -> None:
        """Close the row of this step, which W&B else holds until a later one is logged."""
        self._run.log({}, step=step, commit=True)

    def model(self, folder: Path, facts: Mapping[str, Any], aliases: Sequence[str]) -> None:
        """Record the model's files; weights are not copied, as nothing changes them."""
        artifact = self._wandb.Artifact(f"model-{self._run.id}", "model", metadata=dict(facts))
        with _staged_in(self._folder):
            for path in model_files(folder):
                policy = "immutable" if path.suffix == ".safetensors" else "mutable"
                artifact.add_file(str(path.resolve()), name=path.name, policy=policy)
            self._run.log_artifact(artifact, aliases=list(aliases))

    def finish(self, *, has_failed: bool) -> None:
        """Close the run; say where an offline one lies and how to upload it."""
        self._run.finish(exit_code=int(has_failed))
        if self._run.offline:
            folder = shlex.quote(str(self._folder))
            logger.info("W&B wrote an offline run; upload it with: wandb sync %s", folder)

    def _open(self, run: RunDescription, mode: Any) -> Any:
        return self._wandb.init(
            project=run.project,
            name=run.name,
            id=steady_id(run.folder),
            resume="allow",
            job_type=run.job_type,
            dir=str(run.folder),
            mode=mode,
            config={**run.options, "dataset_info": dict(run.dataset)},
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
            ),
        )

    def _use_dataset(self, folder: Path, facts: Mapping[str, Any]) -> None:
        name = artifact_name("dataset", folder.resolve().name)
        artifact = self._wandb.Artifact(name, "dataset", metadata=dict(facts))
        for path in dataset_files(folder):
            artifact.add_file(str(path), name=path.name)
        refer_to_rows(artifact, folder)
        if self._run.offline:
            # use_artifact refuses an offline run (wandb 0.31); this is what it does otherwise.
            self._run._log_artifact(
                artifact, aliases=["latest"], is_user_created=True, use_after_commit=True
            )
        else:
            self._run.use_artifact(artifact, aliases=["latest"])


def choose_mode(mode: str, address: str, login_file: Path, *, has_key: bool) -> str:
    """Give the mode that W&B was set to, but offline where there is no login or no connection."""
    if mode != "online":
        return mode
    server = urlsplit(address)
    host = server.hostname or ""
    if not has_key and not _has_login(login_file, host):
        return "offline"
    port = server.port or (443 if server.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError:
        return "offline"
    return "online"


def _has_login(login_file: Path, host: str) -> bool:
    """Whether `wandb login` has left a key for the host."""
    names = SAME_SERVICE if host in SAME_SERVICE else {host}
    return login_file.is_file() and bool(
        names & set(login_file.read_text("utf-8", errors="replace").split())
    )


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Keep what W&B holds back for a later upload beside the run, not in the user's home.

    wandb 0.31 has no setting for this, only a variable that it reads at each call.
    """
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = before or str(folder.resolve() / "staged")
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
