"""The test scores of an evaluation, as a section of the model's card."""

from __future__ import annotations

from collections.abc import Mapping

from loupe.card import as_table
from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.figures import Figure, figure_of, show_interval
from loupe.evaluate.intervals import Interval

__all__ = ["describe_test_scores"]


def describe_test_scores(evaluation: Evaluation) -> str:
    """Write the model's scores and its twins' with intervals, as Markdown."""
    measures, twins = evaluation.measures, evaluation.twins
    head = ["score", f"model ({100 * measures.confidence:g} % interval)"]
    rows = []
    for name in evaluation.model.scores:
        figure = figure_of(measures.task, name)
        everyone = (evaluation.model, *twins)
        rows.append([figure.name, *(_show(figure, each.scores, name) for each in everyone)])
    counted = (
        f"{len(measures.rows):,} test rows in {len(set(measures.rows.groups)):,} groups, answered "
        f"free-running; fingerprint of their dataset: `{evaluation.fingerprint}`."
    )
    table = as_table([*head, *(twin.system.label for twin in twins)], rows)
    return f"{counted}\n\n{table}\n\n{evaluation.verdict}"


def _show(figure: Figure, scores: Mapping[str, Interval], name: str) -> str:
    return show_interval(figure, scores[name]) if name in scores else ""
