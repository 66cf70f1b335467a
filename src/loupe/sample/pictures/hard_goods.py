"""Hard goods: sunglasses, watch, umbrella."""

import numpy as np

from loupe.sample.catalogue import Product
from loupe.sample.pictures.canvas import Canvas
from loupe.sample.pictures.look import look_of
from loupe.sample.pictures.shapes import (
    Outline,
    box,
    ellipse,
    flipped,
    line,
    smooth,
    stroke,
)
from loupe.sample.pictures.surface import Surface


def draw_sunglasses(canvas: Canvas, product: Product) -> None:
    """Sunglasses from the front: three shapes of lens, metal temples, slim or wide frames."""
    look = look_of(product)
    canvas.centre(14, 66, 0.93)
    rim = 2.4 if product.size == "slim" else 5.4
    right = _lens(product.detail)
    for side in (False, True):
        temple = stroke(line((91, 43), (87, 32), (82, 21), (78, 16), (74, 14.5)), 3.2, 2.6)
        tip = stroke(line((83, 23), (80, 18), (77, 15.4), (72.6, 14)), 4.2, 4.8)
        canvas.paint_metal(flipped(temple) if side else temple, product.metal, puff=1.6)
        canvas.paint(flipped(tip) if side else tip, look.main.tinted(0.9), puff=1.4, roundness=2)
    for side in (False, True):
        lens = flipped(right) if side else right
        centre = lens.mean(axis=0)
        outer = (lens - centre) * (1 + rim / 15.0) + centre
        glass = Surface((84, 72, 76), "glass")
        canvas.paint(lens, glass, puff=0.8, roundness=5, shadow=0)
        canvas.shade_below(lens * (1, 0.62) + (0, centre[1] * 0.38 - 7), 0.55, 5)
        canvas.paint(outer, look.main, puff=1.6, roundness=2, holes=[lens], shadow=0.9)
    bridge = stroke(line((43, 46), (47, 43), (53, 43), (57, 46)), 3.4)
    canvas.paint_metal(bridge, product.metal, puff=1.4, roundness=1.6)
    for x in (10.0, 90.0):
        canvas.paint_metal(box(x - 1.6, 40, x + 1.6, 45, 1), product.metal, puff=1.0, roundness=1)


def _lens(detail: str) -> Outline:
    if detail == "round":
        return ellipse(71, 52, 16.5, 16.5)
    if detail == "square":
        return box(54.5, 39, 88.5, 65, 5)
    return smooth(
        [(54.5, 44), (66, 40), (80, 37), (91, 33, 0), (90, 48), (82, 62), (68, 65), (57, 58)]
    )


def draw_watch(canvas: Canvas, product: Product) -> None:
    """A watch with a round or square case on a strap of the main colour."""
    is_large = product.size == "large"
    r = 25.0 if is_large else 15.5
    half = 13.0 if is_large else 8.5
    look = look_of(product, scale=0.75)
    canvas.centre(3, 97, 0.96)
    upper = smooth([(50 - half, 50, 0), (50 - half * 0.8, 10), (50 - half * 0.72, 3, 0),
                    (50 + half * 0.72, 3, 0),
                    (50 + half * 0.8, 10), (50 + half, 50, 0)])  # fmt: skip
    lower = upper * (1, -1) + (0, 100)
    for band in (upper, lower):
        canvas.paint(band, look.main, puff=2.4, roundness=6)
    for x in (50 - half * 0.84, 50 + half * 0.84):
        inset = 1.6 if x < 50 else -1.6
        canvas.stitch(line((x + inset, 6), (x + inset * 1.1, 48)), look.thread)
        canvas.stitch(line((x + inset, 94), (x + inset * 1.1, 52)), look.thread)
    case = (
        ellipse(50, 50, r, r)
        if product.detail == "round"
        else box(50 - r * 0.9, 50 - r, 50 + r * 0.9, 50 + r, r * 0.3)
    )
    canvas.paint_metal(
        box(50 + r - 1, 47, 50 + r + 4, 53, 1.2), product.metal, puff=1.4, roundness=1.6
    )
    canvas.paint_metal(case, product.metal, puff=3.0, roundness=3.2, shadow=1.6)
    centre = np.array([50.0, 50.0])
    bezel = (case - centre) * 0.9 + centre
    canvas.paint_metal(bezel, product.metal, puff=-1.2, roundness=2.0, shadow=0)
    dial = (case - centre) * 0.78 + centre
    canvas.paint(dial, Surface((248, 246, 240), "rubber"), puff=-0.6, roundness=3, shadow=0)
    _dial_marks(canvas, r * 0.78, product.metal)


def _dial_marks(canvas: Canvas, r: float, metal: str) -> None:
    marks = []
    for hour in range(12):
        a = np.deg2rad(30 * hour)
        direction = np.array([np.sin(a), -np.cos(a)])
        near, far = (0.68, 0.86) if hour % 3 == 0 else (0.76, 0.86)
        marks.append(
            stroke(
                np.array([50 + direction * r * near, 50 + direction * r * far]),
                1.5 if hour % 3 == 0 else 0.8,
            )
        )
    canvas.draw_flat(marks, (52, 46, 42), 0.9)
    hands = [stroke(np.array([(50.0, 50.0), (50 - r * 0.34, 50 - r * 0.34)]), 1.9, 1.0),
             stroke(np.array([(50.0, 50.0), (50 + r * 0.36, 50 - r * 0.6)]), 1.5, 0.8)]  # fmt: skip
    canvas.draw_flat(hands, (36, 32, 34), 1.0)
    canvas.paint_metal(ellipse(50, 50, 1.7, 1.7), metal, puff=0.8, roundness=1)


def draw_umbrella(canvas: Canvas, product: Product) -> None:
    """An open umbrella from the side: a long one with a crook, a short one with a straight grip."""
    look = look_of(product, block_at=40)
    canvas.centre(8, 97) if product.size == "long" else canvas.centre(18, 84, 1.1)
    is_long = product.size == "long"
    rise = 0.0 if is_long else 12.0
    half, top, rim = (42.0, 14.0, 50.0) if is_long else (34.0, 24.0, 54.0)
    canvas.paint_metal(
        box(49.1, top - 6, 50.9, 84 if is_long else 74, 0.6), "silver", puff=1.0, roundness=1.0
    )
    if is_long:
        crook = stroke(line((50, 72), (50, 88), (46, 95), (39.6, 94), (37.6, 87.6)), 4.2)
    else:
        crook = box(47, 70, 53, 84, 2.6)
    canvas.paint(crook, Surface((128, 76, 40), "acetate"), puff=1.6, roundness=2)
    del rise
    ribs = [50 - half, 50 - half * 0.5, 50.0, 50 + half * 0.5, 50 + half]
    knots: list[tuple[float, ...]] = [
        (50, top),
        (50 + half * 0.52, top + (rim - top) * 0.22),
        (50 + half * 0.86, top + (rim - top) * 0.62),
    ]
    scallops: list[tuple[float, ...]] = []
    for right, left in zip(ribs[:0:-1], ribs[-2::-1], strict=True):
        sag = 2.5 * (abs(right - 50) < half * 0.9) + 0.0
        scallops += [(right, rim + sag, 0), ((right + left) / 2, rim - 5.5)]
    outline = [*knots, *scallops, (50 - half, rim, 0)]
    outline += [(100 - x, y) for x, y, *_ in reversed(knots[1:])]
    canopy = smooth(outline)
    folds = []
    for x in ribs[1:-1]:
        bulge = (x - 50) * 1.05
        folds.append(
            (line((50, top), (50 + bulge * 0.8, top + (rim - top) * 0.4), (x, rim + 1)), 1.3)
        )
    canvas.paint(canopy, look.main, puff=7.0, roundness=15, folds=folds)
    for x in ribs[1:-1]:
        bulge = (x - 50) * 1.05
        canvas.draw_line(
            line((50, top), (50 + bulge * 0.8, top + (rim - top) * 0.4), (x, rim + 1)),
            0.5,
            (0, 0, 0),
            0.3,
        )
    canvas.paint_metal(
        smooth([(48.6, top + 2, 0), (49.2, top - 6), (50.8, top - 6), (51.4, top + 2, 0)]),
        "silver",
        puff=1,
        roundness=1,
    )


__all__ = ["draw_sunglasses", "draw_umbrella", "draw_watch"]
