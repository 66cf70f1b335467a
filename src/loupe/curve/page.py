"""The curve for people: a table with what each step to more rows gave, and a drawing as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from loupe.evaluate.figures import Figure, align_columns, figure_of
from loupe.evaluate.intervals import Interval
from loupe.task import Task

__all__ = ["describe_curve", "draw"]

WIDTH_PX, HEIGHT_PX = 360, 260  # of a panel
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 64, 16, 40, 40
ROOM = 0.08  # above and below what is drawn
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.head{font-weight:600;font-size:13px}"
    ".frame{fill:none;stroke:#ccc}.line{fill:none;stroke:#2b5fb3;stroke-width:2}"
    ".run{stroke:#2b5fb3;stroke-width:1.5;opacity:.55}circle{fill:#2b5fb3}"
)


@dataclass(frozen=True)
class Course:
    """One score over the shares."""

    figure: Figure
    rows: tuple[int, ...]
    """Training rows of each share, the mean over its runs."""
    runs: tuple[tuple[Interval, ...], ...]
    """Of each share, the score of each run."""

    def means(self) -> list[float]:
        """Give each share's mean over its runs."""
        return [sum(run.value for run in runs) / len(runs) for runs in self.runs]


def describe_curve(record: Mapping[str, Any]) -> str:
    """Write the scores of each share, and what each step to more rows gave."""
    courses = _courses(record)
    lines = [["share", "rows", *(course.figure.name for course in courses.values())]]
    for place, point in enumerate(record["shares"]):
        rows = f"{next(iter(courses.values())).rows[place]:,}"
        shown = [course.figure.show(course.means()[place]) for course in courses.values()]
        lines.append([f"{point['share']:g}", rows, *shown])
    steps = [line for step in record["steps"] for line in _describe_step(step, courses)]
    told = dict.fromkeys(note for step in record["steps"] for note in step["notes"])
    notes = [f"Note: {note}" for note in told]
    return "\n".join([*align_columns(lines), "", *steps, *notes]).rstrip()


def _describe_step(step: Mapping[str, Any], courses: Mapping[str, Course]) -> Iterator[str]:
    yield f"From share {step['from']:g} to {step['to']:g}:"
    for name, held in step["scores"].items():
        figure, gain = courses[name].figure, held["advantage"]
        low, high = (
            figure.show_difference(gain[end]).removesuffix(" points") for end in ("low", "high")
        )
        verdict = {"second": "better", "first": "worse"}.get(held["better"], "no difference shown")
        gained = figure.show_difference(gain["value"])
        yield f"  {figure.name}: {verdict}, {gained} ({low} to {high})"


def draw(record: Mapping[str, Any]) -> str:
    """Draw each score against the number of training rows: runs as dots, their mean as a line."""
    courses = list(_courses(record).values())
    panels = "".join(
        f'<g transform="translate({place * WIDTH_PX} 0)">{"".join(_panel(course))}</g>'
        for place, course in enumerate(courses)
    )
    width = WIDTH_PX * len(courses)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT_PX}" '
        f'width="{width}" height="{HEIGHT_PX}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{panels}</svg>\n'
    )


def _courses(record: Mapping[str, Any]) -> dict[str, Course]:
    """Give each score's course, by the score's name; a score that a run lacks has none."""
    task, points = Task.from_dict(record["task"]), record["shares"]
    runs = [point["runs"] for point in points]
    rows = tuple(round(sum(run["train_rows"] for run in held) / len(held)) for held in runs)
    everyone = [run["scores"] for held in runs for run in held]
    return {
        name.removeprefix("evaluate/"): Course(
            figure_of(task, name.removeprefix("evaluate/")),
            rows,
            tuple(tuple(Interval(**run["scores"][name]) for run in held) for held in runs),
        )
        for name in everyone[0]
        if all(name in scores for scores in everyone)
    }


def _panel(course: Course) -> Iterator[str]:
    everyone = [run for runs in course.runs for run in runs]
    low, high = min(run.low for run in everyone), max(run.high for run in everyone)
    room = ROOM * (high - low) or ROOM * abs(high) or 1.0
    right, bottom = WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX
    across = _scale([math.log(rows) for rows in course.rows], LEFT_PX + 20, right - 20)
    down = _scale([low - room, high + room], bottom, TOP_PX)
    yield f'<text class="head" x="{LEFT_PX}" y="24">{escape(course.figure.name)}</text>'
    yield (
        f'<rect class="frame" x="{LEFT_PX}" y="{TOP_PX}" width="{right - LEFT_PX}" '
        f'height="{bottom - TOP_PX}"/>'
    )
    for value in (low, (low + high) / 2, high):
        yield (
            f'<text x="{LEFT_PX - 6}" y="{down(value) + 4:.1f}" text-anchor="end">'
            f"{escape(course.figure.show(value))}</text>"
        )
    corners = []
    for rows, runs, mean in zip(course.rows, course.runs, course.means(), strict=True):
        x = across(math.log(rows))
        corners.append(f"{x:.1f},{down(mean):.1f}")
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{rows:,}</text>'
        for run in runs:
            low_y, y, high_y = (f"{down(value):.1f}" for value in (run.low, run.value, run.high))
            yield f'<line class="run" x1="{x:.1f}" x2="{x:.1f}" y1="{low_y}" y2="{high_y}"/>'
            yield f'<circle cx="{x:.1f}" cy="{y}" r="4"/>'
    yield f'<polyline class="line" points="{" ".join(corners)}"/>'
    middle = (LEFT_PX + right) / 2
    yield f'<text x="{middle}" y="{HEIGHT_PX - 6}" text-anchor="middle">training rows</text>'


def _scale(numbers: Sequence[float], first: float, last: float) -> Any:
    """Give the function that maps the least of the numbers to `first` and the largest to `last`."""
    low, high = min(numbers), max(numbers)
    if low == high:
        return lambda _: (first + last) / 2
    return lambda number: first + (number - low) / (high - low) * (last - first)
