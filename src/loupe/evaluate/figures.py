"""How scores are named and written for people: in the terminal and in the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loupe.evaluate.intervals import Interval
from loupe.task import Task

__all__ = ["Figure", "align_columns", "figure_of", "show_interval", "show_number", "show_range"]


@dataclass(frozen=True)
class Figure:
    """A score's name in words and the way its values are written."""

    field: str | None
    label: str
    form: Literal["share", "fraction", "amount"]
    unit: str = ""

    @property
    def name(self) -> str:
        """The field with the score's label."""
        return self.label if self.field is None else f"{self.field}: {self.label}"

    def show(self, value: float) -> str:
        """Write a value: shares as percentages, the rest as numbers."""
        if self.form == "share":
            return f"{100 * value:.1f} %"
        if self.form == "fraction":
            return f"{value:.3f}"
        return f"{show_number(value)}{self.unit}"

    def show_difference(self, value: float) -> str:
        """Write a difference of two values, with its sign; of shares in percentage points."""
        sign = "−" if value < 0 else "+"
        text = f"{100 * abs(value):.1f} points" if self.form == "share" else self.show(abs(value))
        return sign + text


FIGURES: dict[str, tuple[str, Literal["share", "fraction", "amount"]]] = {
    "parse_rate": ("answers that parse", "share"),
    "exact_match": ("exact match", "share"),
    "token_f1": ("token F1", "fraction"),
    "chrf": ("chrF", "fraction"),
    "accuracy": ("accuracy", "share"),
    "macro_f1": ("macro F1", "fraction"),
    "median_ape": ("median error", "share"),
    "mean_abs_log_error": ("mean log error", "fraction"),
    "mae": ("mean absolute error", "amount"),
    "within_10_percent": ("within 10 %", "share"),
    "within_25_percent": ("within 25 %", "share"),
    "word_accuracy": ("word accuracy", "share"),
    "word_accuracy_with_none": ("word accuracy, silence included", "share"),
}


def figure_of(task: Task, score: str) -> Figure:
    """Describe a score by its name, such as `full_price_median_ape`."""
    ends = [end for end in FIGURES if score == end or score.endswith(f"_{end}")]
    end = max(ends, key=len)
    label, form = FIGURES[end]
    field = score.removesuffix(end).removesuffix("_") or None
    currency = getattr(task.fields.get(field or ""), "currency", "")
    return Figure(field, label, form, f" {currency}" if currency else "")


def show_interval(figure: Figure, interval: Interval) -> str:
    """Write a score with its interval: `95.3 % (93.1 to 97.2 %)`."""
    return f"{figure.show(interval.value)} ({show_range(figure, interval)})"


def show_range(figure: Figure, interval: Interval) -> str:
    """Write an interval alone, its unit once: `93.1 to 97.2 %`."""
    low = figure.show(interval.low).removesuffix(" %").removesuffix(figure.unit)
    return f"{low} to {figure.show(interval.high)}"


def show_number(value: float) -> str:
    """Write a number with as many digits as a reader needs.

    >>> [show_number(value) for value in (0.1234, 12.5, 1290.0, 1234567.8)]
    ['0.123', '12.5', '1,290', '1,234,568']
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def align_columns(lines: list[list[str]]) -> list[str]:
    """Write a table as lines of text: the first column to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
