"""What the readers of all kinds of source share: how to read, and how to complain."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from loupe.errors import BuildError

__all__ = ["Reading", "check_names", "complain_of_empty", "first_line", "folder_of", "list_some"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a source is read, where that is said; None leaves it to the reader's rule.

    `part` is the sheet of an Excel file or the configuration of a Hugging Face dataset, `streaming`
    leaves the latter where it is, `scratch` is a folder for what should not be held in memory.
    With `has_decimal_comma`, no text becomes a number by its decimal point.
    """

    encoding: str | None = None
    delimiter: str | None = None
    has_decimal_comma: bool = False
    part: str | None = None
    streaming: bool = False
    scratch: Path | None = None


def folder_of(paths: Sequence[Path]) -> Path:
    """Give the folder that files share; paths of pictures start there."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse columns of the same name.

    Raises:
        BuildError: a name comes twice.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BuildError(
            f"Table {str(path)!r} has several columns named {list_some(twice)}; expected each "
            "name once. Rename them."
        )


def complain_of_empty(name: object) -> NoReturn:
    """Refuse a table without rows.

    Raises:
        BuildError: always.
    """
    raise BuildError(f"Table {str(name)!r} has no rows. Give a source with at least one.")


def list_some(names: Iterable[object]) -> str:
    """Name the first few of many."""
    listed = [repr(name) for name in names]
    return ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")


def first_line(error: Exception) -> str:
    """Give the first line of a library's message, to stand within a sentence."""
    return str(error).partition("\n")[0].rstrip(".")
