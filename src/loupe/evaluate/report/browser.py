"""What the table of rows is filtered by, and each row's neighbours among the training pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from html import escape
from typing import Any

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.neighbours import Neighbours
from loupe.evaluate.scores import is_number

__all__ = ["render_filters", "render_neighbours", "write_neighbours"]


def render_filters(evaluation: Evaluation) -> str:
    """Offer each choice field's values, and how far each number is off at least."""
    return "".join([*_choice_filters(evaluation), *_number_filters(evaluation)])


def _choice_filters(evaluation: Evaluation) -> Iterator[str]:
    task, truths = evaluation.measures.task, evaluation.measures.rows.truths
    for field, kind in task.fields.items():
        if kind.type != "choice":
            continue
        values = map(escape, sorted({str(truth[field]) for truth in truths}))
        options = "".join(f'<option value="{value}">{value}</option>' for value in values)
        yield (
            f'<label>{escape(field)} <select class="choice" data-field="{escape(field)}">'
            f'<option value="">all</option>{options}</select></label>'
        )


def _number_filters(evaluation: Evaluation) -> Iterator[str]:
    task = evaluation.measures.task
    for field in task.fields:
        if is_number(task, field):
            yield (
                f'<label>{escape(field)} off by more than <input type="number" min="0" step="5" '
                f'class="above" data-field="{escape(field)}" placeholder="0"> %</label>'
            )


def render_neighbours(evaluation: Evaluation, row: int) -> str:
    """Give what opens on a row's neighbours; their pictures stand once on the page, in the blob."""
    neighbours = evaluation.neighbours
    if neighbours is None or row >= len(neighbours.of_row):
        return ""
    places = " ".join(map(str, neighbours.of_row[row]))
    return (
        f'<details class="near" data-near="{places}"><summary>nearest in training</summary>'
        "</details>"
    )


def write_neighbours(evaluation: Evaluation) -> str:
    """Write the training rows that are anybody's neighbours as JSON that may stand in a page."""
    neighbours = evaluation.neighbours
    if neighbours is None:
        return "{}"
    places = sorted({place for places in neighbours.of_row for place in places})
    told = {str(place): _tell(evaluation, neighbours, place) for place in places}
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _tell(evaluation: Evaluation, neighbours: Neighbours, place: int) -> dict[str, Any]:
    truth, picture = neighbours.train.truths[place], neighbours.thumbnails.get(place)
    fields = evaluation.measures.task.fields
    return {
        "id": neighbours.train.ids[place],
        "values": [field.format(truth[name]) for name, field in fields.items()],
        "picture": "" if picture is None else base64.b64encode(picture).decode(),
    }
