"""The report's maps: which part of each picture decided, drawn over it, with the sanity check."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.figures import show_number
from loupe.evaluate.maps import FLAT, MOST_CORRELATION, FieldMap, Maps, RowMaps

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["render_maps"]

SIDE_PX = 176
HEAT = (214, 40, 57)
HEAT_SHARE = 0.85  # of the colour where the drop is largest
FULL_NATS = 1.0  # a map whose largest drop is less stays paler
PALE = 0.35  # by how much the grey picture beneath is brightened
QUALITY = 80
MOST_NATS = math.log(1e6)  # beyond, a number tells nobody anything


def render_maps(evaluation: Evaluation) -> Iterator[str]:
    """Give the sanity check, the legend, and a line of pictures for each row."""
    if evaluation.maps is None or not evaluation.maps.rows:
        return
    yield _sanity(evaluation.maps)
    yield (
        '<p class="legend">no matter <i aria-hidden="true"></i> the part whose hiding makes the '
        f"field least likely; full red where that is {math.exp(FULL_NATS):.1f} times or more</p>"
    )
    for each in evaluation.maps.rows:
        yield _row(evaluation, each)


def _sanity(maps: Maps) -> str:
    failing, lines = maps.failing(), []
    for field, mean in maps.correlations().items():
        name, mark = ("wrong", "✗") if field in failing else ("right", "✓")
        told = _signed(mean)
        if mean is None:
            name, mark, told = (
                "none",
                "–",
                "no part of any picture decided, given the fields before",
            )
        lines.append(
            f'<li class="{name}"><span class="mark">{mark}</span>{escape(field)}: {told}</li>'
        )
    verdict = "".join(maps.doubts()) or "Random weights give other maps, as they must."
    return (
        f"<p>Sanity check: {escape(verdict)} Mean rank correlation with the maps from random "
        f"weights, at most {MOST_CORRELATION:g} to pass:</p><ul class='gains'>{''.join(lines)}</ul>"
    )


def _row(evaluation: Evaluation, each: RowMaps) -> str:
    rows, small = evaluation.measures.rows, _shrink(each.picture)
    figures = [
        f"<figure>{_image(small, f'picture of row {rows.ids[each.row]}')}<figcaption>"
        f'<a href="#r{each.row}">{escape(rows.ids[each.row])}</a></figcaption></figure>'
    ]
    for field, held in each.fields.items():
        drawn = _image(_heat(small, held), f"what decided {field}")
        figures.append(
            f"<figure>{drawn}<figcaption><b>{escape(field)}</b> "
            f'<span dir="auto">{escape(str(each.said[field]))}</span>'
            f"<small>{escape(_explain(held))}</small></figcaption></figure>"
        )
    return f'<div class="map">{"".join(figures)}</div>'


def _explain(held: FieldMap) -> str:
    if held.largest < FLAT:
        return "no part decided"
    is_huge = held.largest > MOST_NATS
    times = "more than a million" if is_huge else show_number(math.exp(held.largest))
    said = f"up to {times} times less likely"
    return (
        said if held.correlation is None else f"{said}; random weights {_signed(held.correlation)}"
    )


def _signed(correlation: float | None) -> str:
    return f"{correlation or 0.0:+.2f}".replace("-", "−")


def _heat(picture: Image, held: FieldMap) -> Image:
    """Lay the drops as colour over the picture in grey; what did not matter stays grey."""
    from PIL import Image

    shares = np.clip(held.drops / max(held.largest, FULL_NATS), 0, 1) * HEAT_SHARE
    cells = Image.fromarray((255 * shares).astype(np.uint8))
    mask = cells.resize(picture.size, Image.Resampling.BICUBIC)
    white = Image.new("RGB", picture.size, "white")
    pale = Image.blend(picture.convert("L").convert("RGB"), white, PALE)
    return Image.composite(Image.new("RGB", picture.size, HEAT), pale, mask)


def _shrink(picture: Image) -> Image:
    small = picture.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX))
    return small


def _image(picture: Image, alt: str) -> str:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=QUALITY)
    data = base64.b64encode(written.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}" decoding="async">'
