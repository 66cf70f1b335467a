"""The page: parts of the evaluation as HTML, put into the template beside this file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from string import Template

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.figures import Figure, figure_of, show_interval, show_range
from loupe.evaluate.intervals import Interval
from loupe.evaluate.report.plots import Axis, Bar, Point, draw_bars, draw_scatter
from loupe.evaluate.report.rows import (
    CLOSE_ENOUGH,
    MAX_TABLE_ROWS,
    render_examples,
    render_rows,
)
from loupe.evaluate.scores import is_lower_better, is_number
from loupe.evaluate.slices import Slice, worst_slices
from loupe.evaluate.systems import Measured
from loupe.evaluate.verdict import describe_gain
from loupe.task import Answer

__all__ = ["render_report"]

MAX_SLICES = 40


def render_report(evaluation: Evaluation) -> str:
    """Write the whole page; every text that comes from data is escaped."""
    template = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    fields = list(evaluation.measures.task.fields)
    examples, furthest_off = render_examples(evaluation)
    return template.substitute(
        title=escape(f"{evaluation.options.model} on {evaluation.options.dataset}"),
        verdict=escape(evaluation.verdict),
        facts=_facts(evaluation),
        cards="\n".join(_cards(evaluation)),
        examples=examples,
        furthest_off=furthest_off or "<p>No answer is wrong.</p>",
        gains="\n".join(_gains(evaluation)),
        ladders="\n".join(_ladders(evaluation)),
        everything=_everything(evaluation),
        scatters="\n".join(_scatters(evaluation)),
        slices="\n".join(_slices(evaluation)),
        states="".join(f'<option value="{_text(f)}">{_text(f)} wrong</option>' for f in fields),
        choices=_choices(evaluation),
        headings="".join(f"<th><button>{_text(field)}</button></th>" for field in fields),
        rows=render_rows(evaluation),
        rows_note=_rows_note(evaluation),
        notes="".join(f"<li>{_text(note)}</li>" for note in evaluation.notes),
        options=_text(json.dumps(asdict(evaluation.options), indent=2, ensure_ascii=False)),
    )


def _text(value: object) -> str:
    return escape(str(value))


def _figure(evaluation: Evaluation, score: str) -> Figure:
    return figure_of(evaluation.measures.task, score)


def _everyone(evaluation: Evaluation) -> list[Measured]:
    best = [] if evaluation.best_possible is None else [evaluation.best_possible]
    return [evaluation.model, *best, *evaluation.twins, *evaluation.baselines]


def _label(measured: Measured) -> str:
    return measured.system.label + (" (oracle)" if measured.system.is_oracle else "")


def _facts(evaluation: Evaluation) -> str:
    rows, options = evaluation.measures.rows, evaluation.options
    facts = {
        "model": options.model,
        "dataset": f"{options.dataset}, {options.split} split",
        "rows": f"{len(rows):,} in {len(set(rows.groups)):,} groups",
        "intervals": f"{100 * options.confidence:g} %, {options.bootstrap:,} resamples of groups",
        "fingerprint": (evaluation.fingerprint or "none")[:12],
    }
    return "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in facts.items())


def _cards(evaluation: Evaluation) -> Iterator[str]:
    for score in [*evaluation.headlines(), "parse_rate"]:
        figure, held = _figure(evaluation, score), evaluation.model.scores[score]
        lines = [
            f"<dt>{_text(label)}</dt><dd>{_text(figure.show(interval.value))}</dd>"
            for label, interval in _beside(evaluation, score)
        ]
        yield (
            f'<article class="card"><h3>{_text(figure.field or "")} <span>{_text(figure.label)}'
            f'</span></h3><p class="big">{_text(figure.show(held.value))}</p>'
            f'<p class="range">{_text(show_range(figure, held))}</p><dl>{"".join(lines)}</dl>'
            "</article>"
        )


def _beside(evaluation: Evaluation, score: str) -> Iterator[tuple[str, Interval]]:
    """Choose what a headline figure is read against: best possible, best baseline, blind."""
    if evaluation.best_possible and score in evaluation.best_possible.scores:
        yield "best possible", evaluation.best_possible.scores[score]
    fair = [m for m in evaluation.baselines if score in m.scores and not m.system.is_oracle]
    if fair:
        sign = 1 if is_lower_better(score) else -1
        best = min(fair, key=lambda measured: sign * measured.scores[score].value)
        yield "best baseline", best.scores[score]
    for twin in evaluation.twins:
        if score in twin.scores:
            yield twin.system.label.partition(":")[0], twin.scores[score]


def _gains(evaluation: Evaluation) -> Iterator[str]:
    for gain in evaluation.gains:
        if gain.by_twin:
            name, mark = ("right", "✓") if gain.looks else ("wrong", "✗")
            text = describe_gain(evaluation.measures.task, gain)
            yield f'<li class="{name}"><span class="mark">{mark}</span>{_text(text)}</li>'


def _ladders(evaluation: Evaluation) -> Iterator[str]:
    for score in evaluation.headlines():
        bars = [
            Bar(_label(measured), measured.scores[score], measured.system.role)
            for measured in _everyone(evaluation)
            if score in measured.scores
        ]
        figure = _figure(evaluation, score)
        better = "less is better" if is_lower_better(score) else "more is better"
        yield (
            f"<figure><figcaption>{_text(figure.name)} <small>{better}</small></figcaption>"
            f"{draw_bars(bars, figure)}</figure>"
        )


def _everything(evaluation: Evaluation) -> str:
    everyone, scores = _everyone(evaluation), evaluation.model.scores
    figures = {score: _figure(evaluation, score) for score in scores}
    heads = "".join(f'<th scope="col">{_text(f.name)}</th>' for f in figures.values())
    lines = []
    for measured in everyone:
        cells = "".join(
            f"<td>{_show(figures[score], measured.scores.get(score))}</td>" for score in scores
        )
        role = measured.system.role
        lines.append(
            f'<tr class="{role}"><th scope="row">{_text(_label(measured))}</th>{cells}</tr>'
        )
    return f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _show(figure: Figure, interval: Interval | None) -> str:
    if interval is None:
        return '<span class="none">–</span>'
    return (
        f"<b>{_text(figure.show(interval.value))}</b>"
        f"<small>{_text(show_range(figure, interval))}</small>"
    )


def _scatters(evaluation: Evaluation) -> Iterator[str]:
    task = evaluation.measures.task
    shown = [evaluation.model, *evaluation.twins]
    for field in task.fields:
        if not is_number(task, field):
            continue
        true = [float(truth[field]) for truth in evaluation.measures.rows.truths]
        said = _numbers(evaluation.seen.answers, field)
        axis = Axis.around([*true, *(number for number in said if number is not None)])
        for measured in shown:
            yield _scatter(evaluation, measured, field, axis)


def _scatter(evaluation: Evaluation, measured: Measured, field: str, axis: Axis) -> str:
    rows = evaluation.measures.rows
    unit = _figure(evaluation, f"{field}_mae").unit
    said = _numbers(measured.system.answers, field)
    points = [
        _point(number, float(rows.truths[row][field]), row, rows.ids[row])
        for row, number in enumerate(said)
        if number is not None
    ]
    silent = len(said) - len(points)
    caption = f"{field}: {measured.system.label}"
    note = f" <small>{silent:,} of {len(said):,} do not parse</small>" if silent else ""
    drawn = "<p>No answer parses, so there is nothing to draw.</p>"
    if points:
        drawn = draw_scatter(points, axis, unit, f"{caption}, answered against true")
    return f"<figure><figcaption>{_text(caption)}{note}</figcaption>{drawn}</figure>"


def _point(said: float, true: float, row: int, name: str) -> Point:
    is_right = abs(said - true) <= CLOSE_ENOUGH * abs(true)
    linked = f"r{row}" if row < MAX_TABLE_ROWS else "rows"
    return Point(true, said, is_right, linked, f"{name}: true {true:,g}, answered {said:,g}")


def _numbers(answers: Sequence[Answer], field: str) -> list[float | None]:
    return [None if a.values is None else float(a.values[field]) for a in answers]


def _slices(evaluation: Evaluation) -> Iterator[str]:
    worst = worst_slices(evaluation.slices)
    if worst:
        named = (
            f"<li>{_text(_figure(evaluation, score).name)}: worst for <b>{_text(part.by)} "
            f"{_text(part.name)}</b>, "
            f"{_text(show_interval(_figure(evaluation, score), part.scores[score]))}</li>"
            for score, part in worst.items()
        )
        yield f"<ul>{''.join(named)}</ul>"
    for by in dict.fromkeys(part.by for part in evaluation.slices):
        yield _slice_table(evaluation, [part for part in evaluation.slices if part.by == by])


def _slice_table(evaluation: Evaluation, slices: Sequence[Slice]) -> str:
    scores = list(slices[0].scores)
    heads = "".join(
        f'<th scope="col">{_text(_figure(evaluation, score).name)}</th>' for score in scores
    )
    lines = "".join(_slice_line(evaluation, part, scores) for part in slices[:MAX_SLICES])
    rest = len(slices) - MAX_SLICES
    more = f"<p>{rest} more are in scores.json.</p>" if rest > 0 else ""
    return (
        f"<h3>By {_text(slices[0].by)}</h3><div class='scroll'><table class='slices'><thead><tr>"
        f"<td></td><th scope='col'>rows</th>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        "</div>"
        f"{more}"
    )


def _slice_line(evaluation: Evaluation, part: Slice, scores: Sequence[str]) -> str:
    cells = []
    for score in scores:
        held, figure = part.scores.get(score), _figure(evaluation, score)
        share = 0.0 if held is None else min(max(held.value, 0.0), 1.0)
        cells.append(f'<td><i style="--share:{share:.3f}"></i>{_show(figure, held)}</td>')
    return (
        f'<tr><th scope="row" dir="auto">{_text(part.name)}</th><td>{part.rows:,}</td>'
        f"{''.join(cells)}</tr>"
    )


def _choices(evaluation: Evaluation) -> str:
    """Offer the first choice field's values as a filter."""
    task, truths = evaluation.measures.task, evaluation.measures.rows.truths
    field = next((name for name, kind in task.fields.items() if kind.type == "choice"), None)
    if field is None:
        return ""
    values = sorted({str(truth[field]) for truth in truths})
    options = "".join(f'<option value="{_text(value)}">{_text(value)}</option>' for value in values)
    return (
        f'<label>{_text(field)} <select id="slice"><option value="">all</option>{options}</select>'
        "</label>"
    )


def _rows_note(evaluation: Evaluation) -> str:
    rows = len(evaluation.measures.rows)
    if rows <= MAX_TABLE_ROWS:
        return ""
    return f"The first {MAX_TABLE_ROWS:,} of {rows:,} rows; the rest are in predictions.parquet."
