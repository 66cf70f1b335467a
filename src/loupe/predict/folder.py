"""The folder of answers: whose it is, what its answers depend on, what is in it already."""

from __future__ import annotations

import json
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from loupe.build.ledger import Rejection
from loupe.errors import PredictError
from loupe.predict.answer_files import AnswerFile, JsonLines
from loupe.predict.answering import Answered

__all__ = ["RECORD_FILE", "AnswerFolder", "Counts", "open_folder"]

RECORD_FILE = "predictions.json"
TERMS_FILE = "terms.json"
REJECTED_FILE = "rejected.jsonl"
_LOCK = ".lock"
_SCRATCH = "scratch"
_OWN_FILES = frozenset({RECORD_FILE, TERMS_FILE, REJECTED_FILE, "answers.jsonl", "options.yaml"})


@dataclass
class Counts:
    """Pictures by their fate: answered, of these not parsed, and rejected by reason."""

    answered: int
    unparsed: int
    rejected: Counter[str]

    @property
    def pictures(self) -> int:
        """All of them."""
        return self.answered + self.rejected.total()

    def to_dict(self) -> dict[str, Any]:
        """Give them as plain data."""
        return {
            "pictures": self.pictures,
            "answered": self.answered,
            "unparsed": self.unparsed,
            "rejected": dict(self.rejected),
        }


class AnswerFolder:
    """A folder that is ours while the block of `open_folder` lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = Counts(0, 0, Counter())
        self._known: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._answers: AnswerFile | None = None
        self._rejected: JsonLines | None = None

    @property
    def scratch(self) -> Path:
        """Folder for what is needed while answering alone."""
        return self.path / _SCRATCH

    def begin(self, terms: Mapping[str, Any], *, overwrite: bool, retry: bool) -> None:
        """Go on where an earlier run of the same terms stopped, or start.

        With `overwrite` its answers are deleted, with `retry` its rejections.

        Raises:
            PredictError: what is there was answered under other terms.
        """
        before = None if overwrite else _read_json(self.path / TERMS_FILE)
        if overwrite:
            for path in self.path.iterdir():
                if _is_own(path.name):
                    path.unlink()
        elif before is not None and before != terms:
            raise PredictError(_tell_difference(self.path, before, terms))
        (self.path / RECORD_FILE).unlink(missing_ok=True)
        if retry:
            (self.path / REJECTED_FILE).unlink(missing_ok=True)
        _write_json(self.path / TERMS_FILE, terms)

    def take_up(self, answers: AnswerFile) -> None:
        """Count what is there, and write to these files from now on."""
        self._answers, self._rejected = answers, JsonLines(self.path / REJECTED_FILE)
        keys = array("Q")
        for row in answers.read():
            keys.append(int(row["key"], 16))
            self.counts.answered += 1
            self.counts.unparsed += row["problem"] is not None
        for row in self._rejected.read():
            keys.append(int(row["key"], 16))
            self.counts.rejected[row["reason"]] += 1
        self._known = np.unique(np.asarray(keys, np.uint64))

    def is_known(self, key: int) -> bool:
        """Tell whether an earlier run has answered or rejected a picture."""
        place = int(np.searchsorted(self._known, np.uint64(key)))
        return place < len(self._known) and int(self._known[place]) == key

    def add(self, answered: Sequence[Answered], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what became of pictures, with a row for each.

        Raises:
            OSError: the disk is full.
        """
        assert self._answers is not None
        assert self._rejected is not None
        good: list[Mapping[str, Any]] = []
        bad: list[Mapping[str, Any]] = []
        for (_, found), row in zip(answered, rows, strict=True):
            if isinstance(found, Rejection):
                bad.append(row)
                self.counts.rejected[str(found.reason)] += 1
            else:
                good.append(row)
                self.counts.answered += 1
                self.counts.unparsed += found.problem is not None
        for file, some in ((self._answers, good), (self._rejected, bad)):
            if some:
                file.add(some)

    def close(self) -> None:
        """Write what was held back."""
        if self._answers is not None and self._rejected is not None:
            self._rejected.close()
            self._answers.close()

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record, which says that all pictures have been gone through."""
        _write_json(self.path / RECORD_FILE, record)


@contextmanager
def open_folder(path: Path) -> Iterator[AnswerFolder]:
    """Make a folder ours, or go on in one that is.

    What was answered is kept however the block ends; a folder without any answer goes.

    Raises:
        PredictError: it holds something else, or another run works in it.
    """
    if path.exists() and not path.is_dir():
        raise PredictError(f"Output {str(path)!r} is a file; expected a folder to write.")
    names = {each.name for each in path.iterdir()} if path.exists() else set()
    foreign = sorted(name for name in names - {_LOCK, _SCRATCH} if not _is_own(name))
    if foreign:
        raise PredictError(
            f"Output {str(path)!r} holds files that `loupe predict` did not write, such as "
            f"{foreign[0]!r}. Choose another output."
        )
    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / _LOCK, timeout=0):
            folder = AnswerFolder(path)
            folder.scratch.mkdir(exist_ok=True)
            try:
                yield folder
            finally:
                shutil.rmtree(folder.scratch, ignore_errors=True)
                folder.close()
                if not (path / TERMS_FILE).exists():
                    (path / _LOCK).unlink()
                    with suppress(OSError):
                        path.rmdir()
    except Timeout as error:
        raise PredictError(
            f"Another run works in {str(path)!r}; expected one at a time. Wait for it, or choose "
            "another output."
        ) from error


def _is_own(name: str) -> bool:
    is_part = name.startswith("answers-") and name.endswith((".parquet", ".unfinished"))
    return name in _OWN_FILES or is_part


def _tell_difference(path: Path, before: Mapping[str, Any], terms: Mapping[str, Any]) -> str:
    name = next(name for name in {**before, **terms} if before.get(name) != terms.get(name))
    was, now = before.get(name), terms.get(name)
    shown = "" if isinstance(now, dict) else f" (it was {was!r} and is {now!r})"
    return (
        f"Output {str(path)!r} holds answers under another {name}{shown}; expected the same to go "
        "on. Add --overwrite to start anew, or choose another output."
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PredictError(
            f"{str(path)!r} is not what `loupe predict` writes ({error}). Add --overwrite, or "
            "choose another output."
        ) from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    unfinished = path.with_name("answers-0.unfinished")
    unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    unfinished.rename(path)
