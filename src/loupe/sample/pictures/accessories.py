"""What is worn with clothes: scarf, cap, beanie, gloves, socks, tie."""

import numpy as np

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


def draw_scarf(canvas: Canvas, product: Product) -> None:
    """A scarf looped once: fringed cashmere or plain-edged silk, with short or long ends."""
    look = look_of(product, block_at=60 if product.size == "long" else 52)
    end = 88.0 if product.size == "long" else 70.0
    canvas.centre(12, end + 5, 0.98 if product.size == "long" else 1.1)
    back = smooth([(30, 22), (40, 12), (60, 12), (70, 22), (64, 30), (50, 25), (36, 30)])
    canvas.paint(back, look.main.tinted(0.8), puff=2.5, roundness=6)
    tails = (
        (
            smooth(
                [
                    (47, 36, 0),
                    (62, 36, 0),
                    (68, 60),
                    (70.5, end - 6, 0),
                    (52.5, end - 4, 0),
                    (50, 60),
                ]
            ),
            -7.0,
        ),
        (
            smooth(
                [(38, 36, 0), (53, 38, 0), (49.5, 62), (48, end, 0), (29.5, end - 2, 0), (32, 60)]
            ),
            7.0,
        ),
    )
    for tail, angle in tails:
        low = tail[:, 1].max()
        left, right = tail[tail[:, 1] > low - 4][:, 0].min(), tail[tail[:, 1] > low - 4][:, 0].max()
        if product.cloth == "cashmere":
            _fringe(canvas, look, left, right, low - 1.8)
        x = (left + right) / 2
        folds = [
            (line((x - 3, 44), (x - 4, low - 2)), 0.7),
            (line((x + 4, 44), (x + 4, low - 2)), -0.6),
        ]
        canvas.paint(
            tail, look.main, puff=2.8, roundness=6, angle_deg=angle, folds=folds, shadow=1.3
        )
    loop = smooth([(27, 21), (32, 20), (41, 29), (50, 31), (59, 29), (68, 20), (73, 21), (74,
                                        30), (66, 42), (50, 47),
                   (34, 42), (26, 30)])  # fmt: skip
    folds = [(line((30, 27), (38, 35), (50, 38), (62, 35), (70, 27)), 0.8),
             (line((29, 32), (38, 40), (50, 43), (62, 40)), -0.8),
             (line((36, 26), (44, 32), (56, 33)), -0.6)]  # fmt: skip
    canvas.paint(loop, look.main, puff=4.0, roundness=7, folds=folds, shadow=1.8)


def _fringe(canvas: Canvas, look: Look, left: float, right: float, y: float) -> None:
    count = 9
    threads = []
    for index in range(count):
        x = left + (right - left) * (index + 0.5) / count
        sway = 0.7 * np.sin(2.1 * index)
        threads.append(
            stroke(line((x, y - 1), (x + sway, y + 3.6), (x + sway * 0.4, y + 7.4)), 1.35)
        )
    canvas.paint(threads, look.main.plain(), puff=0.5, roundness=1, shadow=0.4)


def draw_cap(canvas: Canvas, product: Product) -> None:
    """A baseball cap, seen from the front and a little to the side."""
    look = look_of(product, block_at=50)
    canvas.centre(23, 76, 0.96)
    crown = smooth([(14, 62), (16, 44), (26, 29), (42, 23), (57, 24), (70, 32), (77, 46), (78,
                                        60), (60, 66), (40, 68),
                    (22, 67)])  # fmt: skip
    folds = [(line((48, 23.4), (52, 40), (53, 64)), -0.7), (line((44, 23.4), (32, 40), (27, 66)),
                                        -0.6),
             (line((54, 23.6), (68, 40), (73, 62)), -0.6)]  # fmt: skip
    canvas.paint(crown, look.main, puff=6.0, roundness=14, folds=folds)
    for path in (line((48, 24), (51.4, 40), (52.6, 63)), line((44, 24.4), (32, 40), (27.4, 65)),
                 line((53, 24.4), (67.4, 40), (72.6, 60))):  # fmt: skip
        canvas.draw_line(path, 0.5, (0, 0, 0), 0.35)
        canvas.stitch(path + np.array([1.2, 0.0]), look.thread, dash=1.6)
    brim = smooth([(26, 63), (40, 60.6), (58, 58.6), (78, 56), (90, 61), (96, 70), (90, 75), (70,
                                        73.6), (50, 75), (34, 74),
                   (27, 69)])  # fmt: skip
    canvas.paint(brim, look.main.plain().tinted(0.92), puff=1.5, roundness=9, shadow=1.6)
    for inset in (3.0, 6.0):
        canvas.stitch(
            line((32, 73.4 - inset), (50, 74 - inset), (70, 72.6 - inset), (88, 73 - inset)),
            look.thread,
        )
    canvas.paint(ellipse(48.4, 23, 2.8, 1.7), look.main.plain().tinted(0.85), puff=1.4, roundness=2)
    for x, y in ((38, 38), (62, 37)):
        canvas.draw_flat([ellipse(x, y, 0.9, 0.9)], (20, 18, 20), 0.8)


def draw_beanie(canvas: Canvas, product: Product) -> None:
    """A beanie with a turned-up brim, with or without a pompom."""
    look = look_of(product, block_at=48)
    drop = 5.0 if product.detail == "pompom" else 0.0
    canvas.centre(4 if drop else 16, 91, 0.96 if drop else 1.04)
    if product.detail == "pompom":
        turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        radius = 12.5 + 0.8 * np.sin(17 * turn) + 0.6 * np.cos(11 * turn)
        fluff = np.column_stack([50 + radius * np.cos(turn), 16 + radius * np.sin(turn)])
        canvas.paint(fluff, look.main.plain("tweed"), puff=6, roundness=11)
    dome = mirrored(
        [(50, 17 + drop), (60, 18.6 + drop), (73, 29 + drop), (80, 48), (82, 70, 0), (50, 73)]
    )
    folds: list[Fold] = [
        (line((50 + x * 0.35, 24 + drop), (50 + x * 0.9, 46), (50 + x, 70)), 0.8)
        for x in (-24, -8, 8, 24)
    ]
    canvas.paint(dome, look.main, puff=6, roundness=13, folds=folds, shadow=1.4)
    brim = mirrored(
        [(50, 66), (78, 63.4), (83.4, 66), (84.6, 78), (82.6, 87), (78, 89), (50, 91.4)]
    )
    canvas.paint(brim, look.main.plain("rib"), puff=4.0, roundness=7, shadow=1.4)


def draw_gloves(canvas: Canvas, product: Product) -> None:
    """A pair of gloves, short or long, in leather or knitted."""
    look = look_of(product, scale=0.85, block_at=60)
    canvas.centre(
        11, 80 if product.size == "short" else 96, 1.08 if product.size == "short" else 0.94
    )
    cuff = 78.0 if product.size == "short" else 95.0
    zoom = 1.0
    right = smooth([
        (52.5, cuff, 0), (54, 66), (52.5, 56), (48.6, 48), (46.4, 41.5), (49.4, 39), (53.4,
                                        43.6), (57, 50, 0),
        (56.6, 36), (56, 22), (58.8, 18.6), (61.6, 22), (62.6, 36, 0), (63.2, 20), (64.2, 14),
        (67, 11.6), (69.6, 14.4),
        (69.6, 36, 0), (71.6, 21), (73, 15.6), (75.8, 14.2), (78, 17.6), (76.6, 38, 0), (79.6,
                                        27.6), (82, 24.6), (84.6, 26),
        (84.8, 31), (81.6, 46), (80, 58), (77.6, 66), (79, cuff, 0),
    ])  # fmt: skip
    for is_left in (True, False):
        glove = (flipped(right) if is_left else right) * (zoom, zoom)
        canvas.paint(glove, look.main, puff=3.6, roundness=6, angle_deg=4 if is_left else -4)
        _glove_details(canvas, look, cuff, is_left=is_left)


def _glove_details(canvas: Canvas, look: Look, cuff: float, *, is_left: bool) -> None:
    def put(shape: Outline) -> Outline:
        return flipped(shape) if is_left else shape

    if look.product.cloth == "leather":
        for x in (61.0, 67.6, 74.0):
            canvas.draw_line(put(line((x, 41), (x + 0.4, 56))), 0.8, (0, 0, 0), 0.3)
        canvas.paint(put(box(53, 66, 79, 70, 1)), look.trim, puff=0.8, roundness=2)
        canvas.stitch(put(line((53.5, cuff - 2), (78, cuff - 2))), look.thread)
        return
    band = smooth([(52.6, 70, 0), (78.6, 70, 0), (79.8, cuff + 1, 0), (51.8, cuff + 1, 0)])
    canvas.paint(put(band), look.main.plain("rib"), puff=2.0, roundness=4, shadow=0.6)


def draw_socks(canvas: Canvas, product: Product) -> None:
    """A pair of socks, ankle or knee high, with contrasting heel and toe."""
    look = look_of(product, scale=0.85, block_at=48 if product.size == "knee" else 66)
    canvas.centre(8 if product.size == "knee" else 34, 95, 0.98 if product.size == "knee" else 1.12)
    top = 8.0 if product.size == "knee" else 36.0
    for dx, dy, tint in ((-13.0, -1.0, 0.85), (8.0, 2.0, 1.0)):
        shift = np.array([dx, dy])
        main = look.main.tinted(tint)
        sock = smooth([(31, top, 0), (51, top, 0), (51, 52), (54, 62), (66, 70), (80, 77), (85,
                                        84), (81, 91), (70, 92.4),
                       (52, 88), (38, 84), (31, 76), (30.4, 62)])  # fmt: skip
        folds = [
            (line((34, 64), (44, 60), (52, 56)), -0.7),
            (line((36, 70), (46, 65), (53, 61)), 0.5),
        ]
        canvas.paint(sock + shift, main, puff=3.8, roundness=8, shadow=1.4,
                     folds=[(path + shift, rise) for path, rise in folds])  # fmt: skip
        heel = smooth([(30.6, 66), (39, 69), (43, 78), (40, 84.6), (34, 81), (30.6, 75)])
        toe = smooth([(73, 73.6), (80, 77), (85.2, 84), (81, 91.2), (70, 92.6), (69, 82)])
        for patch in (heel, toe):
            canvas.paint(
                patch + shift, main.plain().tinted(0.72), puff=1.6, roundness=5, shadow=0.3
            )
        canvas.paint(
            box(30.4, top - 1.4, 51.6, top + 7, 1.4) + shift,
            main.plain("rib"),
            puff=1.4,
            roundness=3,
            shadow=0.6,
        )


def draw_tie(canvas: Canvas, product: Product) -> None:
    """A tie, knotted: pointed silk, or a straight knitted end."""
    half = 8.5 if product.size == "slim" else 14.0
    look = look_of(product, scale=0.8, block_at=58)
    tip = 94.0
    canvas.centre(3, 95, 0.97)
    canvas.paint(ellipse(50, 10.5, 14, 7.5), look.main.tinted(0.8), puff=1.6, roundness=4,
                 holes=[ellipse(50, 9.6, 10, 4.2)])  # fmt: skip
    if product.cloth == "silk":
        blade = mirrored(
            [
                (50, 21),
                (54.6, 21, 0),
                (50 + half * 0.72, 52),
                (50 + half, tip - half * 1.1, 0),
                (50, tip, 0),
            ]
        )
    else:
        blade = mirrored(
            [
                (50, 21),
                (54.6, 21, 0),
                (50 + half * 0.72, 52),
                (50 + half, tip - 3, 0),
                (50, tip - 3),
            ]
        )
    canvas.paint(blade, look.main, puff=3.0, roundness=7,
                 angle_deg=35 if product.pattern == "stripe" else 0,
                 folds=[(line((50, 24), (49.4, 40), (50, 60)), -0.6)])  # fmt: skip
    knot = mirrored([(50, 11), (57.6, 11.6, 0), (54.8, 23, 0), (50, 24)])
    canvas.paint(knot, look.main, puff=2.6, roundness=5, angle_deg=-25, shadow=1.2)


__all__ = ["draw_beanie", "draw_cap", "draw_gloves", "draw_scarf", "draw_socks", "draw_tie"]
