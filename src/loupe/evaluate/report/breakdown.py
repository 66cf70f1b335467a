"""The report's closer look: numbers answered against true ones, and scores on parts of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.figures import Figure, figure_of, show_interval
from loupe.evaluate.report.evidence import show_score
from loupe.evaluate.report.plots import Axis, Point, draw_scatter
from loupe.evaluate.report.rows import CLOSE_ENOUGH, MAX_TABLE_ROWS
from loupe.evaluate.scores import bounded_number, is_number
from loupe.evaluate.slices import Chance, Slice
from loupe.evaluate.systems import Measured
from loupe.task import Answer

__all__ = ["render_scatters", "render_slices"]

MAX_SLICES = 40
LIKELY_BY_CHANCE = 0.05


def render_scatters(evaluation: Evaluation) -> Iterator[str]:
    """Draw what was answered against what is true, for each number that anyone answered."""
    task = evaluation.measures.task
    shown = [evaluation.model, *evaluation.twins]
    for field in task.fields:
        if not is_number(task, field):
            continue
        true = [float(truth[field]) for truth in evaluation.measures.rows.truths]
        axis = Axis.around(true)
        speaking = [
            m for m in shown if any(n is not None for n in _numbers(m.system.answers, field))
        ]
        for measured in speaking:
            yield _scatter(evaluation, measured, field, axis)


def _scatter(evaluation: Evaluation, measured: Measured, field: str, axis: Axis) -> str:
    rows = evaluation.measures.rows
    unit = figure_of(evaluation.measures.task, f"{field}_mae").unit
    said = _numbers(measured.system.answers, field)
    points = [
        _point(number, float(rows.truths[row][field]), row, rows.ids[row])
        for row, number in enumerate(said)
        if number is not None
    ]
    silent = len(said) - len(points)
    caption = f"{field}: {measured.system.label}"
    note = f" <small>{silent:,} of {len(said):,} do not parse</small>" if silent else ""
    drawn = draw_scatter(points, axis, unit, f"{caption}, answered against true")
    return f"<figure><figcaption>{escape(caption)}{note}</figcaption>{drawn}</figure>"


def _point(said: float, true: float, row: int, name: str) -> Point:
    is_right = abs(said - true) <= CLOSE_ENOUGH * abs(true)
    linked = f"r{row}" if row < MAX_TABLE_ROWS else "rows"
    return Point(true, said, is_right, linked, f"{name}: true {true:,g}, answered {said:,g}")


def _numbers(answers: Sequence[Answer], field: str) -> list[float | None]:
    return [None if a.values is None else bounded_number(a.values[field]) for a in answers]


def render_slices(evaluation: Evaluation) -> Iterator[str]:
    """Name the worst parts, then give the headline scores of all."""
    slices = evaluation.slices
    if slices.worst:
        named = (_worst_line(evaluation, score, part) for score, part in slices.worst.items())
        yield f"<ul>{''.join(named)}</ul>"
    for by in dict.fromkeys(part.by for part in slices.all):
        yield _slice_table(evaluation, [part for part in slices.all if part.by == by])


def _worst_line(evaluation: Evaluation, score: str, part: Slice) -> str:
    figure = figure_of(evaluation.measures.task, score)
    return (
        f"<li>{escape(figure.name)}: worst for <b>{escape(part.by)} {escape(part.name)}</b>, "
        f"{escape(show_interval(figure, part.scores[score]))}. <small>"
        f"{escape(_say_chance(figure, evaluation.slices.by_chance[score]))}</small></li>"
    )


def _say_chance(figure: Figure, chance: Chance) -> str:
    """Say how bad the worst would be if the parts meant nothing."""
    said = (
        f"The worst of {chance.parts:,} parts of such sizes, filled at random, would be "
        f"{figure.show(chance.worst)} or worse half of the time"
    )
    if chance.share > LIKELY_BY_CHANCE:
        return f"{said}, and as bad as this one {100 * chance.share:.0f} % of the time: chance."
    return f"{said}, and hardly ever as bad as this one."


def _slice_table(evaluation: Evaluation, slices: Sequence[Slice]) -> str:
    scores = [name for name in evaluation.headlines() if any(name in s.scores for s in slices)]
    figures = [figure_of(evaluation.measures.task, score) for score in scores]
    heads = "".join(f'<th scope="col">{escape(figure.name)}</th>' for figure in figures)
    lines = "".join(_slice_line(evaluation, part, scores) for part in slices[:MAX_SLICES])
    rest = len(slices) - MAX_SLICES
    more = f"<p>{rest} more are in scores.json.</p>" if rest > 0 else ""
    return (
        f"<h3>By {escape(slices[0].by)}</h3><div class='scroll'><table class='slices'><thead><tr>"
        f"<td></td><th scope='col'>rows</th>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        "</div>"
        f"{more}"
    )


def _slice_line(evaluation: Evaluation, part: Slice, scores: Sequence[str]) -> str:
    cells = []
    for score in scores:
        held, figure = part.scores.get(score), figure_of(evaluation.measures.task, score)
        share = 0.0 if held is None else min(max(held.value, 0.0), 1.0)
        cells.append(f'<td><i style="--share:{share:.3f}"></i>{show_score(figure, held)}</td>')
    return (
        f'<tr><th scope="row" dir="auto">{escape(part.name)}</th><td>{part.rows:,}</td>'
        f"{''.join(cells)}</tr>"
    )
