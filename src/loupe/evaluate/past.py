"""Read finished evaluations back: what was asked, what is true, and what each model said."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loupe.errors import EvaluateError, TaskError
from loupe.evaluate.evaluation import FORMAT
from loupe.evaluate.output import PREDICTIONS, SCORES
from loupe.task import Answer, Task

__all__ = ["PastEvaluation", "find_evaluations"]


@dataclass(frozen=True)
class PastEvaluation:
    """What an evaluation folder holds; `rows` are those of predictions.parquet by row id."""

    folder: str
    task: Task
    record: dict[str, Any]
    rows: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> PastEvaluation:
        """Read a folder that `loupe evaluate` wrote.

        Raises:
            EvaluateError: it is none, or is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not (folder / SCORES).is_file():
            raise EvaluateError(
                f"{str(folder)!r} holds no evaluation (no {SCORES}). Name a folder that "
                "`loupe evaluate` wrote."
            )
        try:
            record = json.loads((folder / SCORES).read_text("utf-8"))
            if record["format"] != FORMAT:
                raise ValueError(f"its format is {record['format']}, expected {FORMAT}")
            task = Task.from_dict(record["dataset"]["task"])
            rows = pq.read_table(folder / PREDICTIONS).to_pylist()
            return cls(str(folder), task, record, {row["row_id"]: row for row in rows})
        except (OSError, ValueError, KeyError, TypeError, TaskError, pa.ArrowException) as error:
            raise EvaluateError(
                f"The evaluation in {str(folder)!r} cannot be read ({error}). Evaluate again."
            ) from error

    def truth(self, row: str) -> dict[str, Any]:
        """Give the true values of a row."""
        return {field: self.rows[row][f"truth_{field}"] for field in self.task.fields}

    def answer(self, row: str) -> Answer:
        """Give what the model said of a row, prices as they were read then."""
        held = self.rows[row]
        if held["problem"] is not None:
            return Answer(held["answer"], None, held["problem"])
        said = {field: held[f"predicted_{field}"] for field in self.task.fields}
        return Answer(held["answer"], said)


def find_evaluations(pattern: str) -> Sequence[PastEvaluation]:
    """Read the evaluation in a folder, or all in the folders that a pattern matches.

    Raises:
        EvaluateError: there is none.
    """
    found = glob.glob(pattern)  # noqa: PTH207 - Path.glob takes no absolute pattern
    folders = [Path(pattern)] if Path(pattern).exists() else sorted(map(Path, found))
    if not folders:
        raise EvaluateError(f"There is nothing at {pattern!r}. Name a folder of `loupe evaluate`.")
    return [PastEvaluation.read(folder) for folder in folders]
