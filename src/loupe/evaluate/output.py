"""The folder that an evaluation leaves: made aside and moved into place when all of it is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loupe.errors import EvaluateError
from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.scores import bounded_number, row_scores
from loupe.task import Answer, Task

__all__ = ["REPORT", "SCORES", "staged_folder", "write_predictions"]

PREDICTIONS, SCORES, REPORT = "predictions.parquet", "scores.json", "report.html"


@contextmanager
def staged_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a new folder to write into; what stands in it at the end is moved to `output`.

    The report is moved last and removed first, so its presence means that the rest belongs to it.

    Raises:
        EvaluateError: `output` is a file, or holds something that may not be replaced.
    """
    output = output.resolve()
    check_output(output, overwrite=overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    staged = output.with_name(f".{output.name}.loupe-evaluate")
    shutil.rmtree(staged, ignore_errors=True)  # what a killed run left
    staged.mkdir()
    try:
        yield staged
        output.mkdir(exist_ok=True)
        (output / REPORT).unlink(missing_ok=True)
        for path in sorted(staged.iterdir(), key=lambda path: path.name == REPORT):
            path.replace(output / path.name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse to write over anything but an evaluation that may be replaced."""
    if output.is_file():
        raise EvaluateError(f"Output {str(output)!r} is a file; name a folder.")
    if not output.exists() or not any(output.iterdir()):
        return
    is_ours = (output / SCORES).is_file()
    if not is_ours:
        raise EvaluateError(
            f"Output {str(output)!r} holds something else than an evaluation (no {SCORES}); name "
            "a new or an empty folder."
        )
    if not overwrite:
        raise EvaluateError(
            f"Output {str(output)!r} holds an evaluation. Name another folder, or add --overwrite "
            "to replace it."
        )


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write one line per row: truth, answer, errors, and what the twins said."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    task, rows = evaluation.measures.task, evaluation.measures.rows
    columns: dict[str, Any] = {"row_id": list(rows.ids), "group_id": list(rows.groups)}
    columns |= _values(task, "truth_", rows.truths)
    columns |= _answers(task, "", evaluation.seen.answers)
    columns["problem"] = pa.array([answer.problem for answer in evaluation.seen.answers], "string")
    found = row_scores(task, rows.truths, evaluation.seen.answers)
    columns |= {name: pa.array(held, from_pandas=True) for name, held in found.items()}
    for twin in evaluation.twins:
        columns |= _answers(task, f"{twin.system.name}_", twin.system.answers)
    if evaluation.shuffled is not None:
        columns["shuffled_row_id"] = [rows.ids[other] for other in evaluation.shuffled]
    if evaluation.certainty is not None:
        columns |= evaluation.certainty.columns()
    pq.write_table(pa.table(columns), path)


def _answers(task: Task, prefix: str, answers: Sequence[Answer]) -> dict[str, Any]:
    texts = {f"{prefix}answer": [answer.text for answer in answers]}
    said = [answer.values or {} for answer in answers]
    return texts | _values(task, f"{prefix}predicted_", said)


def _values(task: Task, prefix: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give a typed column per field, null where a row says nothing."""
    import pyarrow as pa

    return {
        f"{prefix}{field}": _typed(pa, kind.type, [row.get(field) for row in rows])
        for field, kind in task.fields.items()
    }


def _typed(pa: Any, kind: str, values: list[Any]) -> Any:
    if kind in {"text", "choice"}:
        return pa.array(values, "string")
    if kind == "integer" and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, "int64")
    return pa.array([None if v is None else bounded_number(v) for v in values], "float64")
