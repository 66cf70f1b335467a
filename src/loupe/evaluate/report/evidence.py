"""The report's comparisons: what the picture is worth, and the scores of everyone who answered."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.figures import Figure, figure_of, show_range
from loupe.evaluate.intervals import Interval
from loupe.evaluate.report.plots import Bar, draw_bars
from loupe.evaluate.scores import is_lower_better
from loupe.evaluate.systems import Measured
from loupe.evaluate.verdict import describe_gain

__all__ = ["render_everything", "render_gains", "render_ladders", "show_score"]


def render_gains(evaluation: Evaluation) -> Iterator[str]:
    """Say what the picture is worth, score by score."""
    for gain in evaluation.gains:
        if gain.by_twin:
            name, mark = ("right", "✓") if gain.looks else ("wrong", "✗")
            text = describe_gain(evaluation.measures.task, gain)
            yield f'<li class="{name}"><span class="mark">{mark}</span>{escape(text)}</li>'


def render_ladders(evaluation: Evaluation) -> Iterator[str]:
    """Draw each headline score of everyone who answered."""
    for score in evaluation.headlines():
        bars = [
            Bar(_label(measured), measured.scores[score], measured.system.role)
            for measured in _everyone(evaluation)
            if score in measured.scores
        ]
        figure = figure_of(evaluation.measures.task, score)
        better = "less is better" if is_lower_better(score) else "more is better"
        yield (
            f"<figure><figcaption>{escape(figure.name)} <small>{better}</small></figcaption>"
            f"{draw_bars(bars, figure)}</figure>"
        )


def render_everything(evaluation: Evaluation) -> str:
    """Give all scores of all systems as one table."""
    everyone, scores = _everyone(evaluation), evaluation.model.scores
    figures = {score: figure_of(evaluation.measures.task, score) for score in scores}
    heads = "".join(f'<th scope="col">{escape(f.name)}</th>' for f in figures.values())
    lines = []
    for measured in everyone:
        cells = "".join(
            f"<td>{show_score(figures[score], measured.scores.get(score))}</td>" for score in scores
        )
        role = measured.system.role
        lines.append(
            f'<tr class="{role}"><th scope="row">{escape(_label(measured))}</th>{cells}</tr>'
        )
    return f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def show_score(figure: Figure, interval: Interval | None) -> str:
    """Write a score and its interval; a dash where there is none."""
    if interval is None:
        return '<span class="none">–</span>'
    return (
        f"<b>{escape(figure.show(interval.value))}</b>"
        f"<small>{escape(show_range(figure, interval))}</small>"
    )


def _everyone(evaluation: Evaluation) -> list[Measured]:
    best = [] if evaluation.best_possible is None else [evaluation.best_possible]
    return [evaluation.model, *evaluation.variants, *best, *evaluation.twins, *evaluation.baselines]


def _label(measured: Measured) -> str:
    return measured.system.label + (" (oracle)" if measured.system.is_oracle else "")
