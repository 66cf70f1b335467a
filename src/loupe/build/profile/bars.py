"""The profile's one kind of chart: lines of bars, each parted into the splits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from loupe.build.splits import SPLITS

__all__ = ["Bar", "draw_bars", "rank", "spread"]

Bar = tuple[str, Sequence[int]]
"""A label, and the rows of each split (or one number)."""

_BINS = 14
_LOG_SPREAD = 10  # numbers spread at least so many times their least get bins of equal ratio


def draw_bars(caption: str, note: str, bars: Sequence[Bar]) -> str:
    """Draw bars on one scale; every label is escaped."""
    longest = max((sum(parts) for _, parts in bars), default=0) or 1
    lines = "".join(_draw_line(label, parts, longest) for label, parts in bars)
    return (
        f"<figure><figcaption>{escape(caption)} <small>{escape(note)}</small></figcaption>"
        f'<table class="bars"><tbody>{lines}</tbody></table></figure>'
    )


def spread(numbers: Mapping[str, npt.NDArray[Any]]) -> list[Bar]:
    """Part numbers, by split, into ranges between the least and the largest."""
    whole = np.concatenate(list(numbers.values())).astype(np.float64)
    low, high = float(whole.min()), float(whole.max())
    edges = np.unique(
        np.geomspace(low, high, _BINS + 1)
        if low > 0 and high / low >= _LOG_SPREAD
        else np.linspace(low, high, _BINS + 1)
    )
    if len(edges) < 2:
        return [(_show(low), [len(numbers[split]) for split in SPLITS])]
    edges[0], edges[-1] = low, high  # geomspace may miss the ends by rounding
    counts = [np.histogram(numbers[split], edges)[0] for split in SPLITS]
    labels = [f"{_show(start)} to {_show(end)}" for start, end in pairwise(edges)]
    return [
        (label, [int(part) for part in parts])
        for label, parts in zip(labels, zip(*counts, strict=True), strict=True)
    ]


def rank(counts: Mapping[str, Counter[str]], most: int) -> list[Bar]:
    """Give the commonest values, counted by split, and what is left as one bar."""
    whole = sum(counts.values(), Counter[str]())
    rows = {value: [counts[split][value] for split in SPLITS] for value in whole}
    ordered = sorted(rows, key=lambda value: (-whole[value], value))
    bars: list[Bar] = [(value, rows[value]) for value in ordered[:most]]
    if rest := ordered[most:]:
        parts = [sum(rows[value][place] for value in rest) for place in range(len(SPLITS))]
        bars.append((f"{len(rest):,} others", parts))
    return bars


def _show(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _draw_line(label: str, parts: Sequence[int], longest: int) -> str:
    names = SPLITS if len(parts) == len(SPLITS) else ("rows",)
    strips = "".join(
        f'<i class="{name}" style="width:{100 * part / longest:.2f}%" title="{name}: {part:,}"></i>'
        for name, part in zip(names, parts, strict=True)
        if part
    )
    return (
        f'<tr><th scope="row">{escape(label)}</th><td class="strip">{strips}</td>'
        f"<td>{sum(parts):,}</td></tr>"
    )
