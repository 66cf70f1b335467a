"""Patterns: where the second colour lies on a cloth, at scales that 112 pixels still show."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
"""(rows, columns): one number per pixel."""

EDGE = 0.35  # softness of a pattern's edges, in units of the board
STRIPE_PERIOD = 11.0
CHECK_PERIOD = 15.0
DOT_PERIOD = 11.0
CHEVRON_PERIOD = 11.0
FLOWER_PERIOD = 17.0
DIAMOND_PERIOD = 15.0
QUILT_PERIOD = 11.0
BLOCK_AT = 57.0


def _step(distance: Plane) -> Plane:
    """1 where the distance is positive, 0 where negative, soft between."""
    soft: Plane = np.clip(distance / EDGE + 0.5, 0.0, 1.0)
    return soft


def _band(position: Plane, period: float, width: float) -> Plane:
    """1 within bands of that width, one per period."""
    return _step(width / 2 - np.abs(_wrap(position, period)))


def _wrap(position: Plane, period: float) -> Plane:
    """The position within its period, from minus to plus half of it."""
    return position - period * np.round(position / period)


def _stripe(u: Plane, v: Plane) -> Plane:
    return _band(v + 0 * u, STRIPE_PERIOD, 0.38 * STRIPE_PERIOD)


def _check(u: Plane, v: Plane) -> Plane:
    across = _band(u, CHECK_PERIOD, 0.36 * CHECK_PERIOD)
    along = _band(v, CHECK_PERIOD, 0.36 * CHECK_PERIOD)
    lines = np.maximum(
        _band(u + CHECK_PERIOD / 2, CHECK_PERIOD, 0.9),
        _band(v + CHECK_PERIOD / 2, CHECK_PERIOD, 0.9),
    )
    return np.maximum(0.46 * (across + along) + 0.08 * across * along, 0.9 * lines)


def _dot(u: Plane, v: Plane) -> Plane:
    row = np.round(v / (DOT_PERIOD * 0.87))
    x = _wrap(u + (row % 2) * (DOT_PERIOD / 2), DOT_PERIOD)
    y = v - row * (DOT_PERIOD * 0.87)
    return _step(0.3 * DOT_PERIOD - np.sqrt(x * x + y * y))


def _chevron(u: Plane, v: Plane) -> Plane:
    zigzag = np.abs(_wrap(u, 14.0)) * 0.85
    return _band(v + zigzag, CHEVRON_PERIOD, 0.38 * CHEVRON_PERIOD)


def _floral(u: Plane, v: Plane) -> Plane:
    row = np.round(v / FLOWER_PERIOD)
    shifted = u + (row % 2) * (FLOWER_PERIOD / 2)
    x, y = _wrap(shifted, FLOWER_PERIOD), v - row * FLOWER_PERIOD
    turn = np.arctan2(y, x) + 1.3 * row + 0.7 * np.round(shifted / FLOWER_PERIOD)
    radius = np.sqrt(x * x + y * y)
    petals = _step(4.7 + 1.7 * np.cos(5 * turn) - radius) * _step(radius - 1.5)
    across = np.abs(x) - FLOWER_PERIOD / 2  # 0 midway between two flowers of a row
    buds = _step(1.9 - np.sqrt(across * across + y * y))
    return np.maximum(petals, buds)


def _diamond(u: Plane, v: Plane) -> Plane:
    height = DIAMOND_PERIOD * 1.3
    x, y = _wrap(u, DIAMOND_PERIOD), _wrap(v, height)
    inside = 1.0 - np.abs(x) / (DIAMOND_PERIOD / 2) - np.abs(y) / (height / 2)
    return _step((inside - 0.1) * 6)


_PATTERNS: dict[str, Callable[[Plane, Plane], Plane]] = {
    "stripe": _stripe,
    "check": _check,
    "dot": _dot,
    "chevron": _chevron,
    "floral": _floral,
    "diamond": _diamond,
}


def second_colour_share(
    name: str, u: Plane, v: Plane, board_v: Plane, block_at: float
) -> Plane | None:
    """How much of the second colour each place has, 0 to 1; None where the pattern has only one.

    `u` and `v` run along the cloth,
    `board_v` down the product: a colour block ignores the cloth's turn.
    """
    if name == "block":
        return _step(board_v - block_at + 0 * u)
    paint = _PATTERNS.get(name)
    return None if paint is None else paint(u, v)


def quilt_height(u: Plane, v: Plane, period: float = QUILT_PERIOD) -> Plane:
    """Cushions between diagonal seams: 0 in the seam, 1 on top."""
    first = np.abs(np.sin(np.pi * (u + v) / period))
    second = np.abs(np.sin(np.pi * (u - v) / period))
    return np.sqrt(np.minimum(first, second) * (0.6 + 0.4 * np.maximum(first, second)))
