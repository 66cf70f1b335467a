"""Invent a catalogue: products whose pictures decide their titles, categories and prices."""

from loupe.sample.catalogue import Product, draw_products
from loupe.sample.houses import HOUSES
from loupe.sample.pictures import draw_picture, picture_rng
from loupe.sample.sample import Sample, make_sample

__all__ = [
    "HOUSES",
    "Product",
    "Sample",
    "draw_picture",
    "draw_products",
    "make_sample",
    "picture_rng",
]
