"""The folder that a build writes: refused where it holds something else, finished in one rename."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from loupe.errors import BuildError

__all__ = ["FINISHED_FILE", "MORE_LEDGER", "Workplace", "open_workplace"]

logger = logging.getLogger(__name__)

FINISHED_FILE = "dataset.json"
MORE_LEDGER = "more_images.parquet"
_OWN_NAMES = frozenset(
    {
        "README.md",
        "data",
        FINISHED_FILE,
        "export",
        "ledger.parquet",
        MORE_LEDGER,
        "options.yaml",
        "profile.html",
        "rejected.parquet",
        "task.yaml",
    }
)
_MARKER = "unfinished"
_DONE = "done"


@dataclass(frozen=True)
class Workplace:
    """The folder in which a build works: the dataset to be, and what a killed build goes on from.

    `journal` and `spool` (fetched and rewritten pictures) outlive a failure; `scratch` does not.
    """

    folder: Path

    @property
    def dataset(self) -> Path:
        """Folder to make, which becomes the output."""
        return self.folder / "dataset"

    @property
    def journal(self) -> Path:
        """File that notes each picture's fate."""
        return self.folder / "ledger.jsonl"

    @property
    def spool(self) -> Path:
        """Folder of pictures."""
        return self.folder / "spool"

    @property
    def scratch(self) -> Path:
        """Folder of anything else."""
        return self.folder / "scratch"


@contextmanager
def open_workplace(output: Path, *, overwrite: bool) -> Iterator[Workplace]:
    """Give a hidden folder beside `output`; its dataset becomes `output` when the block ends well.

    When the block ends otherwise, or is killed, what it noted in the journal is there again the
    next time; without a journal nothing is left.

    Raises:
        BuildError: `output` holds something that must not be replaced, or is being built.
    """
    final = output.resolve()
    _check_replaceable(final, overwrite=overwrite)
    place = Workplace(final.with_name(f".{final.name}.loupe-build"))
    _mark(place.folder)
    with _lock(place.folder):
        _clear(place)
        try:
            yield place
            (place.folder / _DONE).touch()
            _replace(final, place.dataset)
            place.journal.unlink(missing_ok=True)
        finally:
            if place.journal.exists():
                logger.info("What was gathered is kept: the same command goes on from there")
            else:
                shutil.rmtree(place.folder)


def _mark(folder: Path) -> None:
    """Make the folder ours, unless it is someone's."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise BuildError(
            f"{str(folder)!r} stands where an unfinished build would, and is none. Move it away."
        )
    (folder / _MARKER).touch()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout as error:
        raise BuildError(
            f"Another build works in {str(folder)!r}; expected one at a time. Wait for it, or "
            "choose another output."
        ) from error


def _clear(place: Workplace) -> None:
    """Delete all that an earlier build left, but for what this one can go on from."""
    is_done = (place.folder / _DONE).exists() and not place.dataset.exists()
    if is_done:  # it was killed after its last step
        shutil.rmtree(place.spool, ignore_errors=True)
        place.journal.unlink(missing_ok=True)
    (place.folder / _DONE).unlink(missing_ok=True)
    for folder in (place.dataset, place.scratch):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (place.spool, place.scratch):
        folder.mkdir(exist_ok=True)


def _check_replaceable(output: Path, *, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise BuildError(f"Output {str(output)!r} is a file; expected a folder to write.")
    names = {path.name for path in output.iterdir()} if output.exists() else set()
    if not names:
        return
    foreign = sorted(names - _OWN_NAMES)
    if foreign or not _is_dataset(output):
        what = f"such as {foreign[0]!r}" if foreign else f"but no {FINISHED_FILE} of Loupe"
        raise BuildError(
            f"Output {str(output)!r} holds files that `loupe build` did not write, {what}. "
            "Choose another output."
        )
    if not overwrite:
        raise BuildError(
            f"Output {str(output)!r} holds a dataset already. Add --overwrite to replace it, or "
            "choose another output."
        )


def _is_dataset(folder: Path) -> bool:
    try:
        return "fingerprint" in json.loads((folder / FINISHED_FILE).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _replace(final: Path, folder: Path) -> None:
    """Move the new folder to its place; an old dataset is deleted after, not before."""
    old = final.with_name(f".{final.name}.loupe-replaced")
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        final.rename(old)
    folder.rename(final)
    shutil.rmtree(old, ignore_errors=True)
