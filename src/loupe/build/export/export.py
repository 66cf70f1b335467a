"""Write a finished dataset's rows into the folder `export`, in each format asked for."""

from collections.abc import Sequence
from pathlib import Path

from loupe.build.export.dialogues import read_dialogues
from loupe.build.export.formats import FORMATS
from loupe.build.splits import SPLITS
from loupe.errors import OptionError
from loupe.task import Task

__all__ = ["check_formats", "export_dataset"]


def check_formats(names: Sequence[str]) -> None:
    """Refuse unknown formats, before anything is fetched.

    Raises:
        OptionError: there is no such format.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise OptionError(
            f"The option export names the format {unknown[0]!r}; expected any of "
            f"{', '.join(FORMATS)}."
        )


def export_dataset(folder: Path, task: Task, formats: Sequence[str], rows: dict[str, int]) -> None:
    """Write each split that has rows; `rows` has their number by split."""
    target = folder / "export"
    if formats:
        target.mkdir()
    for name in dict.fromkeys(formats):
        for split in SPLITS:
            if rows[split]:
                FORMATS[name](target, split, read_dialogues(folder, split, task))
