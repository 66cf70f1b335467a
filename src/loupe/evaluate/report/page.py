"""The page: parts of the evaluation as HTML, put into the template beside this file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from html import escape
from importlib import resources
from string import Template

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.figures import figure_of, show_range
from loupe.evaluate.intervals import Interval
from loupe.evaluate.report.breakdown import render_scatters, render_slices
from loupe.evaluate.report.browser import render_filters, write_neighbours
from loupe.evaluate.report.certainty import render_certainty
from loupe.evaluate.report.evidence import render_everything, render_gains, render_ladders
from loupe.evaluate.report.maps import render_maps
from loupe.evaluate.report.rows import MAX_TABLE_ROWS, render_examples, render_rows
from loupe.evaluate.scores import is_lower_better

__all__ = ["render_report"]

SECTIONS = {
    "maps": (
        "Which part of the picture decided",
        "A grey patch slid over the picture; where it made the model's own answer less likely, the "
        "map is red, most where it did so most. A field is scored given the fields before it: "
        "where a title already tells the category, no part of the picture decides that any more.",
        "div",
    ),
    "gains": (
        "Does it look?",
        "The same model answered a grey picture (its blind twin) and another row's picture (its "
        "shuffled twin). What is left of a score then was never seen. A gain counts as evidence "
        "when its interval lies above zero over both.",
        "ul",
    ),
    "scatters": (
        "Answered against true",
        "On the dashed line an answer is exact; in the shaded band it is within 25 % of the truth. "
        "A point leads to its row.",
        "div",
    ),
    "certainty": (
        "How sure it is, and whether that holds",
        "Intervals and confidences were calibrated on validation rows "
        "(<code>loupe calibrate</code>).",
        "div",
    ),
    "slices": (
        "Where it is good, and where not",
        "The headline scores on parts of the rows. Small parts have wide intervals, and the worst "
        "of many parts looks bad even where they differ by chance alone; so the worst are named "
        "beside what chance would make of them. The interval of a single group is over its rows.",
        "div",
    ),
}


def render_report(evaluation: Evaluation) -> str:
    """Write the whole page; every text that comes from data is escaped."""
    template = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    fields = list(evaluation.measures.task.fields)
    examples, furthest_off = render_examples(evaluation)
    return template.substitute(
        style=resources.files("loupe").joinpath("page.css").read_text("utf-8"),
        title=escape(f"{evaluation.options.model} on {evaluation.options.dataset}"),
        verdict=escape(evaluation.verdict),
        facts=_facts(evaluation),
        cards="\n".join(_cards(evaluation)),
        examples=examples,
        furthest_off=furthest_off or "<p>No answer is wrong.</p>",
        gains=_section("gains", render_gains(evaluation)),
        ladders="\n".join(render_ladders(evaluation)),
        everything=render_everything(evaluation),
        scatters=_section("scatters", render_scatters(evaluation)),
        certainty=_section("certainty", render_certainty(evaluation)),
        slices=_section("slices", render_slices(evaluation)),
        maps=_section("maps", render_maps(evaluation)),
        states="".join(f'<option value="{escape(f)}">{escape(f)} wrong</option>' for f in fields),
        filters=render_filters(evaluation),
        neighbours=write_neighbours(evaluation),
        headings="".join(f"<th><button>{escape(field)}</button></th>" for field in fields),
        rows=render_rows(evaluation),
        rows_note=_rows_note(evaluation),
        notes="".join(f"<li>{escape(note)}</li>" for note in evaluation.notes),
        options=escape(json.dumps(asdict(evaluation.options), indent=2, ensure_ascii=False)),
    )


def _section(name: str, parts: Iterable[str]) -> str:
    """Put parts under their heading; nothing where there are none."""
    heading, introduction, tag = SECTIONS[name]
    body = "\n".join(parts)
    if not body:
        return ""
    return (
        f"<section><h2>{heading}</h2>\n<p>{introduction}</p>\n"
        f'<{tag} class="{name}">\n{body}\n</{tag}></section>'
    )


def _facts(evaluation: Evaluation) -> str:
    rows, options = evaluation.measures.rows, evaluation.options
    facts = {
        "model": options.model,
        "dataset": f"{options.dataset}, {options.split} split",
        "rows": f"{len(rows):,} in {len(set(rows.groups)):,} groups",
        "intervals": f"{100 * options.confidence:g} %, {options.bootstrap:,} resamples of groups",
        "fingerprint": (evaluation.fingerprint or "none")[:12],
    }
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())


def _cards(evaluation: Evaluation) -> Iterator[str]:
    for score in [*evaluation.headlines(), "parse_rate"]:
        figure = figure_of(evaluation.measures.task, score)
        held = evaluation.model.scores[score]
        lines = [
            f"<dt>{escape(label)}</dt><dd>{escape(figure.show(interval.value))}</dd>"
            for label, interval in _beside(evaluation, score)
        ]
        yield (
            f'<article class="card"><h3>{escape(figure.field or "")} <span>{escape(figure.label)}'
            f'</span></h3><p class="big">{escape(figure.show(held.value))}</p>'
            f'<p class="range">{escape(show_range(figure, held))}</p><dl>{"".join(lines)}</dl>'
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


def _rows_note(evaluation: Evaluation) -> str:
    rows = len(evaluation.measures.rows)
    if rows <= MAX_TABLE_ROWS:
        return ""
    return f"The first {MAX_TABLE_ROWS:,} of {rows:,} rows; the rest are in predictions.parquet."
