"""Trousers, skirts and dresses, laid flat."""

from loupe.sample.catalogue import Product
from loupe.sample.pictures.canvas import Canvas, Fold
from loupe.sample.pictures.look import Look, look_of
from loupe.sample.pictures.shapes import (
    Outline,
    box,
    ellipse,
    flipped,
    line,
    mirrored,
    smooth,
    stroke,
)

HEMS = {"mini": 58.0, "midi": 76.0, "maxi": 94.0}


def draw_trousers(canvas: Canvas, product: Product) -> None:
    """Slim or wide trousers: denim with bright seams, or wool with a pressed crease."""
    is_wide = product.size == "wide"
    look = look_of(product, block_at=55)
    canvas.centre(7, 96, 0.95)
    hem_in, hem_out = (56.0, 83.0) if is_wide else (58.5, 70.5)
    knee_in, knee_out = (54.0, 77.0) if is_wide else (55.0, 71.5)
    back = mirrored([(50, 8.5), (66.6, 7.6, 0), (66, 13, 0), (50, 14)])
    canvas.paint(back, look.lining, puff=0.4, roundness=2)
    right = smooth([(49.4, 9.6, 0), (66.8, 8, 0), (69, 20), (71.4 if not is_wide else 73, 34),
                    (knee_out, 60),
                    (hem_out, 94, 0), (hem_in, 95, 0), (knee_in, 62), (50.6, 37, 0)])  # fmt: skip
    for is_left in (True, False):
        leg = flipped(right) if is_left else right
        mid = ((hem_in + hem_out) / 2, (knee_in + knee_out) / 2)
        folds: list[Fold] = [
            (line((52, 38), (58, 36), (66, 31)), -0.4),
            (line((53, 42), (60, 44)), -0.35),
        ]
        if product.cloth == "wool":
            folds.append((line((60, 16), (mid[1], 60), (mid[0], 93)), 1.0))
        else:
            folds += [(line((54, 62), (64, 59), (70, 61)), -0.5), (line((56, 66), (66, 64)), 0.4)]
        placed = [(flipped(p), r) for p, r in folds] if is_left else folds
        canvas.paint(leg, look.main, puff=3.6, roundness=9, folds=placed,
                     angle_deg=3 if is_left else -3,
                     shadow=0.8)  # fmt: skip
    _waist(canvas, look)
    if product.cloth == "denim":
        _denim_seams(canvas, look, hem_in, hem_out)


def _waist(canvas: Canvas, look: Look) -> None:
    band = mirrored([(50, 9.4), (67, 7.8, 0), (67.8, 14, 0), (50, 15.8)])
    canvas.paint(band, look.main.plain(), puff=0.8, roundness=2.4, shadow=0.7)
    canvas.draw_line(line((50, 16), (49.4, 26), (50.4, 37)), 0.6, (0, 0, 0), 0.4)
    for x in (37.0, 63.0):
        canvas.paint(
            box(x - 1.2, 7, x + 1.2, 16.6, 0.6),
            look.main.plain().tinted(0.9),
            puff=0.5,
            roundness=1,
        )
    canvas.paint_metal(ellipse(50, 12.4, 1.7, 1.7), "silver", puff=1, roundness=1.2)
    for path in (
        line((56, 15.6), (60, 22), (68.5, 24.6)),
        line((44, 15.6), (40, 22), (31.5, 24.6)),
    ):
        canvas.draw_line(path, 0.6, (0, 0, 0), 0.4)


def _denim_seams(canvas: Canvas, look: Look, hem_in: float, hem_out: float) -> None:
    for is_left in (False, True):
        paths = [
            line((55, 15.8), (59, 23), (68.4, 26)),
            line((hem_in + 0.5, 91.6), (hem_out - 0.6, 90.8)),
            line((66.4, 15), (69.8, 34), ((hem_out + 71.5) / 2 - 2.4, 62), (hem_out - 2.2, 90)),
        ]
        for path in paths:
            canvas.stitch(flipped(path) if is_left else path, look.thread, dash=1.8, width=0.75)
    canvas.stitch(line((53, 16), (53, 26), (50.8, 33)), look.thread, dash=1.8, width=0.75)


def draw_skirt(canvas: Canvas, product: Product) -> None:
    """A skirt, mini, midi or maxi, straight or pleated."""
    hem = {"mini": 52.0, "midi": 72.0, "maxi": 93.0}[product.size]
    is_pleated = product.detail == "pleated"
    look = look_of(product, block_at=14 + (hem - 14) * 0.6)
    canvas.centre(7, hem + 2, {"mini": 1.16, "midi": 1.0, "maxi": 0.93}[product.size])
    flare = (0.42 if is_pleated else 0.1) * (hem - 14)
    foot = 22 + min(flare, 24.0)
    if is_pleated:
        body = smooth(_pleated_outline(14, hem, 17.0, foot))
        folds = _pleats(14, hem, 17.0, foot)
    else:
        body = mirrored(
            [(50, 13), (67, 12, 0), (71.5, 24), (73, 36), (50 + foot, hem, 0), (50, hem + 2)]
        )
        folds = [(line((40, 24), (39, hem - 3)), 0.45), (line((60, 22), (62, hem - 3)), 0.45),
                 (line((52, 30), (51, hem - 2)), -0.35)]  # fmt: skip
    canvas.paint(body, look.main, puff=3.6, roundness=9, folds=folds)
    band = mirrored([(50, 8.6), (66.4, 7.6, 0), (67.6, 14.6, 0), (50, 16)])
    canvas.paint(band, look.main.plain(), puff=0.9, roundness=2.4, shadow=1.0)
    canvas.paint_metal(ellipse(61.5, 11.8, 1.7, 1.7), "silver", puff=1, roundness=1.2)
    if not is_pleated:
        canvas.stitch(
            line((50 - foot + 1, hem - 2.4), (50, hem - 0.8), (50 + foot - 1, hem - 2.4)),
            look.thread,
        )


def _pleated_outline(top: float, hem: float, waist: float, foot: float) -> list[tuple[float, ...]]:
    count = 8
    knots: list[tuple[float, ...]] = [
        (50 - waist, top, 0),
        (50 + waist, top, 0),
        (50 + waist + 4, top + 8),
    ]
    for index in range(count):
        x = 50 + foot - 2 * foot * index / count
        sag = 2.6 * (1 - ((x - 50) / foot) ** 2)
        knots += [(x, hem + sag, 0), (x - 0.45 * foot / count, hem + sag + 1.6),
                  (x - 1.6 * foot / count, hem + sag + 1.2)]  # fmt: skip
    knots += [(50 - foot, hem, 0), (50 - waist - 4, top + 8)]
    return knots


def _pleats(top: float, hem: float, waist: float, foot: float) -> list[Fold]:
    folds: list[Fold] = []
    for index in range(1, 8):
        part = 1 - 2 * index / 8
        start, end = (50 + part * waist, top + 2), (50 + part * foot, hem + 1)
        middle = ((start[0] + end[0]) / 2 + part * 1.5, (top + hem) / 2)
        folds.append((line(start, middle, end), -1.7))
        shift = 3.0
        folds.append(
            (
                line(
                    (start[0] + 1.4, start[1]),
                    (middle[0] + shift, middle[1]),
                    (end[0] + shift, end[1]),
                ),
                1.0,
            )
        )
    return folds


def draw_dress(canvas: Canvas, product: Product) -> None:
    """A waisted dress, mini, midi or maxi, sleeveless or with long sleeves."""
    hem = HEMS[product.size]
    look = look_of(product, block_at=8 + (hem - 8) * 0.62)
    canvas.centre(8, hem + 3, {"mini": 1.3, "midi": 1.1, "maxi": 0.97}[product.size])
    foot = {"mini": 21.0, "midi": 26.0, "maxi": 30.0}[product.size]
    has_sleeves = product.detail == "long sleeve"
    back = smooth([(40, 9, 0), (50, 11), (60, 9, 0), (57, 18), (50, 21), (43, 18)])
    canvas.paint(back, look.lining, puff=0.5, roundness=3)
    if has_sleeves:
        right = smooth(
            [
                (63, 10.5, 0),
                (69, 14),
                (75, 28),
                (80, 46),
                (82, 58, 0),
                (73.6, 60.4, 0),
                (69, 46),
                (64, 32, 0),
            ]
        )
        for sleeve in (right, flipped(right)):
            canvas.paint(
                sleeve, look.main, puff=2.8, roundness=6, angle_deg=14 if sleeve is right else -14
            )
    skirt = mirrored([(50, 38), (60.6, 38, 0), (64, 46), (50 + foot - 3, hem - 8), (50 + foot,
                                        hem, 0),
                      (50 + foot * 0.5, hem + 2.6), (50, hem + 3.2)])  # fmt: skip
    folds: list[Fold] = []
    for part in (-0.75, -0.45, -0.15, 0.2, 0.5, 0.78):
        path = line(
            (50 + part * 9, 42), (50 + part * foot * 0.6, (42 + hem) / 2), (50 + part * foot, hem)
        )
        folds.append((path, 0.9 if part in (-0.75, -0.15, 0.5) else -0.9))
    canvas.paint(skirt, look.main, puff=3.2, roundness=8, folds=folds)
    bodice = _bodice(has_sleeves)
    canvas.paint(
        bodice,
        look.main,
        puff=3.6,
        roundness=8,
        shadow=0.6,
        folds=[
            (line((62, 28), (57, 34), (56, 39)), -0.5),
            (line((38, 28), (43, 34), (44, 39)), -0.5),
        ],
    )
    rim = stroke(line((40, 9.4), (42.4, 16), (50, 20.4), (57.6, 16), (60, 9.4)), 1.6)
    canvas.paint(rim, look.main.plain(), puff=0.4, roundness=1, shadow=0.3)
    belt = mirrored([(50, 37.6), (61, 36.8, 0), (61.2, 41.4, 0), (50, 42.6)])
    canvas.paint(belt, look.main.plain().tinted(0.78), puff=0.9, roundness=2.2, shadow=0.8)


def _bodice(has_sleeves: bool) -> Outline:
    if has_sleeves:
        return mirrored(
            [
                (50, 20.4),
                (57, 17),
                (60, 9, 0),
                (66, 11.6, 0),
                (66, 26),
                (63.4, 32),
                (60.8, 39.6, 0),
                (50, 40),
            ]
        )
    return mirrored([(50, 20.4), (57, 17), (59.6, 8.6, 0), (63.6, 9.4, 0), (63, 19), (67, 25, 0),
                     (64, 32), (60.8, 39.6, 0),
                     (50, 40)])  # fmt: skip


__all__ = ["draw_dress", "draw_skirt", "draw_trousers"]
