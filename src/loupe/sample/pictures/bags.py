"""Bags and small leather goods: tote, shoulder bag, backpack, wallet, belt."""

import numpy as np

from loupe.sample.catalogue import Product
from loupe.sample.pictures.canvas import Canvas
from loupe.sample.pictures.look import Look, look_of
from loupe.sample.pictures.shapes import (
    Outline,
    box,
    ellipse,
    evenly,
    line,
    mirrored,
    smooth,
    stroke,
)


def draw_tote(canvas: Canvas, product: Product) -> None:
    """A structured tote with two handles, a leather base and a large turn lock."""
    top, base, half, foot, grip, rise = {
        "mini": (53.0, 85.0, 17.5, 21.0, 9.0, 22.0),
        "medium": (45.0, 88.0, 26.0, 31.0, 12.0, 26.0),
        "large": (37.0, 92.0, 36.0, 42.0, 15.0, 27.0),
    }[product.size]
    look = look_of(product, block_at=(top + base) / 2 + 4)
    canvas.centre(top - rise - 2, base, 1.12 if product.size == "mini" else 1.0)
    width = 3.4 if product.size == "mini" else 4.0
    back = _handle(50 + 1.5, top - 1.0, grip, rise + 2)
    canvas.paint(stroke(back, width), look.trim.tinted(0.7), puff=1.2, roundness=2)
    canvas.paint(_tote_body(top - 1.6, top + 4, half * 0.97, half * 0.97), look.lining, puff=0)
    body = _tote_body(top, base, half, foot)
    sag = 0.08 * (base - top)
    folds = [
        (line((50 - half * 0.9, top + 3), (50 - half * 0.72, base - sag)), 0.5),
        (line((50 + half * 0.9, top + 3), (50 + half * 0.72, base - sag)), 0.5),
        (line((50 - half * 0.2, base - 9), (50 + half * 0.5, base - 12)), -0.25),
    ]
    canvas.paint(body, look.main, puff=3.2, roundness=9, folds=folds)
    _tote_trim(canvas, look, top, base, half, foot)
    front = _handle(50, top + 9, grip, rise + 9)
    canvas.paint(stroke(front, width), look.trim, puff=1.6, roundness=2, shadow=1.4)
    for x in (50 - grip, 50 + grip):
        canvas.paint(box(x - 3, top + 6, x + 3, top + 16, 2.6), look.trim, puff=0.8, roundness=2)
        canvas.paint_metal(ellipse(x, top + 9.5, 3.3, 3.3), product.metal,
                           holes=[ellipse(x, top + 9.5, 1.9, 1.9)])  # fmt: skip
    _turn_lock(canvas, product.metal, 50, top + 11.5)


def _handle(x: float, y: float, grip: float, rise: float) -> Outline:
    return line((x - grip, y), (x - grip * 0.97, y - rise * 0.55), (x - grip * 0.55,
                                        y - rise * 0.95),
                (x, y - rise * 1.03), (x + grip * 0.55, y - rise * 0.95),
                (x + grip * 0.97, y - rise * 0.55), (x + grip, y))  # fmt: skip


def _tote_body(top: float, base: float, half: float, foot: float) -> Outline:
    return mirrored(
        [
            (50, top + 0.7),
            (50 + half, top, 0),
            (50 + (half + foot) / 2, (top + base) / 2),
            (50 + foot - 0.6, base - 3.4),
            (50 + foot - 4, base),
            (50, base + 0.7),
        ]
    )


def _tote_trim(
    canvas: Canvas, look: Look, top: float, base: float, half: float, foot: float
) -> None:
    rim = 0.86 * (base - top)
    inner = half + (foot - half) * 0.86
    panel = mirrored([(50, top + rim), (50 + inner, top + rim, 0), (50 + foot - 0.6, base - 3.4),
                      (50 + foot - 4, base), (50, base + 0.7)])  # fmt: skip
    canvas.paint(panel, look.trim, puff=1.2, roundness=5, shadow=0.5)
    canvas.stitch(
        line((50 - inner + 1, top + rim + 1.4), (50 + inner - 1, top + rim + 1.4)), look.thread
    )
    canvas.stitch(line((50 - half + 1.5, top + 2), (50 + half - 1.5, top + 2)), look.thread)


def _turn_lock(canvas: Canvas, metal: str, x: float, y: float) -> None:
    canvas.paint_metal(box(x - 6.2, y - 4.4, x + 6.2, y + 4.4, 1.8), metal, puff=1.4, roundness=2.5)
    canvas.paint_metal(ellipse(x, y, 2.6, 2.6), metal, puff=1.8, roundness=2, shadow=0.7)
    canvas.paint_metal(box(x - 0.7, y - 3, x + 0.7, y + 3, 0.6), metal, puff=1.0, roundness=1)


def draw_shoulder_bag(canvas: Canvas, product: Product) -> None:
    """A flap bag on a chain or a leather strap, closed by a large clasp."""
    half, top, base = {"mini": (22.0, 56.0, 85.0), "medium": (36.0, 44.0, 90.0)}[product.size]
    look = look_of(product, block_at=top + (base - top) * 0.6)
    reach = top - (9.0 if product.size == "medium" else 18.0)
    canvas.centre(top - reach - 2, base + 1, 1.12 if product.size == "mini" else 1.02)
    path = line((50 - half + 4, top + 4), (50 - half * 0.86, top - reach * 0.5),
                (50 - half * 0.3, top - reach), (50 + half * 0.3, top - reach),
                (50 + half * 0.86, top - reach * 0.5), (50 + half - 4, top + 4))  # fmt: skip
    _carry(canvas, look, path)
    body = mirrored(
        [
            (50, top),
            (50 + half - 3, top),
            (50 + half, top + 4),
            (50 + half + 1.6, base - 6),
            (50 + half - 3, base),
            (50, base + 0.5),
        ]
    )
    canvas.paint(body, look.main.tinted(0.9), puff=3.5, roundness=9)
    lip = top + (base - top) * 0.66
    flap = mirrored(
        [
            (50, top - 1.4),
            (50 + half - 3, top - 1.2),
            (50 + half + 0.8, top + 3.5),
            (50 + half + 1.6, lip - 9),
            (50 + half - 5, lip - 1.5),
            (50, lip + 2.5),
        ]
    )
    canvas.paint(flap, look.main, puff=2.8, roundness=8, shadow=1.6)
    rim = line((50 - half + 0.6, top + 4), (50 - half + 0.2, lip - 9), (50 - half + 6, lip - 2.8),
               (50, lip + 1), (50 + half - 6, lip - 2.8), (50 + half - 0.2, lip - 9),
               (50 + half - 0.6, top + 4))  # fmt: skip
    canvas.stitch(rim, look.thread)
    for x in (50 - half + 4, 50 + half - 4):
        canvas.paint_metal(ellipse(x, top + 3, 2.8, 2.8), product.metal,
                           holes=[ellipse(x, top + 3, 1.5, 1.5)])  # fmt: skip
    _double_clasp(canvas, product.metal, 50, lip - 1)


def _carry(canvas: Canvas, look: Look, path: Outline) -> None:
    if look.product.detail == "strap":
        canvas.paint(stroke(path, 4.2), look.trim, puff=1.0, roundness=2.5)
        canvas.stitch(path, look.thread, dash=1.9)
        return
    _chain(canvas, look.product.metal, path)


def _chain(canvas: Canvas, metal: str, path: Outline) -> None:
    points, angles = evenly(path, 3.9)
    for parity in (0, 1):
        rings, holes = [], []
        for index in range(parity, len(points), 2):
            x, y = points[index]
            rx, ry = (3.1, 2.3) if parity == 0 else (2.9, 1.25)
            rings.append(ellipse(x, y, rx, ry, float(angles[index])))
            holes.append(ellipse(x, y, rx - 1.15, max(0.35, ry - 1.1), float(angles[index])))
        canvas.paint_metal(rings, metal, holes=holes, puff=1.2, roundness=1, shadow=0.5)


def _double_clasp(canvas: Canvas, metal: str, x: float, y: float) -> None:
    for dx in (-2.6, 2.6):
        canvas.paint_metal(ellipse(x + dx, y, 4.6, 4.6), metal, puff=1.6, roundness=1.6,
                           holes=[ellipse(x + dx, y, 2.5, 2.5)])  # fmt: skip
    canvas.paint_metal(box(x - 1.2, y - 4.4, x + 1.2, y + 4.4, 1), metal, puff=1.2, roundness=1)


def draw_backpack(canvas: Canvas, product: Product) -> None:
    """A domed backpack with a flap, two buckled straps and a front pocket."""
    zoom = 0.7 if product.size == "mini" else 1.0
    look = look_of(product, block_at=60)

    def put(shape: Outline) -> Outline:
        return (shape - (50, 56)) * zoom + (50, 56 if zoom == 1 else 58)

    for side in (-1, 1):
        strap = line((50 + side * 22, 24), (50 + side * 38, 40), (50 + side * 39, 66),
                     (50 + side * 31, 86))  # fmt: skip
        canvas.paint(put(stroke(strap, 7.5)), look.trim.tinted(0.8), puff=1.4, roundness=3)
    loop = line((42, 17), (43, 9), (50, 6), (57, 9), (58, 17))
    canvas.paint(put(stroke(loop, 3.6)), look.trim, puff=1.2, roundness=2)
    body = mirrored([(50, 12), (66, 14.5), (77, 26), (81, 48), (82, 80), (78, 91), (50, 93)])
    folds = [(put(line((28, 50), (34, 70))), -0.4), (put(line((72, 50), (67, 72))), -0.4)]
    canvas.paint(put(body), look.main, puff=4.5, roundness=12, folds=folds)
    pocket = mirrored([(50, 60), (70, 60), (74, 63), (75, 84), (71, 88), (50, 89)])
    canvas.paint(put(pocket), look.main, puff=3.0, roundness=7, shadow=1.2)
    canvas.stitch(put(line((28.5, 63), (72, 63))), look.thread)
    flap = mirrored([(50, 11), (66, 13.5), (77.5, 25), (80, 38), (77, 50), (66, 54), (50, 55)])
    canvas.paint(put(flap), look.main, puff=3.6, roundness=10, shadow=1.8)
    edge = line((22.5, 40), (25, 48), (34, 52.2), (50, 53), (66, 52.2), (75, 48), (77.5, 40))
    canvas.stitch(put(edge), look.thread)
    for x in (37.0, 63.0):
        canvas.paint(put(box(x - 3.4, 38, x + 3.4, 73, 2.5)), look.trim, puff=0.9, roundness=2.4)
        _buckle(canvas, product.metal, put(np.array([[x, 61.0]]))[0], 5.4)


def _buckle(canvas: Canvas, metal: str, centre: Outline, half: float) -> None:
    x, y = float(centre[0]), float(centre[1])
    canvas.paint_metal(
        box(x - half, y - half * 0.85, x + half, y + half * 0.85, half * 0.4),
        metal,
        holes=[box(x - half * 0.6, y - half * 0.48, x + half * 0.6, y + half * 0.48, 0.6)],
    )
    canvas.paint_metal(box(x - 0.7, y - half * 0.95, x + 0.7, y + half * 0.4, 0.6), metal, puff=0.8)


def draw_wallet(canvas: Canvas, product: Product) -> None:
    """A flap wallet: compact and nearly square, or long."""
    half, top, base = (25.0, 31.0, 72.0) if product.size == "compact" else (42.0, 31.0, 72.0)
    look = look_of(product, scale=0.85, block_at=56)
    canvas.centre(31, 73, 1.15 if product.size == "compact" else 1.02)
    canvas.paint(box(50 - half + 1.5, top + 3, 50 + half - 0.5, base + 1.6, 4),
                 look.trim.tinted(0.7),
                 puff=1, roundness=3)  # fmt: skip
    canvas.paint(box(50 - half, top, 50 + half, base, 4), look.main, puff=2.0, roundness=7)
    canvas.stitch(_inset(50 - half, top, 50 + half, base, 1.7), look.thread)
    lip = top + (base - top) * 0.56
    flap = mirrored([(50, top - 1), (50 + half - 4, top - 1), (50 + half + 0.2, top + 4),
                     (50 + half, lip - 11), (50 + half - 3.5, lip - 4.5), (50 + half - 12, lip),
                     (50, lip + 1.5)])  # fmt: skip
    canvas.paint(flap, look.main, puff=2.0, roundness=7, shadow=1.5)
    rim = line((50 - half + 1.8, top + 5), (50 - half + 1.8, lip - 11), (50 - half + 5, lip - 5.8),
               (50 - half + 13, lip - 1.8), (50, lip - 0.2), (50 + half - 13, lip - 1.8),
               (50 + half - 5, lip - 5.8), (50 + half - 1.8, lip - 11),
               (50 + half - 1.8, top + 5))  # fmt: skip
    canvas.stitch(rim, look.thread)
    _double_clasp(canvas, product.metal, 50, lip - 1)


def _inset(left: float, top: float, right: float, bottom: float, by: float) -> Outline:
    edge = box(left + by, top + by, right - by, bottom - by, 3)
    return np.concatenate([edge, edge[:1]])


def draw_belt(canvas: Canvas, product: Product) -> None:
    """A belt standing in a loop, its buckle to the front."""
    high = 9.0 if product.size == "slim" else 17.0
    look = look_of(product, scale=0.8, block_at=90)
    canvas.centre(31, 61 + high)
    turn = np.linspace(0, 2 * np.pi, 90)
    ring = np.column_stack([50 + 42 * np.cos(turn), 46 + 15 * np.sin(turn)])
    back, down = ring[45:], np.array([0.0, high])
    inside = look.main.plain().tinted(0.62)
    canvas.paint(np.concatenate([back, (back + down)[::-1]]), inside, puff=0.6, roundness=4)
    front = ring[:45]
    canvas.paint(np.concatenate([front, (front + down)[::-1]]), look.main, puff=1.6,
                 roundness=4, shadow=0)  # fmt: skip
    for offset in (1.3, high - 1.3):
        canvas.stitch(front + np.array([0.0, offset]), look.thread)
    _belt_buckle(canvas, look, 50, 61 + high / 2, high / 2)


def _belt_buckle(canvas: Canvas, look: Look, x: float, y: float, half: float) -> None:
    metal = look.product.metal
    r = half + 4.6
    tip = smooth([(x - 3, y - half + 0.4, 0), (x + 23, y - half - 0.9), (x + 28, y - 1.5),
                  (x + 23, y + half - 1.8), (x - 3, y + half - 0.4, 0)])  # fmt: skip
    canvas.paint(tip, look.main, puff=1.4, roundness=4, shadow=1.1)
    for step in (10, 15, 20):
        canvas.draw_flat([ellipse(x + step, y - 0.3, 0.8, 0.8)], (24, 20, 20), 0.8)
    loop = box(x + 11, y - half - 1.2, x + 15, y + half + 0.8, 1)
    canvas.paint(loop, look.trim, puff=0.8, roundness=1.5)
    if look.product.detail == "round":
        canvas.paint_metal(ellipse(x, y, r, r), metal, puff=2.0, roundness=2.0, shadow=1.2,
                           holes=[ellipse(x, y, r - 3.3, r - 3.3)])  # fmt: skip
    else:
        canvas.paint_metal(
            box(x - r * 1.1, y - r, x + r * 1.1, y + r, 1.5),
            metal,
            puff=2.0,
            roundness=2.0,
            shadow=1.2,
            holes=[box(x - r * 1.1 + 3.3, y - r + 3.3, x + r * 1.1 - 3.3, y + r - 3.3, 0.8)],
        )
    canvas.paint_metal(
        box(x - r + 1, y - 1.1, x + r + 0.5, y + 1.1, 1), metal, puff=1.2, roundness=1
    )


__all__ = ["draw_backpack", "draw_belt", "draw_shoulder_bag", "draw_tote", "draw_wallet"]
