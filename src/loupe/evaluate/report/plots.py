"""The report's drawings, as SVG text: predicted against true numbers, and scores side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from loupe.evaluate.figures import Figure, show_number
from loupe.evaluate.intervals import Interval

__all__ = ["Axis", "Bar", "Point", "draw_bars", "draw_scatter"]

SIDE_PX = 380
MARGIN_PX = 52  # left of and below the plane, for numbers and names
EDGE_PX = 18  # above it and to its right
ROW_PX = 26
LABEL_PX = 300
LABEL_CHARACTERS = 44
VALUE_PX = 84
BARS_WIDTH_PX = 700
BAND = 0.25  # the share off the truth that the scatter shades
LOG_SPREAD = 10  # a range of at least so many times its low end is drawn on log axes


@dataclass(frozen=True)
class Axis:
    """A range of numbers, evenly spaced as they are or by their logarithms."""

    low: float
    high: float
    is_log: bool

    @classmethod
    def around(cls, numbers: Sequence[float]) -> Axis:
        """Span true numbers with room for answers; on a log scale where they are spread widely."""
        low, high = min(numbers), max(numbers)
        if low > 0 and high / low >= LOG_SPREAD:
            return cls(low / 1.5, high * 1.5, True)
        room = 0.15 * (high - low) or max(abs(high), 1.0) * 0.25
        return cls(low - room, high + room, False)

    def place(self, number: float) -> float:
        """Give the place of a number between 0 and 1; what lies outside is put at the edge."""
        inside = min(max(number, self.low), self.high)
        if not self.is_log:
            return (inside - self.low) / (self.high - self.low)
        return math.log(inside / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Choose round numbers to write beside the axis."""
        if not self.is_log:
            return _even_ticks(self.low, self.high)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for steps in ((1, 2, 5), (1, 3), (1,)):
            ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            inside = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(inside) <= 8:
                return inside
        return inside


@dataclass(frozen=True)
class Point:
    """One row in the scatter."""

    true: float
    said: float
    is_right: bool
    link: str
    title: str


@dataclass(frozen=True)
class Bar:
    """One line of a chart of scores."""

    label: str
    score: Interval
    role: str


def draw_scatter(points: Sequence[Point], axis: Axis, unit: str, title: str) -> str:
    """Draw said against true, with the identity and a band of 25 % around it."""
    unit = f" ({unit.strip()})" if unit.strip() else ""
    size = EDGE_PX + SIDE_PX + MARGIN_PX
    middle = MARGIN_PX + SIDE_PX / 2
    parts = [
        f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(title)}">',
        _frame(axis),
        _band(axis),
        *(_dot(point, axis) for point in points),
        f'<text class="axis" x="{middle}" y="{size - 8}" text-anchor="middle">'
        f"true{escape(unit)}</text>",
        f'<text class="axis" transform="translate(10 {EDGE_PX + SIDE_PX / 2}) rotate(-90)" '
        f'text-anchor="middle">answered{escape(unit)}</text>',
        "</svg>",
    ]
    return "\n".join(parts)


def draw_bars(bars: Sequence[Bar], figure: Figure) -> str:
    """Draw one line per system: its score as a dot, its interval as a line."""
    height = ROW_PX * len(bars) + 8
    top = 1.0 if figure.form != "amount" else 0.0
    axis = Axis(0.0, max(top, *(bar.score.high for bar in bars)), False)
    model = _across(axis, bars[0].score.value)
    parts = [
        f'<svg viewBox="0 0 {BARS_WIDTH_PX} {height}" role="img" '
        f'aria-label="{escape(figure.name)} of the model and of everything it is compared with">',
        f'<line class="guide" x1="{model:.1f}" x2="{model:.1f}" y1="4" y2="{height - 4}"/>',
        *(_bar_line(bar, axis, figure, row) for row, bar in enumerate(bars)),
        "</svg>",
    ]
    return "\n".join(parts)


def _bar_line(bar: Bar, axis: Axis, figure: Figure, row: int) -> str:
    y = ROW_PX * row + ROW_PX / 2 + 4
    low, value, high = (
        _across(axis, number) for number in (bar.score.low, bar.score.value, bar.score.high)
    )
    return (
        f'<g class="{escape(bar.role)}">'
        f'<text x="{LABEL_PX - 10}" y="{y + 4}" text-anchor="end">'
        f"{escape(_shortened(bar.label))}</text>"
        f'<line class="track" x1="{LABEL_PX}" x2="{BARS_WIDTH_PX - VALUE_PX}" y1="{y}" y2="{y}"/>'
        f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        f'<circle cx="{value:.1f}" cy="{y}" r="5"/>'
        f'<text class="value" x="{BARS_WIDTH_PX - 4}" y="{y + 4}" text-anchor="end">'
        f"{escape(figure.show(bar.score.value))}</text></g>"
    )


def _shortened(label: str) -> str:
    return label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"


def _across(axis: Axis, number: float) -> float:
    return LABEL_PX + axis.place(number) * (BARS_WIDTH_PX - VALUE_PX - LABEL_PX)


def _at(axis: Axis, true: float, said: float) -> tuple[float, float]:
    x = MARGIN_PX + axis.place(true) * SIDE_PX
    return x, EDGE_PX + (1 - axis.place(said)) * SIDE_PX


def _frame(axis: Axis) -> str:
    right, bottom = MARGIN_PX + SIDE_PX, EDGE_PX + SIDE_PX
    parts = [
        f'<rect class="plane" x="{MARGIN_PX}" y="{EDGE_PX}" width="{SIDE_PX}" '
        f'height="{SIDE_PX}" rx="6"/>'
    ]
    for tick in axis.ticks():
        x, y = _at(axis, tick, tick)
        text = escape(show_number(tick))
        parts += [
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{EDGE_PX}" y2="{bottom}"/>',
            f'<line class="grid" x1="{MARGIN_PX}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>',
            f'<text class="tick" x="{MARGIN_PX - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{text}</text>",
        ]
    return "".join(parts)


def _band(axis: Axis) -> str:
    """Shade what is at most 25 % off; many corners, because the band bends on some axes."""
    steps = [axis.low + (axis.high - axis.low) * step / 200 for step in range(201)]
    if axis.is_log:
        steps = [axis.low * (axis.high / axis.low) ** (step / 200) for step in range(201)]
    upper = [_at(axis, true, true + BAND * abs(true)) for true in steps]
    lower = [_at(axis, true, true - BAND * abs(true)) for true in reversed(steps)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower])
    (x1, y1), (x2, y2) = _at(axis, axis.low, axis.low), _at(axis, axis.high, axis.high)
    return (
        f'<polygon class="band" points="{corners}"/>'
        f'<line class="identity" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
    )


def _dot(point: Point, axis: Axis) -> str:
    x, y = _at(axis, point.true, point.said)
    kind = "right" if point.is_right else "wrong"
    return (
        f'<a href="#{escape(point.link)}" tabindex="-1"><circle class="{kind}" cx="{x:.1f}" '
        f'cy="{y:.1f}" r="3.5"><title>{escape(point.title)}</title></circle></a>'
    )


def _even_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]
