"""What `loupe evaluate` hands back: the scores, and a page of text for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from loupe.evaluate.evaluation import STAGE
from loupe.evaluate.figures import Figure, align_columns, figure_of, show_interval, show_range
from loupe.evaluate.intervals import Interval
from loupe.task import Task

__all__ = ["EvaluateResult"]

TEXT_COLUMNS = 100


@dataclass(frozen=True)
class EvaluateResult:
    """A finished evaluation."""

    output: str
    """The folder that was written."""
    scores: dict[str, Any]
    """The content of its scores.json."""

    @property
    def report(self) -> str:
        """Path of the report."""
        return str(Path(self.output) / "report.html")

    def to_dict(self) -> dict[str, Any]:
        """Give scores.json with the paths of what was written."""
        return {"output": self.output, "report": self.report, **self.scores}

    def summary(self) -> str:
        """Tell a person what came out, and what to run next."""
        counts, dataset = self.scores["counts"], self.scores["dataset"]
        head = (
            f"{counts['rows']:,} {dataset['split']} rows in {counts['groups']:,} groups; "
            f"{counts['unparsed']:,} answers do not parse."
        )
        last = (
            f"Wrote {self.report}, scores.json and predictions.parquet. "
            f"Next: `loupe predict PICTURE --model {self.scores['model']}`"
        )
        gains = self.scores["picture_gain"].values()
        told = [f"  {gain['text']}" for gain in gains if gain["looks"] is not None]
        notes = [f"Note: {note}" for note in self.scores["notes"]]
        paragraphs = [
            [head],
            self._ladder(),
            [_wrapped(f"Also: {'; '.join(self._further())}.")],
            [_wrapped(line) for line in [self.scores["verdict"], *told]],
            [_wrapped(line) for line in notes],
            [last],
        ]
        return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)

    def _ladder(self) -> list[str]:
        """Put the headline scores of everyone who answered into one table."""
        figures = {name: self._figure(name) for name in self.scores["beaten"]}
        mine = {name: Interval(**self.scores["scores"][name]) for name in figures}
        lines = [
            ["", *(figure.field or "" for figure in figures.values())],
            ["", *(figure.label for figure in figures.values())],
            ["model", *(figures[name].show(held.value) for name, held in mine.items())],
            [f"  {100 * self.scores['confidence']:g} % interval"]
            + [show_range(figures[name], held) for name, held in mine.items()],
        ]
        for label, scores in self._others():
            shown = [(figure, scores.get(name)) for name, figure in figures.items()]
            lines.append([label, *(_show(figure, score) for figure, score in shown)])
        return align_columns(lines)

    def _others(self) -> Iterator[tuple[str, dict[str, Any]]]:
        others = (self.scores[kind].values() for kind in ("variants", "twins", "baselines"))
        for other in chain.from_iterable(others):
            yield other["label"] + (" (oracle)" if other["is_oracle"] else ""), other["scores"]
        if self.scores["best_possible"] is not None:
            yield "best possible", self.scores["best_possible"]

    def _further(self) -> list[str]:
        """Write the model's scores that the ladder does not show."""
        rest = {k: v for k, v in self.scores["scores"].items() if k not in self.scores["beaten"]}
        figures = {name: self._figure(name) for name in rest}
        return [
            f"{figures[name].name} {show_interval(figures[name], Interval(**held))}"
            for name, held in rest.items()
        ]

    def _figure(self, name: str) -> Figure:
        task = Task.from_dict(self.scores["dataset"]["task"])
        return figure_of(task, name.removeprefix(STAGE))


def _show(figure: Figure, score: dict[str, float] | None) -> str:
    return "–" if score is None else figure.show(score["value"])


def _wrapped(text: str) -> str:
    indent = "    " if text.startswith(" ") else ""
    return textwrap.fill(text, TEXT_COLUMNS, subsequent_indent=indent)
