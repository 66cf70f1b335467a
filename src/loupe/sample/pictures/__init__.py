"""How products look: shapes, cloths, patterns, light, and one drawing per kind of goods."""

from loupe.sample.pictures.draw import draw_picture, picture_rng

__all__ = ["draw_picture", "picture_rng"]
