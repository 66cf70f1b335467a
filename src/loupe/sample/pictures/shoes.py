"""Shoes, seen from the side: sneakers, boots, pumps."""

from loupe.sample.catalogue import Product
from loupe.sample.pictures.canvas import Canvas
from loupe.sample.pictures.look import CREAM_THREAD, Look, look_of
from loupe.sample.pictures.shapes import box, ellipse, line, smooth, stroke
from loupe.sample.pictures.surface import Surface

WHITE_RUBBER = Surface((244, 242, 236), "rubber")
GUM_RUBBER = Surface((190, 126, 70), "rubber")
BLACK_RUBBER = Surface((40, 38, 40), "rubber")


def draw_sneakers(canvas: Canvas, product: Product) -> None:
    """A low or high sneaker: leather on a white cupsole, or canvas with a rubber toe on gum."""
    look = look_of(product, scale=0.92, block_at=58)
    is_high = product.size == "high"
    rise = 24.0 if is_high else 0.0
    y = 8.0 if is_high else 0.0
    collar = 42.0 - rise + y
    canvas.centre(collar - 10, 84 + y, 1.06)
    upper = smooth([
        (10, 60 + y), (12 if is_high else 10.5, collar + 4), (14.5, collar + 0.4), (24,
                                        collar + 2.6),
        (33, collar + 0.5), (40, collar - 5, 0), (46, collar + 2, 0), (60, 52 + y), (74, 58.5 + y),
        (87, 62 + y), (93, 68.5 + y), (92, 76 + y, 0), (9, 76 + y, 0),
    ])  # fmt: skip
    tongue = smooth(
        [(33, collar + 3), (37, collar - 8), (43, collar - 10), (48, collar - 1), (44, collar + 9)]
    )
    canvas.paint(tongue, look.main.plain().tinted(0.88), puff=1.6, roundness=4)
    canvas.paint(
        upper,
        look.main,
        puff=4.2,
        roundness=12,
        angle_deg=4,
        folds=[(line((66, 58 + y), (70, 66 + y)), -0.5), (line((71, 60 + y), (75, 67 + y)), -0.4)],
    )
    _sneaker_panels(canvas, look, collar, y)
    _sneaker_sole(canvas, look, y)
    _laces(canvas, collar, y)


def _sneaker_panels(canvas: Canvas, look: Look, collar: float, y: float) -> None:
    if look.main.cloth == "canvas":
        toe = smooth([(79, 61 + y), (87, 62 + y), (93.4, 68.5 + y), (92.6, 76 + y, 0), (77,
                                        76 + y, 0),
                      (75.5, 68 + y)])  # fmt: skip
        canvas.paint(toe, WHITE_RUBBER, puff=2.4, roundness=6)
        heel = smooth(
            [(9.6, 60 + y), (10.5, 53 + y), (19, 52 + y), (20, 76 + y, 0), (9, 76 + y, 0)]
        )
        canvas.paint(heel, look.main.plain().tinted(0.8), puff=1.2, roundness=4)
    else:
        heel = smooth(
            [
                (9.4, 62 + y),
                (10.5, 50 + y),
                (15, 48 + y),
                (23, 57 + y),
                (27, 76 + y, 0),
                (9, 76 + y, 0),
            ]
        )
        canvas.paint(heel, look.main.plain().tinted(0.78), puff=1.6, roundness=5)
        canvas.stitch(line((66, 75 + y), (69, 66 + y), (80, 61.5 + y)), look.thread)
    eyestay = smooth([(40, collar - 5, 0), (46, collar + 2, 0), (60, 52 + y), (70, 57 + y), (67,
                                        63 + y),
                      (52, 59 + y), (41, collar + 8), (36.5, collar + 1)])  # fmt: skip
    canvas.paint(eyestay, look.main.plain().tinted(0.9), puff=1.0, roundness=3, shadow=0.7)
    canvas.stitch(
        line((37.5, collar + 3), (42, collar + 9.5), (53, 60.5 + y), (66, 64.4 + y)), look.thread
    )


def _sneaker_sole(canvas: Canvas, look: Look, y: float) -> None:
    sole = smooth([(7.5, 72.5 + y, 0), (30, 74 + y), (60, 74 + y), (82, 73.5 + y), (94.5,
                                        71.5 + y, 0),
                   (96, 77 + y), (92, 82.5 + y), (80, 83.6 + y), (20, 83.6 + y), (8.5, 82.5 + y),
                   (6.6, 78 + y)])  # fmt: skip
    surface = GUM_RUBBER if look.main.cloth == "canvas" else WHITE_RUBBER
    canvas.paint(sole, surface, puff=1.8, roundness=4)
    canvas.draw_line(line((7.5, 80 + y), (50, 81 + y), (94, 79.4 + y)), 0.7, (60, 50, 44), 0.4)
    canvas.stitch(line((9, 75.6 + y), (50, 76.6 + y), (93, 74.6 + y)), (150, 140, 130))


def _laces(canvas: Canvas, collar: float, y: float) -> None:
    lace = Surface((248, 246, 240), "cotton")
    for step in range(5):
        part = (step + 0.5) / 5.2
        x, top = 44 + 22 * part, (collar + 2) * (1 - part) + (55.5 + y) * part
        band = stroke(line((x - 6.5, top + 5.0), (x - 1.5, top + 0.6), (x + 1.2, top - 1.4)), 2.1)
        canvas.paint(band, lace, puff=0.7, roundness=1.2, shadow=0.6)


def draw_boots(canvas: Canvas, product: Product) -> None:
    """An ankle or knee boot, flat or on a block heel, in leather or suede."""
    look = look_of(product, scale=0.95, block_at=56 if product.size == "knee" else 62)
    is_heeled = product.detail == "heeled"
    top = 8.0 if product.size == "knee" else 34.0
    lift = 9.0 if is_heeled else 0.0
    sole = GUM_RUBBER if product.cloth == "suede" else BLACK_RUBBER
    spread = 0.0 if product.size == "knee" else -1.0
    canvas.centre(top - 2, 95, 1.12 if product.size == "ankle" else 1.0)
    mouth = ellipse(36.5, top + 0.5, 14.5 + spread, 2.8)
    canvas.paint(mouth, look.lining, puff=0)
    shaft = smooth([
        (21.5 - spread, top, 0), (36, top + 3), (51.5 + spread, top, 0), (50, (top + 60) / 2 - 4),
        (49.4, 60 - lift * 0.4), (60, 68 - lift * 0.1), (76, 73.5), (88, 79), (91, 86), (90,
                                        88.5, 0),
        (62, 88.5), (46, 88.5 - lift), (20.5, 88.5 - lift, 0), (18.5, 78 - lift), (23.4,
                                        65 - lift * 0.5),
        (22.6, (top + 60) / 2),
    ])  # fmt: skip
    folds = [(line((24, 66), (34, 70), (48, 64)), -0.9), (line((24, 61), (36, 64), (49, 58)), 0.7),
             (line((58, 72), (62, 78), (66, 80)), -0.6), (line((28, top + 10), (29, 56)),
                                        0.7)]  # fmt: skip
    canvas.paint(shaft, look.main, puff=5.0, roundness=11, folds=folds)
    _boot_details(canvas, look, top, lift)
    _boot_sole(canvas, sole, lift)


def _boot_details(canvas: Canvas, look: Look, top: float, lift: float) -> None:
    if look.product.size == "ankle":
        gusset = smooth([(31, top + 4, 0), (44, top + 4, 0), (43, 56), (38, 62), (33, 56)])
        canvas.paint(gusset, Surface((46, 42, 44), "rib"), puff=0.6, roundness=3, shadow=0.5)
    else:
        band = smooth([(21, top + 6, 0), (36, top + 9), (51.8, top + 6, 0), (51.6, top + 11, 0),
                       (36, top + 14),
                       (21, top + 11, 0)])  # fmt: skip
        canvas.paint(band, look.trim, puff=0.8, roundness=2, shadow=0.7)
    canvas.stitch(line((21.5, 84 - lift), (30, 76 - lift * 0.6), (33, 66)), look.thread)
    canvas.stitch(line((66, 86.5), (70, 79), (75, 74.5)), look.thread)


def _boot_sole(canvas: Canvas, rubber: Surface, lift: float) -> None:
    if lift:
        heel = smooth([(20.3, 88 - lift, 0), (44, 88 - lift, 0), (40.5, 94.5, 0), (23, 94.5, 0)])
        canvas.paint(heel, rubber, puff=1.4, roundness=3)
        welt = smooth([(19.8, 87.4 - lift, 0), (46, 87.4 - lift), (62, 88.2), (91.5, 87.6, 0),
                       (92, 91), (88, 94),
                       (66, 94), (54, 92), (45, 90.4 - lift), (19.8, 90 - lift, 0)])  # fmt: skip
    else:
        heel = box(20, 89, 42, 94.5, 1)
        canvas.paint(heel, rubber, puff=1.2, roundness=3)
        welt = smooth([(19, 87.4, 0), (55, 87.8), (91.5, 87.4, 0), (92.4, 90.5), (89, 93.5), (60,
                                        93.5),
                       (48, 91.4), (19, 91.4, 0)])  # fmt: skip
    canvas.paint(welt, rubber, puff=1.0, roundness=2.5)
    canvas.stitch(line((50, 89.2), (70, 89.2), (90, 88.6)), CREAM_THREAD)


def draw_pumps(canvas: Canvas, product: Product) -> None:
    """A pump on a low or a high heel, with or without a bow."""
    is_high = product.size == "high heel"
    heel_y = 44.0 if is_high else 57.0
    look = look_of(product, scale=0.8, block_at=66)
    canvas.centre(heel_y - 13, 84, 1.08)
    lift = 79 - heel_y - 12
    inner = smooth(
        [
            (13, heel_y - 8),
            (30, heel_y + 0.5),
            (52, (heel_y + 66) / 2 + 3.5),
            (68, 66),
            (58, 69),
            (30, heel_y + 8),
        ]
    )
    canvas.paint(inner, Surface((222, 190, 160), "leather"), puff=0.6, roundness=3)
    body = smooth([
        (8.5, heel_y - 10), (12.5, heel_y - 12.5), (15, heel_y - 8), (24, heel_y + 1.5), (40,
                                        (heel_y + 66) / 2 + 2),
        (54, 66.5), (64, 67.5), (70, 63), (82, 67.5), (92, 74), (94.5, 78.5), (91, 80.5, 0), (66,
                                        80.5),
        (50, 79 - lift * 0.12), (34, 77 - lift * 0.46), (22, heel_y + 12.5), (9.5, heel_y + 12,
                                        0), (8, heel_y),
    ])  # fmt: skip
    stem = [(8.6, heel_y + 8, 0), (26, heel_y + 12, 0), (20, heel_y + 17), (16.6, 70), (15.6,
                                        83.5, 0), (10.6, 83.5, 0),
            (10.6, 70), (9.4, heel_y + 18)]  # fmt: skip
    if not is_high:
        stem = [
            (8.8, heel_y + 8, 0),
            (27, heel_y + 12, 0),
            (22, heel_y + 16),
            (20, 83.5, 0),
            (11, 83.5, 0),
            (10, heel_y + 16),
        ]
    canvas.paint(smooth(stem), look.main.plain().tinted(0.85), puff=1.8, roundness=3)
    canvas.paint(body, look.main, puff=4.0, roundness=9, angle_deg=8)
    sole = stroke(line((9.6, heel_y + 12), (22, heel_y + 13), (34, 78 - lift * 0.46), (50,
                                        80 - lift * 0.12), (66, 81.6),
                       (80, 82), (92, 80.6)), 2.2)  # fmt: skip
    canvas.paint(sole, Surface((48, 40, 38), "rubber"), puff=0.5, roundness=1.4, shadow=0)
    if product.detail == "bow":
        _bow(canvas, look, 73, 64.5)


def _bow(canvas: Canvas, look: Look, x: float, y: float) -> None:
    ribbon = look.main.plain().tinted(0.9)
    for side in (-1, 1):
        loop = smooth([(x, y), (x + side * 6, y - 7), (x + side * 12, y - 6.5), (x + side * 12.5,
                                        y + 3),
                       (x + side * 6, y + 4)])  # fmt: skip
        canvas.paint(
            loop, ribbon, puff=2.2, roundness=4, folds=[(line((x, y), (x + side * 9, y - 1)), -0.8)]
        )
    canvas.paint(ellipse(x, y - 0.5, 2.8, 3.4), ribbon.tinted(0.92), puff=1.6, roundness=3)


__all__ = ["draw_boots", "draw_pumps", "draw_sneakers"]
