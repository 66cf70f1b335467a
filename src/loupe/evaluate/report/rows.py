"""The report's table of rows: picture, truth, answer and error of each."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.report.browser import render_neighbours
from loupe.evaluate.scores import bounded_number, is_number, row_scores
from loupe.evaluate.weighted import Values
from loupe.task import Answer, Field

__all__ = ["CLOSE_ENOUGH", "MAX_TABLE_ROWS", "render_examples", "render_rows"]

MAX_TABLE_ROWS = 2000  # about 12 MB of page with their pictures
EXAMPLES = 8
NEWLINE = "\n"  # parts names of fields, which may hold spaces
CLOSE_ENOUGH = 0.25  # a number this near the truth, relative to it, is marked as right


@dataclass(frozen=True)
class Cell:
    """A field of a row: what is true, what was said, and how far that is off."""

    true: str
    said: str | None
    is_right: bool
    error: float
    """Orders the column; 0 is perfect."""
    remark: str


def render_rows(evaluation: Evaluation) -> str:
    """Give a table line per row, with what sorting and filtering need as data attributes."""
    rows = evaluation.measures.rows
    found = row_scores(evaluation.measures.task, rows.truths, evaluation.seen.answers)
    shown = min(len(rows), MAX_TABLE_ROWS)
    return "\n".join(_row(evaluation, found, row) for row in range(shown))


def render_examples(evaluation: Evaluation) -> tuple[str, str]:
    """Give some rows as cards: evenly spaced ones, and those that are furthest off."""
    rows = evaluation.measures.rows
    found = row_scores(evaluation.measures.task, rows.truths, evaluation.seen.answers)
    shown = min(len(rows), MAX_TABLE_ROWS, len(evaluation.seen.thumbnails))
    spaced = np.unique(np.linspace(0, shown - 1, min(EXAMPLES, shown)).astype(int)).tolist()
    cells = {row: list(dict(_cells(evaluation, found, row)).values()) for row in range(shown)}
    off = sorted((row for row in cells if _wrongness(cells[row])[0]), key=_by_wrongness(cells))
    one, other = (
        "\n".join(_example(evaluation, row, cells[row]) for row in chosen)
        for chosen in (spaced, off[:EXAMPLES])
    )
    return one, other


def _wrongness(cells: Sequence[Cell]) -> tuple[int, float]:
    return sum(not cell.is_right for cell in cells), sum(cell.error for cell in cells)


def _by_wrongness(cells: Mapping[int, Sequence[Cell]]) -> Callable[[int], tuple[float, float]]:
    def key(row: int) -> tuple[float, float]:
        fields, error = _wrongness(cells[row])
        return -fields, -error

    return key


def _example(evaluation: Evaluation, row: int, cells: Sequence[Cell]) -> str:
    lines = "".join(f'<li class="{_name(cell)}">{_inside(cell)}</li>' for cell in cells)
    return f'<a class="example" href="#r{row}">{_picture(evaluation, row)}<ul>{lines}</ul></a>'


def _row(evaluation: Evaluation, found: dict[str, Values], row: int) -> str:
    rows, answer = evaluation.measures.rows, evaluation.seen.answers[row]
    cells = dict(_cells(evaluation, found, row))
    wrong = [field for field, cell in cells.items() if not cell.is_right]
    words = " ".join([rows.ids[row], *(f"{c.true} {c.said or ''}" for c in cells.values())])
    states = [*wrong, *(["unparsed:"] if answer.values is None else [])]
    choices = {
        field: str(rows.truths[row][field])
        for field, kind in evaluation.measures.task.fields.items()
        if kind.type == "choice"
    }
    return (
        f'<tr id="r{row}" data-words="{escape(words.casefold())}" '
        f'data-wrong="{escape(NEWLINE.join(states))}" '
        f'data-choices="{escape(json.dumps(choices, ensure_ascii=False))}">'
        f"<td>{_picture(evaluation, row)}</td>"
        f'<td class="id" data-sort="{row}">{escape(rows.ids[row])}</td>'
        f"{''.join(map(_cell, cells.values()))}"
        f"{_raw(answer, len(wrong), render_neighbours(evaluation, row))}</tr>"
    )


def _cells(
    evaluation: Evaluation, found: dict[str, Values], row: int
) -> Iterator[tuple[str, Cell]]:
    task, answer = evaluation.measures.task, evaluation.seen.answers[row]
    for field, kind in task.fields.items():
        true = evaluation.measures.rows.truths[row][field]
        said = None if answer.values is None else answer.values[field]
        shown = None if said is None else str(said)
        if is_number(task, field):
            cell = _number_cell(kind, true, said, float(found[f"{field}_ape"][row]))
            sure = evaluation.certainty
            between = sure.between(field, row) if sure else ""
            yield field, replace(cell, remark=" · ".join(filter(None, [cell.remark, between])))
            continue
        right = bool(found[f"{field}_right"][row])
        error, remark = 1.0 - right, ""
        if kind.type == "text" and not right:
            shared = float(found[f"{field}_token_f1"][row])
            error, remark = 1.0 - shared, f"F1 {shared:.2f}"
        yield field, Cell(str(true), shown, right, error, remark)


def _number_cell(kind: Field, true: Any, said: Any, relative: float) -> Cell:
    if said is None:
        return Cell(kind.format(true), None, False, float("inf"), "")
    if np.isnan(relative):  # a truth of 0 has no relative error
        return Cell(
            kind.format(true), kind.format(said), said == true, abs(bounded_number(said) - true), ""
        )
    sign = "+" if said > true else "−" if said < true else ""
    remark = f"{sign}{100 * relative:.1f} %"
    is_right = relative <= CLOSE_ENOUGH
    return Cell(kind.format(true), kind.format(said), is_right, relative, remark)


def _name(cell: Cell) -> str:
    return "right" if cell.is_right else "wrong"


def _cell(cell: Cell) -> str:
    sort = "9e9" if cell.error == float("inf") else f"{cell.error:.6f}"
    return f'<td class="{_name(cell)}" data-sort="{sort}">{_inside(cell)}</td>'


def _inside(cell: Cell) -> str:
    """Write the mark, the truth, and below them the answer where it differs."""
    mark, name = "✓" if cell.is_right else "✗", _name(cell)
    said = ""
    if cell.said is None:
        said = '<span class="said none">no answer</span>'
    elif cell.said != cell.true:
        said = f'<span class="said" dir="auto">{escape(cell.said)}</span>'
    remark = f'<span class="remark">{escape(cell.remark)}</span>' if cell.remark else ""
    return (
        f'<span class="mark" role="img" aria-label="{name}">{mark}</span>'
        f'<span class="true" dir="auto">{escape(cell.true)}</span>{said}{remark}'
    )


def _raw(answer: Answer, wrong: int, more: str) -> str:
    problem = f'<span class="remark">{escape(answer.problem)}</span>' if answer.problem else ""
    text = f'<code dir="auto">{escape(answer.text)}</code>'
    return f'<td class="raw" data-sort="{wrong}">{text}{problem}{more}</td>'


def _picture(evaluation: Evaluation, row: int) -> str:
    if row >= len(evaluation.seen.thumbnails):
        return ""
    data = base64.b64encode(evaluation.seen.thumbnails[row]).decode()
    alt = escape(f"picture of row {evaluation.measures.rows.ids[row]}")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{alt}" decoding="async">'
