"""The report's drawings of certainty, as SVG text: risk by share answered, right by confidence."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from loupe.evaluate.certainty import Bin

__all__ = ["draw_reliability", "draw_risk"]

SIDE_PX = 300
MARGIN_PX = 52
EDGE_PX = 20  # half of "100 %" stands in it
LARGEST_DOT_PX = 12
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOPS = (0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of an axis: each has a quarter to be written plainly

Points = Sequence[tuple[float, float]]


def draw_risk(risk: Points, expected: Points, title: str) -> str:
    """Draw the share of errors against the share answered; what was expected as a dashed line."""
    highest = max([value for _, value in [*risk, *expected]], default=1.0)
    top = next(top for top in TOPS if top >= min(highest, 1.0))
    lines = [_line(expected, top, "curve other"), _line(risk, top, "curve")]
    return _plane(title, "share answered, the surest first", "share too far off", top, lines)


def draw_reliability(bins: Sequence[Bin], title: str) -> str:
    """Draw the share of right ones against confidence; dots grow with their rows."""
    total = sum(each.rows for each in bins)
    dots = [
        f'<circle class="right" cx="{_x(each.confidence):.1f}" cy="{_y(each.right, 1.0):.1f}" '
        f'r="{2 + (LARGEST_DOT_PX - 2) * (each.rows / total) ** 0.5:.1f}"><title>'
        f"{each.rows:,} rows: {100 * each.confidence:.1f} % sure, {100 * each.right:.1f} % right"
        "</title></circle>"
        for each in bins
    ]
    ideal = (
        f'<line class="identity" x1="{_x(0):.1f}" y1="{_y(0, 1.0):.1f}" x2="{_x(1):.1f}" '
        f'y2="{_y(1, 1.0):.1f}"/>'
    )
    return _plane(title, "confidence", "share right", 1.0, [ideal, *dots])


def _plane(title: str, across: str, up: str, top: float, inside: Sequence[str]) -> str:
    size = EDGE_PX + SIDE_PX + MARGIN_PX
    ticks = []
    for tick in TICKS:
        x, y = _x(tick), _y(tick * top, top)
        ticks += [
            f'<line class="grid" x1="{MARGIN_PX}" x2="{MARGIN_PX + SIDE_PX}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/>',
            f'<text class="tick" x="{x:.1f}" y="{EDGE_PX + SIDE_PX + 16}" text-anchor="middle">'
            f"{100 * tick:.0f} %</text>",
            f'<text class="tick" x="{MARGIN_PX - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{100 * tick * top:.3g} %</text>",
        ]
    return "\n".join(
        [
            f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(title)}">',
            f'<rect class="plane" x="{MARGIN_PX}" y="{EDGE_PX}" width="{SIDE_PX}" '
            f'height="{SIDE_PX}" rx="6"/>',
            *ticks,
            *inside,
            f'<text class="axis" x="{_x(0.5):.1f}" y="{size - 8}" text-anchor="middle">'
            f"{escape(across)}</text>",
            f'<text class="axis" transform="translate(10 {EDGE_PX + SIDE_PX / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(up)}</text>',
            "</svg>",
        ]
    )


def _line(points: Points, top: float, kind: str) -> str:
    corners = " ".join(f"{_x(share):.1f},{_y(value, top):.1f}" for share, value in points)
    return f'<polyline class="{kind}" points="{corners}"/>'


def _x(share: float) -> float:
    return MARGIN_PX + share * SIDE_PX


def _y(value: float, top: float) -> float:
    return EDGE_PX + (1 - value / top) * SIDE_PX
