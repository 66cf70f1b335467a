"""Clothes for the upper body, laid flat: T-shirt, shirt, sweater, coat."""

from collections.abc import Callable

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
from loupe.sample.pictures.surface import Surface

Put = Callable[[Outline], Outline]


def draw_t_shirt(canvas: Canvas, product: Product) -> None:
    """A T-shirt with short or long sleeves, cropped or regular."""
    hem = 66.0 if product.size == "cropped" else 88.0
    look = look_of(product, block_at=52 if product.size == "cropped" else 58)
    low = max(hem + 1, 81 if product.detail == "long sleeve" else 0)
    canvas.centre(11, low, 1.1 if low < 70 else 1.0)
    _back_neck(canvas, look, 13.5, 4.0)
    for sleeve in _sleeves(product.detail, hem, flare=1.0):
        canvas.paint(sleeve, look.main, puff=3.0, roundness=7, angle_deg=_arm_angle(sleeve),
                     folds=_sleeve_folds(sleeve))  # fmt: skip
    body = mirrored([(50, 21), (55.5, 19.6), (61, 13, 0), (73, 17.5, 0), (72.2, 34), (71, 58),
                     (72, hem, 0),
                     (60, hem + 0.8), (50, hem + 1)])  # fmt: skip
    canvas.paint(body, look.main, puff=3.4, roundness=10, folds=_body_folds(hem), shadow=0.8)
    collar = stroke(line((38.6, 12.7), (41.5, 18.2), (50, 22), (58.5, 18.2), (61.4, 12.7)), 3.0)
    canvas.paint(collar, look.main.plain("rib"), puff=0.6, roundness=1.6, shadow=0.4)
    canvas.stitch(line((28.5, hem - 2), (50, hem - 1), (71.5, hem - 2)), look.thread, dash=1.5)


def _back_neck(canvas: Canvas, look: Look, top: float, depth: float) -> None:
    """The inside of the back collar, seen through the neck."""
    back = smooth([(38.4, top - 0.6, 0), (50, top + 1.2), (61.6, top - 0.6, 0), (57,
                                        top + 7 + depth), (50, top + 9 + depth),
                   (43, top + 7 + depth)])  # fmt: skip
    canvas.paint(back, look.lining, puff=0.5, roundness=3)


def _sleeves(detail: str, hem: float, flare: float) -> tuple[Outline, Outline]:
    if detail == "short sleeve":
        right = smooth(
            [(69, 15.4, 0), (74, 18), (84, 28), (91, 40, 0), (78.5, 47, 0), (72, 38, 0), (68, 28)]
        )
    else:
        right = smooth([(69, 15.4, 0), (75, 18.4), (82.5, 32), (89, 56), (93, 78, 0), (83.5, 81,
                                        0), (77.6, 62),
                        (72, 42, 0), (68, 28)])  # fmt: skip
    del hem, flare
    return right, flipped(right)


def _arm_angle(sleeve: Outline) -> float:
    return 28.0 if sleeve[:, 0].mean() < 50 else -28.0


def _sleeve_folds(sleeve: Outline) -> list[Fold]:
    folds = [(line((73, 24), (76, 34), (78, 42)), -0.45), (line((77, 24), (82, 36)), 0.4),
             (line((82, 50), (86, 66)), 0.35)]  # fmt: skip
    if sleeve[:, 0].mean() > 50:
        return folds
    return [(flipped(path), rise) for path, rise in folds]


def _body_folds(hem: float) -> list[Fold]:
    return [
        (line((70, 36), (63, 44), (58, 56)), -0.42),
        (line((30, 36), (36, 45), (42, 58)), -0.42),
        (line((44, 40), (42, 60), (44, hem - 4)), 0.4),
        (line((60, 52), (62, 66), (60, hem - 3)), 0.45),
        (line((34, 58), (33, 72), (36, hem - 3)), 0.35),
    ]


def draw_shirt(canvas: Canvas, product: Product) -> None:
    """A buttoned shirt with a pointed collar; silk flows, cotton is matt and has a pocket."""
    look = look_of(product, block_at=58)
    hem = 88.0
    canvas.centre(11, hem + 3)
    _back_neck(canvas, look, 13.0, 3.0)
    for sleeve in _sleeves(product.detail, hem, flare=1.0):
        canvas.paint(sleeve, look.main, puff=3.0, roundness=7, angle_deg=_arm_angle(sleeve),
                     folds=_sleeve_folds(sleeve))  # fmt: skip
    if product.detail == "long sleeve":
        for cuff in _cuffs():
            canvas.paint(cuff, look.main.plain().tinted(0.94), puff=1.0, roundness=3)
    body = mirrored([(50, 25, 0), (61, 13, 0), (73, 17.5, 0), (72.2, 34), (71, 58), (72.5,
                                        hem - 7), (66, hem - 1),
                     (58, hem + 2.4), (50, hem + 3)])  # fmt: skip
    canvas.paint(body, look.main, puff=3.4, roundness=10, folds=_body_folds(hem), shadow=0.8)
    placket = smooth([(47, 24, 0), (53, 24, 0), (53, hem + 2.6, 0), (47, hem + 2.6, 0)])
    canvas.paint(placket, look.main, puff=0.4, roundness=1.5, shadow=0.5)
    _buttons(canvas, [(50, y) for y in (30, 41, 52, 63, 74)], look)
    if product.cloth == "cotton":
        pocket = smooth([(57, 37, 0), (68, 37, 0), (68, 47, 0), (62.5, 51, 0), (57, 47, 0)])
        canvas.paint(pocket, look.main, puff=0.4, roundness=1.5, shadow=0.6)
        canvas.stitch(line((57.5, 38.6), (67.5, 38.6)), look.thread)
    _collar(canvas, look, drop=29.0)


def _cuffs() -> tuple[Outline, Outline]:
    right = smooth([(92.2, 73.5, 0), (93.6, 82, 0), (83.6, 84.6, 0), (82, 76.4, 0)])
    return right, flipped(right)


def _collar(canvas: Canvas, look: Look, drop: float) -> None:
    right = smooth(
        [(50, 21.5, 0), (56, 18), (61.4, 11.2, 0), (66, 14.5, 0), (62.4, drop, 0), (56, 26.4, 0)]
    )
    for wing in (right, flipped(right)):
        canvas.paint(wing, look.main.plain(), puff=0.9, roundness=2.6, shadow=1.0)


def _buttons(canvas: Canvas, places: list[tuple[float, float]], look: Look) -> None:
    pearl = Surface((250, 246, 238) if not look.is_light else (72, 60, 56), "acetate")
    for x, y in places:
        canvas.paint(ellipse(x, y, 1.35, 1.35), pearl, puff=0.7, roundness=1, shadow=0.5)


def draw_sweater(canvas: Canvas, product: Product) -> None:
    """A sweater with a crew or roll neck, finely knitted or cabled."""
    look = look_of(product, block_at=54)
    rib = look.main.plain("rib")
    hem = 84.0
    canvas.centre(4 if product.detail == "roll neck" else 11, 89, 0.98)
    _back_neck(canvas, look, 12.5, 4.0)
    for sleeve in _sleeves("long sleeve", hem, flare=1.0):
        canvas.paint(sleeve, look.main, puff=3.6, roundness=8, angle_deg=_arm_angle(sleeve) * 0.6,
                     folds=_sleeve_folds(sleeve))  # fmt: skip
    for cuff in _cuffs():
        canvas.paint(
            cuff, rib, puff=1.4, roundness=3, angle_deg=-14 if cuff[:, 0].mean() > 50 else 14
        )
    body = mirrored([(50, 21), (56, 19.4), (61.5, 12.6, 0), (73, 16.8, 0), (73, 34), (73, 60),
                     (73.4, hem - 5),
                     (71.6, hem, 0), (50, hem + 0.6)])  # fmt: skip
    canvas.paint(body, look.main, puff=4.0, roundness=10, folds=_body_folds(hem), shadow=0.9)
    waist = mirrored([(50, hem - 3), (72.4, hem - 3.4, 0), (71, hem + 4.6, 0), (50, hem + 5.2)])
    canvas.paint(waist, rib, puff=1.2, roundness=3, shadow=0.6)
    if product.detail == "crew":
        neck = stroke(line((38.4, 11.8), (41.4, 18), (50, 21.8), (58.6, 18), (61.6, 11.8)), 4.4)
        canvas.paint(neck, rib, puff=1.2, roundness=2.4, shadow=0.7)
        return
    tube = mirrored([(50, 4), (60, 4.4), (61.5, 7), (61, 12), (63.6, 17), (57, 21.4), (50, 23)])
    canvas.paint(tube, rib, puff=2.6, roundness=6, shadow=1.2)
    fold = mirrored([(50, 3.4), (60.6, 4), (62.4, 7), (62.4, 12.4), (61, 14.6), (50, 16.4)])
    canvas.paint(fold, rib, puff=2.4, roundness=5, shadow=1.0)


def draw_coat(canvas: Canvas, product: Product) -> None:
    """A double-breasted belted coat, cropped at the hip or long to the calf."""
    is_long = product.size == "long"
    hem = 95.0 if is_long else 76.0
    zoom = 0.92 if is_long else 1.0
    look = look_of(product, block_at=60)

    def put(shape: Outline) -> Outline:
        return (shape - (50, 4)) * (zoom * (0.94 if is_long else 1.0), zoom) + (
            50,
            5.5 if is_long else 10,
        )

    canvas.centre(7, 90 if is_long else 81, 1.07 if is_long else 1.12)
    _back_neck_at(canvas, look, put)
    right = smooth([(66, 14.4, 0), (73.5, 18), (80.5, 32), (86, 52), (89, 70, 0), (78.6, 73, 0),
                    (74, 56),
                    (69, 42, 0), (65, 28)])  # fmt: skip
    for sleeve in (right, flipped(right)):
        canvas.paint(put(sleeve), look.main, puff=3.4, roundness=7,
                     angle_deg=_arm_angle(sleeve) * 0.6,
                     folds=[(put(path), rise) for path, rise in _sleeve_folds(sleeve)])  # fmt: skip
        strap = smooth([(88, 61, 0), (88.6, 65.5, 0), (77.2, 68.6, 0), (76, 64, 0)])
        strap = flipped(strap) if sleeve is not right else strap
        canvas.paint(put(strap), look.main.plain().tinted(0.9), puff=0.8, roundness=2)
    body = mirrored([(50, 28, 0), (60.5, 11.5, 0), (71, 16, 0), (69.8, 32), (66.6, 47), (69, 62),
                     (73 if is_long else 71.4, hem, 0),
                     (60, hem + 1), (50, hem + 1)])  # fmt: skip
    folds = [(line((58, 54), (61, 70), (63, hem - 3)), 0.7), (line((41, 54), (37, 72), (35,
                                        hem - 3)), 0.7),
             (line((47, 54), (45, 74), (46, hem - 3)), -0.5), (line((67, 34), (61, 42)), -0.4),
             (line((33, 34), (39, 42)), -0.4)]  # fmt: skip
    canvas.paint(
        put(body),
        look.main,
        puff=3.6,
        roundness=9,
        folds=[(put(p), r) for p, r in folds],
        shadow=0.9,
    )
    _coat_front(canvas, look, put, hem)


def _back_neck_at(canvas: Canvas, look: Look, put: Put) -> None:
    back = smooth([(40, 10, 0), (50, 8), (60, 10, 0), (57, 26), (50, 32), (43, 26)])
    canvas.paint(put(back), look.lining, puff=0.5, roundness=3)


def _coat_front(canvas: Canvas, look: Look, put: Put, hem: float) -> None:
    is_quilted = look.main.pattern == "quilted"
    facing = look.main.plain() if is_quilted else look.main
    overlap = line((44.5, 40), (43.8, 60), (43.4, hem))
    canvas.draw_line(put(overlap), 0.6, (0, 0, 0), 0.35)
    for y in (33.5, 41.5, 60, 68):
        for x in (43.0 - 1.5 * (y < 38), 57.5 + 1.5 * (y < 38)):
            centre = put(ellipse(x + 1, y, 1.9, 1.9))
            canvas.paint_metal(centre, look.product.metal, puff=1.2, roundness=1.5, shadow=0.6)
    for side in (False, True):
        pocket = smooth([(61, 57, 0), (64, 56.4, 0), (66.4, 66.4, 0), (63.2, 67, 0)])
        lapel = smooth([(51.4, 31, 0), (56.5, 21), (60, 15.4, 0), (66.4, 21.4, 0), (63.4, 24.2,
                                        0), (66, 27, 0),
                        (53, 38.4, 0)])  # fmt: skip
        collar = smooth(
            [
                (50.6, 13.4, 0),
                (55, 8.6),
                (61.4, 8.6, 0),
                (67.4, 18.6, 0),
                (61.8, 22.6, 0),
                (58.8, 15.4, 0),
            ]
        )
        for shape, puff in ((pocket, 0.6), (lapel, 0.9), (collar, 1.2)):
            placed = put(flipped(shape) if side else shape)
            canvas.paint(placed, facing, puff=puff, roundness=2.6, angle_deg=28 if side else -28)
    belt = mirrored([(50, 48.6), (67.4, 47.6, 0), (67.6, 53, 0), (50, 54.2)])
    canvas.paint(put(belt), look.main.plain().tinted(0.88), puff=1.0, roundness=2.4, shadow=0.9)
    buckle = put(box(45.5, 46.6, 54.5, 56, 1.6))
    canvas.paint_metal(buckle, look.product.metal, puff=1.6, roundness=1.4,
                       holes=[put(box(47.8, 49, 52.2, 53.6, 0.6))])  # fmt: skip


__all__ = ["draw_coat", "draw_shirt", "draw_sweater", "draw_t_shirt"]
