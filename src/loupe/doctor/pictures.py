"""Pictures that show different things, drawn here so that nothing has to be brought along."""

from __future__ import annotations

from PIL import Image, ImageDraw

__all__ = ["draw_grey", "draw_pictures"]

WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (128, 128, 128)
RED, GREEN, BLUE, YELLOW = (205, 30, 40), (30, 140, 60), (30, 60, 190), (240, 205, 30)
STRIPES = 6
SQUARES = 4


def draw_pictures(side_px: int) -> list[Image.Image]:
    """Draw six square pictures of one size, as unlike each other as can be."""
    low, middle, high = side_px * 0.2, side_px * 0.5, side_px * 0.8
    disc, box, triangle, ring = (Image.new("RGB", (side_px, side_px), WHITE) for _ in range(4))
    ImageDraw.Draw(disc).ellipse((low, low, high, high), fill=RED)
    ImageDraw.Draw(box).rectangle((low, low, high, high), fill=BLUE)
    ImageDraw.Draw(triangle).polygon([(middle, low), (low, high), (high, high)], fill=GREEN)
    ring.paste(BLACK, (0, 0, side_px, side_px))
    ImageDraw.Draw(ring).ellipse((low, low, high, high), outline=YELLOW, width=side_px // 8)
    return [disc, box, triangle, ring, _draw_stripes(side_px), _draw_squares(side_px)]


def draw_grey(side_px: int) -> Image.Image:
    """Draw a picture that shows nothing."""
    return Image.new("RGB", (side_px, side_px), GREY)


def _draw_stripes(side_px: int) -> Image.Image:
    picture = Image.new("RGB", (side_px, side_px), YELLOW)
    draw = ImageDraw.Draw(picture)
    step = side_px / STRIPES
    for stripe in range(0, STRIPES, 2):
        draw.rectangle((stripe * step, 0, (stripe + 1) * step - 1, side_px), fill=RED)
    return picture


def _draw_squares(side_px: int) -> Image.Image:
    picture = Image.new("RGB", (SQUARES, SQUARES), WHITE)
    for x in range(SQUARES):
        for y in range(x % 2, SQUARES, 2):
            picture.putpixel((x, y), BLACK)
    return picture.resize((side_px, side_px), Image.Resampling.NEAREST)
