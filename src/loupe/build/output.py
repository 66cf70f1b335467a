"""The folder that a build writes: refused where it holds something else, finished in one rename."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loupe.errors import BuildError

__all__ = ["FINISHED_FILE", "unfinished_folder"]

FINISHED_FILE = "dataset.json"
_OWN_NAMES = frozenset(
    {"README.md", "data", FINISHED_FILE, "options.yaml", "rejected.parquet", "task.yaml"}
)
_MARKER = "unfinished"


@contextmanager
def unfinished_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder beside `output` to write to; it becomes `output` when the block ends well.

    When the block ends otherwise the folder is deleted. What a killed process left is deleted
    by the next build to the same output.

    Raises:
        BuildError: `output` holds something that must not be replaced.
    """
    final = output.resolve()
    _check_replaceable(final, overwrite=overwrite)
    folder = final.with_name(f".{final.name}.loupe-build")
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftover(folder)
    folder.mkdir()
    try:
        (folder / _MARKER).touch()
        yield folder
        (folder / _MARKER).unlink()
        _replace(final, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _remove_leftover(folder: Path) -> None:
    if not folder.exists():
        return
    ours = (folder / _MARKER).exists() or _is_dataset(folder) or not any(folder.iterdir())
    if not ours:
        raise BuildError(
            f"{str(folder)!r} stands where an unfinished build would, and is none. Move it away."
        )
    shutil.rmtree(folder)


def _replace(final: Path, folder: Path) -> None:
    """Move the new folder to its place; an old dataset is deleted after, not before."""
    old = final.with_name(f".{final.name}.loupe-replaced")
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        final.rename(old)
    folder.rename(final)
    shutil.rmtree(old, ignore_errors=True)
