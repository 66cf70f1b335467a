"""Outlines: smooth curves, mirrored halves, strokes with thickness, on a 100 x 100 board.

A knot is `(x, y)`; a third member marks a corner. x grows to the right,
y downwards; the middle of the
board is (50, 50).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
"""(points, 2): x and y on the board."""
Knot = tuple[float, ...]

BOARD = 100.0
STEPS = 10
HANDLE = 0.36  # of a segment's length: what makes a circle's quarter round
_BASIS_T = np.linspace(0.0, 1.0, STEPS, endpoint=False)[:, None]
_BASIS = (
    (1 - _BASIS_T) ** 3,
    3 * _BASIS_T * (1 - _BASIS_T) ** 2,
    3 * _BASIS_T**2 * (1 - _BASIS_T),
    _BASIS_T**3,
)


def smooth(knots: Sequence[Knot], *, is_closed: bool = True) -> Outline:
    """A curve through the knots: round where a knot has two members, angular where it has three."""
    points = np.array([knot[:2] for knot in knots], dtype=float)
    is_corner = np.array([len(knot) > 2 for knot in knots])
    if not is_closed:
        is_corner[[0, -1]] = True
    ahead, behind = np.roll(points, -1, axis=0), np.roll(points, 1, axis=0)
    tangent = ahead - behind
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1])[:, None], 1e-9)
    tangent[is_corner] = 0.0
    reach = HANDLE * np.hypot(*(ahead - points).T)[:, None]
    leaving = points + tangent * reach
    arriving = ahead - np.roll(tangent, -1, axis=0) * reach
    last = len(points) if is_closed else len(points) - 1
    pieces = [
        _BASIS[0] * points[i] + _BASIS[1] * leaving[i] + _BASIS[2] * arriving[i]
        + _BASIS[3] * ahead[i]
        for i in range(last)
    ]  # fmt: skip
    if not is_closed:
        pieces.append(points[-1:])
    return np.concatenate(pieces)


def mirrored(right_half: Sequence[Knot]) -> Outline:
    """The closed curve of a right half, given from top to bottom, and its mirror image."""
    left = [(BOARD - knot[0], *knot[1:]) for knot in reversed(right_half) if knot[0] != BOARD / 2]
    return smooth([*right_half, *left])


def flipped(outline: Outline) -> Outline:
    """The outline's mirror image about the board's upright middle."""
    return outline * (-1.0, 1.0) + (BOARD, 0.0)


def stroke(path: Outline, width: float, end_width: float | None = None) -> Outline:
    """The band of that width along an open path, narrowing or widening evenly to its end."""
    step = np.gradient(path, axis=0)
    step /= np.maximum(np.hypot(step[:, 0], step[:, 1])[:, None], 1e-9)
    normal = np.column_stack([-step[:, 1], step[:, 0]])
    half = np.linspace(width, width if end_width is None else end_width, len(path))[:, None] / 2
    return np.concatenate([path + normal * half, (path - normal * half)[::-1]])


def ellipse(x: float, y: float, rx: float, ry: float, angle_deg: float = 0.0) -> Outline:
    """An ellipse about a centre."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = np.column_stack([rx * np.cos(turn), ry * np.sin(turn)])
    placed: Outline = rotated(points, angle_deg) + np.array([x, y])
    return placed


def box(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Outline:
    """A rectangle with rounded corners."""
    r = min(radius, (right - left) / 2, (bottom - top) / 2)
    if r <= 0:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=float)
    quarter = np.linspace(0, np.pi / 2, 8)
    corners = ((right - r, bottom - r, 0), (left + r, bottom - r, 1), (left + r, top + r, 2),
               (right - r, top + r, 3))  # fmt: skip
    return np.concatenate([
        np.column_stack([x + r * np.cos(quarter + turn * np.pi / 2),
                         y + r * np.sin(quarter + turn * np.pi / 2)])
        for x, y, turn in corners
    ])  # fmt: skip


def rotated(points: Outline, angle_deg: float, x: float = 0.0, y: float = 0.0) -> Outline:
    """The points turned clockwise about (x, y)."""
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Outline = (points - (x, y)) @ turn + (x, y)
    return turned


def line(*knots: Knot) -> Outline:
    """An open smooth curve through the knots."""
    return smooth(knots, is_closed=False)


def evenly(path: Outline, spacing: float) -> tuple[Outline, NDArray[np.float64]]:
    """Points at even distances along a path, and the path's direction there in degrees."""
    gaps = np.hypot(*np.diff(path, axis=0).T)
    walked = np.concatenate([[0.0], np.cumsum(gaps)])
    count = max(2, round(float(walked[-1]) / spacing))
    stops = (np.arange(count) + 0.5) * walked[-1] / count
    points = np.column_stack([np.interp(stops, walked, path[:, axis]) for axis in (0, 1)])
    ahead = np.column_stack([np.interp(stops + 0.2, walked, path[:, axis]) for axis in (0, 1)])
    step = ahead - points
    return points, np.rad2deg(np.arctan2(step[:, 1], step[:, 0]))
